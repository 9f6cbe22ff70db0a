"""What the fixtures for people's own tests do to a DAG while it runs."""

import datetime as dt

from airflow.sdk import task

from airflow_provider_b24.robots import robot_dag
from airflow_provider_b24.testing.fixtures import _without_pauses


def test_tasks_are_retried_at_once_while_the_robot_is_run_and_as_declared_afterwards() -> None:
    @robot_dag(code="look", name="Look")
    def robot() -> None:
        @task
        def look() -> None: ...

        look()

    dag = robot()

    with _without_pauses(dag):
        assert dag.get_task("look").retry_delay == dt.timedelta(0)
        assert dag.get_task("reply").retry_delay > dt.timedelta(0)
    assert dag.get_task("look").retry_delay == dt.timedelta(seconds=10)
