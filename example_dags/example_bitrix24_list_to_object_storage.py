"""Writes the leads of a portal to a file, as JSON lines, and reads it again.

The folder may be anywhere that Airflow's object storage reaches: `s3://bucket/bitrix24`, with the connection of the
storage in front of the bucket (`s3://aws_default@bucket/bitrix24`), or a folder on a disk that all workers share.
"""

import json

from airflow.sdk import ObjectStoragePath, Param, dag, task

from airflow_provider_b24.transfers.bitrix24_to_object_storage import Bitrix24ToObjectStorageOperator


@dag(
    schedule=None,
    params={"folder": Param("file:///tmp/bitrix24", type="string", title="Folder in object storage")},
)
def example_bitrix24_list_to_object_storage():
    leads = Bitrix24ToObjectStorageOperator(
        task_id="leads",
        method="crm.lead.list",
        parameters={"select": ["ID", "TITLE", "STATUS_ID"]},
        path="{{ params.folder }}/leads_{{ dag_run.run_after | ts_nodash }}.jsonl",
    )

    @task
    def count_by_status(written):
        counts = {}
        for line in ObjectStoragePath(written["path"]).read_bytes().splitlines():
            status = json.loads(line).get("STATUS_ID")
            counts[status or "none"] = counts.get(status or "none", 0) + 1
        return counts

    count_by_status(leads.output)


example_bitrix24_list_to_object_storage()
