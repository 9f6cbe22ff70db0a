"""Is paused."""

from airflow.sdk import task

from airflow_provider_b24.robots import Property, robot_dag


@robot_dag(
    code="remind_customer",
    name="Remind a customer",
    bitrix24_conn_id="crm",
    properties={"invoice": Property.string("Invoice", required=True)},
    return_properties={"sent": Property.bool("Sent")},
    on_failure={"sent": False},
)
def remind_customer():
    @task
    def remind():
        return {"sent": True}

    return remind()


remind_customer()
