"""The failure answer as Airflow's DAG processor asks for it, with the context that Airflow makes."""

import uuid
from types import SimpleNamespace

import pytest
import structlog
from airflow.api_fastapi.execution_api.datamodels.taskinstance import DagRun, TaskInstance
from airflow.callbacks.callback_requests import DagCallbackRequest, DagRunContext
from airflow.dag_processing.processor import _execute_dag_callbacks
from airflow.sdk import task, timezone

from airflow_provider_b24.robots import Property, RobotCall, robot_dag
from airflow_provider_b24.robots.definition import definition_of

pytestmark = pytest.mark.usefixtures("webhook_connection")


@task
def compute():
    return {}


@pytest.fixture
def dag():
    @robot_dag(
        code="score",
        name="Score",
        properties={
            "model": Property.select("Model", {"fast": "Fast"}, required=True),
            "when": Property.datetime("When", required=True),
            "owners": Property.user("Owners", required=True, multiple=True),
            "note": Property.text("Note"),
        },
        return_properties={"verdict": Property.string("Verdict")},
        on_failure={"verdict": "not scored"},
    )
    def score():
        return compute()

    return score()


def fail(dag, conf, task_id):
    """Have Airflow call back as it does for a failed run, conf and all by way of its own queue."""
    now = timezone.utcnow()
    run = DagRun(
        dag_id=dag.dag_id,
        run_id="run_1",
        logical_date=None,
        run_after=now,
        start_date=now,
        end_date=now,
        partition_key=None,
        data_interval_start=None,
        data_interval_end=None,
        run_type="manual",
        state="failed",
        conf=conf,
        consumed_asset_events=[],
    )
    failed = TaskInstance(
        id=uuid.uuid4(),
        task_id=task_id,
        dag_id=dag.dag_id,
        run_id="run_1",
        try_number=1,
        map_index=-1,
        dag_version_id=uuid.uuid4(),
    )
    request = DagCallbackRequest(
        filepath="score.py",
        dag_id=dag.dag_id,
        run_id="run_1",
        bundle_name="dags",
        bundle_version=None,
        context_from_server=DagRunContext(dag_run=run, last_ti=failed),
        msg="task_failure",
    )
    again = DagCallbackRequest.from_json(request.to_json())
    _execute_dag_callbacks(SimpleNamespace(dags={dag.dag_id: dag}), again, structlog.get_logger())


FITTING = {"model": "fast", "when": "25.12.2026 10:00:00", "owners": ["user_1"]}


@pytest.mark.parametrize("task_id", ["compute", "reply"])
@pytest.mark.parametrize(
    "properties", [FITTING, FITTING | {"model": "slow"}, {"model": "", "when": "soon", "owners": []}]
)
def test_every_failed_call_is_answered_whether_its_values_fit_or_not(
    portal, dag, waiting_call, task_id, properties
):
    process, form = waiting_call(dag)
    form = form | {"properties": properties}
    fail(dag, RobotCall.from_form(form, definition_of(dag)).to_conf(), task_id)
    assert process.wait().status == "completed"
    (answer,) = portal.answers
    assert answer.values == {"verdict": "not scored"}
