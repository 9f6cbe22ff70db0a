"""A robot that asks a person in Bitrix24 and answers with the decision.

It starts another workflow for the same document, one with an *Approval* in it, and waits until everybody who was
asked has decided. All tasks that wait like this ask the portal together, in one request, and occupy no worker.
"""

from airflow.sdk import task

from airflow_provider_b24.operators.bizproc import BizprocWorkflowStartOperator
from airflow_provider_b24.robots import Property, robot_dag
from airflow_provider_b24.sensors.bizproc import BizprocTaskSensor

APPROVED = "1"


@robot_dag(
    code="example_approval",
    name={"en": "Have it approved", "de": "Genehmigen lassen"},
    properties={"template": Property.int("Number of the approval's workflow template", required=True)},
    return_properties={"approved": Property.bool("Approved"), "remark": Property.string("Remark")},
    on_failure={"approved": False, "remark": "nobody has decided"},
)
def example_bitrix24_approval():
    ask = BizprocWorkflowStartOperator(task_id="ask", template_id="{{ params.template }}")
    decisions = BizprocTaskSensor(
        task_id="decisions",
        workflow_id=ask.output,
        deferrable=True,
        poke_interval=10,
        timeout=7 * 24 * 3600,
    )

    @task
    def judge(tasks):
        approved = all(str(one["STATUS"]) == APPROVED for one in tasks)
        return {"approved": approved, "remark": f"decided by {len(tasks)}"}

    return judge(decisions.output)


example_bitrix24_approval()
