"""A robot that hands its work to someone outside Airflow and waits for the result.

`hand_out` gives the worker an address to deliver to; the worker POSTs one JSON object there when it is done, minutes
or days later, and needs no access to Airflow for it. The waiting itself occupies no worker process.
"""

from airflow.sdk import Variable, get_current_context, task

from airflow_provider_b24.robots import Property, RobotCall, robot_dag
from airflow_provider_b24.sensors.external_result import ExternalResultSensor, result_url


@robot_dag(
    code="example_appraise",
    name={"en": "Have it appraised", "de": "Begutachten lassen"},
    properties={"item": Property.string("What to appraise", required=True)},
    return_properties={"price": Property.double("Price"), "remark": Property.text("Remark")},
    on_failure={"remark": "nobody could appraise it"},
)
def example_bitrix24_external_worker():
    @task
    def hand_out():
        import requests

        order = {
            "item": RobotCall.from_context().properties.item,
            "deliver_to": result_url(get_current_context()),
        }
        requests.post(Variable.get("appraiser_url"), json=order, timeout=30).raise_for_status()

    appraisal = ExternalResultSensor(
        task_id="appraisal",
        source_task_id="hand_out",
        schema={
            "type": "object",
            "properties": {"price": {"type": "number"}, "remark": {"type": "string"}},
            "required": ["price"],
            "additionalProperties": False,
        },
        deferrable=True,
        timeout=7 * 24 * 3600,
    )
    hand_out() >> appraisal
    return appraisal.output


example_bitrix24_external_worker()
