"""Takes its time."""

import time

from airflow.sdk import task

from airflow_provider_b24.robots import Property, robot_dag


@robot_dag(
    code="draft_offer",
    name="Draft an offer",
    bitrix24_conn_id="crm",
    properties={"item": Property.string("Item", required=True), "price": Property.double("Price")},
    return_properties={
        "text": Property.text("Text of the offer", required=True),
        "discount": Property.double("Discount", description="In percent."),
    },
    on_failure={"text": "Please write this offer by hand."},
)
def draft_offer():
    @task
    def draft():
        time.sleep(3600)

    return draft()


draft_offer()
