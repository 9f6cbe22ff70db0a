"""What ``@robot_dag`` builds, and what it refuses when the DAG file is parsed."""

import datetime as dt
import json
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.sdk import DAG, BaseOperator, Param, TaskGroup, task
from airflow.sdk.definitions.callback import AsyncCallback
from airflow.sdk.definitions.deadline import DeadlineAlert, DeadlineReference
from airflow.sdk.exceptions import AirflowFailException
from airflow.serialization.serialized_objects import DagSerialization

from airflow_provider_b24.robots import Property, robot_dag
from airflow_provider_b24.robots.deadline import CallDeadline
from airflow_provider_b24.robots.definition import RobotDefinitionError, definition_of
from airflow_provider_b24.robots.failure import RobotFailureNotifier

PROPERTIES = {
    "model": Property.select("Model", {"fast": "Fast", "deep": "Deep"}, required=True),
    "limit": Property.int("Limit", default=10),
}
RETURNS = {"score": Property.double("Score", required=True), "verdict": Property.string("Verdict")}


@task
def compute() -> dict[str, Any]:
    return {"score": 1}


def build(body: Any = None, **arguments: Any) -> DAG:
    """Make a robot whose function is `body`."""
    settings: dict[str, Any] = {
        "code": "score_lead",
        "name": {"en": "Score the lead", "de": "Lead bewerten"},
        "properties": PROPERTIES,
        "return_properties": RETURNS,
        **arguments,
    }
    return robot_dag(**settings)(body or score_lead)()


def score_lead() -> Any:
    """Scores a lead."""
    return compute()


def waits_for(reply: BaseOperator) -> set[str]:
    """Give the author's tasks that the answer waits for."""
    return reply.upstream_task_ids - {"robot_call"}


def serialized(dag: DAG) -> dict[str, Any]:
    """Give the DAG as Airflow's database keeps it."""
    data: dict[str, Any] = json.loads(json.dumps(DagSerialization.to_dict(dag)))
    return data


def test_it_is_a_dag_with_what_the_author_wants_and_what_a_robot_needs() -> None:
    dag = build(tags=["crm"], max_active_runs=3, dagrun_timeout=dt.timedelta(hours=1), description="Scores")
    assert dag.dag_id == "score_lead"
    assert dag.tags == {"bitrix24", "crm"}
    assert dag.max_active_runs == 3
    assert dag.dagrun_timeout == dt.timedelta(hours=1)
    assert dag.description == "Scores"
    assert dag.doc_md == "Scores a lead."
    assert dag.schedule is None
    assert dag.is_paused_upon_creation is False
    assert set(dag.task_dict) == {"compute", "robot_call", "reply", "reply_on_failure"}


def test_arguments_of_dag_win_over_the_robots_choices() -> None:
    dag = build(
        dag_id="other", is_paused_upon_creation=True, schedule="@daily", properties={}, start_date=None
    )
    assert (dag.dag_id, dag.is_paused_upon_creation, dag.schedule) == ("other", True, "@daily")


def test_the_properties_are_dag_params_beside_the_authors_own() -> None:
    dag = build(params={"own": Param(3, type="integer"), "bare": "x"})
    assert list(dag.params) == ["model", "limit", "own", "bare"]
    assert dag.params.get_param("model").schema["enum"] == ["fast", "deep"]
    assert dag.params["limit"] == 10


def test_the_function_may_take_arguments_as_with_dag() -> None:
    def with_argument(threshold: int = 5) -> Any:
        return {"score": "{{ params.threshold }}"}

    assert build(with_argument).params["threshold"] == 5


def test_the_result_of_a_task_is_the_answer() -> None:
    reply = build().get_task("reply")
    assert waits_for(reply) == {"compute"}
    assert reply.return_values.operator.task_id == "compute"


def test_an_operator_stands_for_its_result() -> None:
    def body() -> BaseOperator:
        return BaseOperator(task_id="classic")

    def body_with_mapping() -> dict[str, Any]:
        return {"score": BaseOperator(task_id="classic")}

    assert waits_for(build(body).get_task("reply")) == {"classic"}
    assert waits_for(build(body_with_mapping).get_task("reply")) == {"classic"}


def test_a_mapping_of_results_templates_and_literals_is_the_answer() -> None:
    def body() -> dict[str, Any]:
        return {"score": compute()["score"], "verdict": "{{ params.model }}"}

    reply = build(body).get_task("reply")
    assert reply.return_values["verdict"] == "{{ params.model }}"


@pytest.mark.parametrize(
    ("verdict", "names"),
    [("good", {"compute"}), ("{{ ti.xcom_pull('other') }}", {"compute", "other"})],
)
def test_the_answer_waits_for_the_tasks_it_names_and_for_all_if_it_has_templates(
    verdict: str, names: set[str]
) -> None:
    def body() -> dict[str, Any]:
        BaseOperator(task_id="other")
        return {"score": compute()["score"], "verdict": verdict}

    assert waits_for(build(body).get_task("reply")) == names


def test_an_answer_that_is_one_template_waits_for_all_tasks() -> None:
    def body() -> str:
        compute()
        return "{{ ti.xcom_pull('compute') }}"

    assert waits_for(build(body).get_task("reply")) == {"compute"}


def test_without_an_answer_the_process_goes_on_after_the_last_task_of_each_path() -> None:
    def body() -> None:
        first, second, third = (BaseOperator(task_id=name) for name in ("first", "second", "third"))
        first >> second
        with TaskGroup("group"):
            BaseOperator(task_id="inner")
        third.as_teardown(setups=first)

    reply = build(body, return_properties={}).get_task("reply")
    assert waits_for(reply) == {"second", "group.inner"}


def test_skipped_tasks_do_not_skip_the_answer() -> None:
    assert build().get_task("reply").trigger_rule == "none_failed"


def test_a_dag_that_fails_fast_is_accepted() -> None:
    assert build(fail_fast=True).get_task("reply").trigger_rule == "all_success"


def test_the_definition_is_read_from_the_dag_and_from_its_serialized_form() -> None:
    dag = build()
    definition = definition_of(dag)
    assert definition is not None
    assert definition.code == "score_lead"
    assert definition.properties == PROPERTIES
    again = definition_of(DagSerialization.from_dict(serialized(dag)))
    assert again == definition


def test_a_definition_longer_than_any_template_field_is_not_cut_off() -> None:
    many = {f"p{number}": Property.string("n" * 200, description="d" * 200) for number in range(50)}
    definition = definition_of(DagSerialization.from_dict(serialized(build(properties=many))))
    assert definition is not None
    assert definition.properties == many


def test_nothing_in_the_definition_is_rendered() -> None:
    dag = build(description="{{ not a template }} {% nor this %}")
    reply = dag.get_task("reply")
    assert "doc_json" not in reply.template_fields
    definition = definition_of(DagSerialization.from_dict(serialized(dag)))
    assert definition is not None
    assert definition.description == "{{ not a template }} {% nor this %}"


def test_parsing_again_gives_the_same_serialized_dag() -> None:
    def body() -> Any:
        @task(pre_execute=print)
        def each(number: int) -> int:
            return number

        each.expand(number=[1, 2])
        return compute()

    assert serialized(build(body)) == serialized(build(body))


def test_another_dag_is_no_robot() -> None:
    with DAG("plain") as dag:
        BaseOperator(task_id="reply")
    assert definition_of(dag) is None
    assert definition_of(DagSerialization.from_dict(serialized(dag))) is None


def test_the_dag_belongs_to_the_authors_file(tmp_path: Path) -> None:
    file = tmp_path / "robots.py"
    file.write_text(
        "from airflow_provider_b24.robots import robot_dag\n"
        "@robot_dag(code='x', name='X')\n"
        "def my_robot():\n"
        "    pass\n"
        "print(my_robot().fileloc)\n"
    )
    printed = subprocess.run([sys.executable, str(file)], capture_output=True, text=True, check=True).stdout
    assert printed.splitlines()[-1] == str(file)


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ({"code": "score lead"}, "robot 'score lead': code"),
        ({"properties": {"model": Property.select("Model", {"a": "A"}, default="b")}}, "property 'model'"),
        ({"properties": {"ts": Property.int("Time")}}, "property 'ts'"),
        ({"on_failure": {"grade": "F"}}, "on_failure: grade"),
        ({"params": {"model": "fast"}}, "property 'model' is a param already"),
        ({"params": {"code": "x"}}, "param 'code'"),
        ({"params": {"own": Param(type="string")}}, "param 'own' needs a default"),
        ({"params": {"own": Param("x", type="integer")}}, "param 'own' needs a default"),
        ({"return_properties": {}}, "return_properties does not say"),
    ],
)
def test_a_wrong_robot_is_refused_when_the_file_is_parsed(arguments: dict[str, Any], complaint: str) -> None:
    with pytest.raises(RobotDefinitionError, match=complaint) as caught:
        build(**arguments)
    assert __file__ in str(caught.value)
    assert "robot 'score" in str(caught.value)


@pytest.mark.parametrize(
    ("answer", "complaint"),
    [
        (5, "not 5"),
        (["score"], "not \\['score'\\]"),
        ({"score": 1, "grade": "A"}, "grade: no such return property"),
        ({"verdict": "good"}, "return property 'score' is required"),
        (None, "return property 'score' is required"),
    ],
)
def test_an_answer_that_can_never_be_right_is_refused_when_the_file_is_parsed(
    answer: object, complaint: str
) -> None:
    def body() -> Any:
        return answer

    with pytest.raises(RobotDefinitionError, match=complaint):
        build(body)


@pytest.mark.parametrize(
    ("param", "complaint"),
    [
        ({"own": Param(type="string")}, "param 'own' needs a default"),
        ({"ts": 1}, "param 'ts'"),
    ],
)
def test_a_param_of_a_task_that_no_call_could_fill_in_is_refused_too(
    param: dict[str, Any], complaint: str
) -> None:
    def body() -> Any:
        return compute.override(params=param)()

    with pytest.raises(RobotDefinitionError, match=complaint):
        build(body)


def test_the_failure_answer_comes_before_the_authors_callbacks() -> None:
    dag = build(on_failure_callback=print, on_failure={"verdict": "not scored"})
    answer, own = dag.on_failure_callback
    assert isinstance(answer, RobotFailureNotifier)
    assert answer.return_values == {"verdict": "not scored"}
    assert own is print
    assert len(build(on_failure_callback=[print, repr]).on_failure_callback) == 3


def test_a_robot_that_nobody_waits_for_has_no_failure_answer() -> None:
    dag = build(use_subscription=False)
    assert dag.on_failure_callback is None
    assert dag.has_on_failure_callback is False
    assert dag.deadline is None
    assert set(dag.task_dict) == {"compute", "reply"}


@pytest.mark.parametrize("arguments", [{}, {"fail_fast": True}])
def test_the_failure_answer_is_a_teardown_of_the_reply(arguments: dict[str, Any]) -> None:
    dag = build(on_failure={"verdict": "not scored"}, **arguments)
    answer = dag.get_task("reply_on_failure")
    assert answer.is_teardown
    assert answer.on_failure_fail_dagrun is False
    assert answer.upstream_task_ids == {"reply"}
    assert answer.return_values == {"verdict": "not scored"}


def test_the_task_with_the_notes_needs_no_worker_whatever_the_default_arguments() -> None:
    dag = build(default_args={"on_success_callback": print, "on_execute_callback": print, "retries": 3})
    from airflow.models.taskinstance import TaskInstance

    kept = DagSerialization.from_dict(serialized(dag))
    assert not TaskInstance.is_task_schedulable(kept.get_task("robot_call"))
    assert TaskInstance.is_task_schedulable(kept.get_task("reply_on_failure"))


def test_a_call_that_does_not_fit_gets_its_failure_answer() -> None:
    answer = build().get_task("reply_on_failure")
    assert answer._pre_execute_hook is None, "the check of the call would keep it from running"


def test_the_deadline_of_the_call_comes_after_the_authors_own() -> None:
    own = DeadlineAlert(
        reference=DeadlineReference.DAGRUN_QUEUED_AT,
        interval=dt.timedelta(hours=1),
        callback=AsyncCallback("a.b"),
    )
    only = build().deadline
    assert [alert.reference for alert in only] == [CallDeadline()]
    dag = build(deadline=own, dagrun_timeout=dt.timedelta(minutes=5), on_failure={"verdict": "not scored"})
    first, second = dag.deadline
    assert first is own
    assert second.reference == CallDeadline(300.0)
    assert second.callback.kwargs == {
        "bitrix24_conn_id": "bitrix24_default",
        "return_values": {"verdict": "not scored"},
    }
    assert len(build(deadline=[own, own]).deadline) == 3
    assert serialized(dag)["dag"]["deadline"][1]


def test_an_airflow_without_deadlines_of_plugins_gets_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("airflow_provider_b24.robots.deadline.is_supported", lambda: False)
    assert build().deadline is None


def hooks_of(dag: DAG) -> dict[str, Any]:
    """Give what runs before each task."""
    return {
        name: one.partial_kwargs["pre_execute"] if hasattr(one, "partial_kwargs") else one._pre_execute_hook
        for name, one in dag.task_dict.items()
        if name not in ("robot_call", "reply_on_failure")
    }


def test_no_task_works_on_a_call_that_does_not_fit() -> None:
    ran: list[str] = []

    def body() -> Any:
        @task(pre_execute=lambda context: ran.append("own"))
        def own(number: int) -> int:
            return number

        own(1)
        own.override(task_id="mapped").expand(number=[1])
        return compute()

    hooks = hooks_of(build(body))
    assert set(hooks) == {"own", "mapped", "compute", "reply"}
    unfit = {"dag_run": SimpleNamespace(conf={"event_token": "x", "unfit": {"model": "'slow' is none"}})}
    for hook in hooks.values():
        with pytest.raises(AirflowFailException, match="model: 'slow' is none"):
            hook(unfit)
    assert ran == []
    for conf in ({"event_token": "x"}, {}, None):
        for hook in hooks.values():
            hook({"dag_run": SimpleNamespace(conf=conf)})
    assert ran == ["own"] * 6


def test_importing_robots_imports_no_http_library_and_no_web_server() -> None:
    script = (
        "import sys; from airflow.sdk import dag; before = set(sys.modules); "
        "import airflow_provider_b24.robots; print(*(set(sys.modules) - before))"
    )
    printed = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    ).stdout.splitlines()[-1]
    imported = {name.partition(".")[0] for name in printed.split()}
    assert imported.isdisjoint({"requests", "httpx", "rich", "fastapi", "jsonschema"})
