"""Tells a person in Bitrix24 when calls wait for someone: a DAG is paused or broken, an answer does not get through.

Tasks cannot read Airflow's database, so it asks the pages, as a user of Airflow who may see the runs of the robots.
The connection `airflow_api` holds that user's login and password, and as host the address of Airflow's API server.
The connection `bitrix24_default` needs the scope `im`. A later notification takes the place of the one before.
"""

from datetime import UTC, datetime

import requests
from airflow.sdk import Connection, Param, dag, task

from airflow_provider_b24.operators.im import ImNotifySystemAddOperator


@dag(
    schedule="*/15 * * * *",
    start_date=datetime(2026, 1, 1, tzinfo=UTC),
    catchup=False,
    max_active_runs=1,
    is_paused_upon_creation=True,
    params={"person": Param(1, type="integer", title="User id in Bitrix24")},
)
def example_bitrix24_waiting_calls():
    @task.short_circuit
    def look():
        airflow = Connection.get("airflow_api")
        login = {"username": airflow.login, "password": airflow.password}
        signed_in = requests.post(f"{airflow.host}/auth/token", json=login, timeout=30)
        signed_in.raise_for_status()
        bearer = {"Authorization": f"Bearer {signed_in.json()['access_token']}"}
        waiting = requests.get(f"{airflow.host}/bitrix24-pages/waiting", headers=bearer, timeout=30)
        waiting.raise_for_status()
        whys = {
            f"{call['dag_id']}: {call['reason'] or call['last_error']}" for call in waiting.json()["calls"]
        }
        return (
            whys
            and f"Calls of robots that wait for a person: {waiting.json()['number']}. {'; '.join(sorted(whys))}"
        )

    ImNotifySystemAddOperator(
        task_id="tell", user_id="{{ params.person }}", message=look(), tag="bitrix24_waiting_calls"
    )


example_bitrix24_waiting_calls()
