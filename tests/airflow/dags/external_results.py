"""Tasks that wait for external results, in every mode."""

from airflow.sdk import DAG, get_current_context, task

from airflow_provider_b24.sensors.external_result import ExternalResultSensor, result_url

MODES = {
    "deferrable": {"deferrable": True},
    "poke": {"mode": "poke", "poke_interval": 1},
    "reschedule": {"mode": "reschedule", "poke_interval": 1},
}

with DAG("external_results", schedule=None):

    @task
    def hand_out(url):
        return url

    @task
    def deliver_while_running(url):
        import requests

        requests.post(url, json={"score": 1}, timeout=30).raise_for_status()

    for mode, options in MODES.items():
        source = hand_out.override(task_id=f"hand_out_{mode}")("{{ macros.bitrix24.result_url(ti) }}")
        source >> ExternalResultSensor(
            task_id=f"wait_{mode}",
            source_task_id=source.operator.task_id,
            schema={"required": ["score"]},
            timeout=300,
            **options,
        )

    early = deliver_while_running("{{ macros.bitrix24.result_url(ti) }}")
    early >> ExternalResultSensor(task_id="wait_early", source_task_id="deliver_while_running", timeout=300)

    @task
    def hand_out_each(number):
        return result_url(get_current_context())

    hand_out_each.expand(number=[0, 1]) >> ExternalResultSensor.partial(
        task_id="wait_each", source_task_id="hand_out_each", timeout=300, deferrable=True, soft_fail=True
    ).expand(source_map_index=[0, 1])
