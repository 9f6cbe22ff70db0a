"""Cannot do its work today."""

from airflow.sdk import task

from airflow_provider_b24.robots import Property, robot_dag


@robot_dag(
    code="book_courier",
    name="Book a courier",
    bitrix24_conn_id="crm",
    properties={"address": Property.string("Address", required=True)},
    return_properties={"tracking": Property.string("Tracking number"), "booked": Property.bool("Booked")},
    on_failure={"booked": False},
    default_args={"retries": 0},
)
def book_courier():
    @task
    def book():
        raise RuntimeError("The courier's service answers 503")

    return {"tracking": book(), "booked": True}


book_courier()
