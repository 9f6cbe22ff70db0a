"""A robot that cannot do its work."""

from airflow.sdk import task

from airflow_provider_b24.robots import Property, robot_dag


@robot_dag(
    code="fail",
    name="Fail",
    properties={"reason": Property.string("Reason", required=True)},
    return_properties={"score": Property.double("Score"), "verdict": Property.string("Verdict")},
    on_failure={"verdict": "not scored"},
    default_args={"retries": 0},
)
def failing_robot():
    @task
    def work(reason):
        raise RuntimeError(f"no work today: {reason}")

    return work("{{ params.reason }}")


failing_robot()
