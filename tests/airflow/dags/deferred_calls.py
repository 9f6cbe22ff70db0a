"""Calls of REST methods that are made in the triggerer, and one that is not."""

from airflow.sdk import dag

from airflow_provider_b24.operators.rest import Bitrix24Operator
from airflow_provider_b24.rest import Ref


@dag(schedule=None)
def deferred_calls():
    Bitrix24Operator(task_id="call", method="profile", deferrable=True)
    Bitrix24Operator(
        task_id="batch",
        calls=[
            {"name": "me", "method": "user.current"},
            ("user.get", {"ID": Ref("me", "ID")}),
        ],
        deferrable=True,
    )
    Bitrix24Operator(task_id="rows", method="user.get", limit=2, deferrable=True)
    Bitrix24Operator(task_id="refused", method="sandbox.nothing.get", deferrable=True)
    Bitrix24Operator(
        task_id="creating", method="crm.lead.add", parameters={"fields": {"TITLE": "once"}}, deferrable=True
    )


deferred_calls()
