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
from airflow.serialization import serialized_objects

from airflow_provider_b24.robots import Property, robot_dag
from airflow_provider_b24.robots.definition import RobotDefinitionError, definition_of

# Its name since Airflow 3.2, and the one before.
DagSerialization = getattr(serialized_objects, "DagSerialization", serialized_objects.SerializedDAG)

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
    assert dag.schedule is None
    assert dag.is_paused_upon_creation is False
    assert set(dag.task_dict) == {"compute", "reply"}


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
    assert reply.upstream_task_ids == {"compute"}
    assert reply.return_values.operator.task_id == "compute"


def test_an_operator_stands_for_its_result() -> None:
    def body() -> BaseOperator:
        return BaseOperator(task_id="classic")

    def body_with_mapping() -> dict[str, Any]:
        return {"score": BaseOperator(task_id="classic")}

    assert build(body).get_task("reply").upstream_task_ids == {"classic"}
    assert build(body_with_mapping).get_task("reply").upstream_task_ids == {"classic"}


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

    assert build(body).get_task("reply").upstream_task_ids == names


def test_an_answer_that_is_one_template_waits_for_all_tasks() -> None:
    def body() -> str:
        compute()
        return "{{ ti.xcom_pull('compute') }}"

    assert build(body).get_task("reply").upstream_task_ids == {"compute"}


def test_without_an_answer_the_process_goes_on_after_the_last_task_of_each_path() -> None:
    def body() -> None:
        first, second, third = (BaseOperator(task_id=name) for name in ("first", "second", "third"))
        first >> second
        with TaskGroup("group"):
            BaseOperator(task_id="inner")
        third.as_teardown(setups=first)

    reply = build(body, return_properties={}).get_task("reply")
    assert reply.upstream_task_ids == {"second", "group.inner"}


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


def test_one_task_is_added_and_no_callback_deadline_or_hook() -> None:
    def body() -> Any:
        @task
        def each(number: int) -> int:
            return number

        each.expand(number=[1, 2])
        return compute()

    dag = build(body, on_failure={"verdict": "not scored"}, dagrun_timeout=dt.timedelta(minutes=5))

    assert set(dag.task_dict) == {"compute", "each", "reply"}
    assert dag.on_failure_callback is None
    assert getattr(dag, "deadline", None) is None  # Airflow 3.0 has none
    assert not any(one.is_teardown for one in dag.tasks)
    assert dag.get_task("compute")._pre_execute_hook is None
    assert "pre_execute" not in dag.get_task("each").partial_kwargs


def test_callbacks_and_deadlines_of_the_author_stay_as_they_are() -> None:
    deadlines = pytest.importorskip("airflow.sdk.definitions.deadline")  # Airflow 3.1
    callbacks = pytest.importorskip("airflow.sdk.definitions.callback")
    own = deadlines.DeadlineAlert(
        reference=deadlines.DeadlineReference.DAGRUN_QUEUED_AT,
        interval=dt.timedelta(hours=1),
        callback=callbacks.AsyncCallback("a.b"),
    )
    dag = build(on_failure_callback=print, deadline=own, on_failure={"verdict": "not scored"})

    assert dag.on_failure_callback in (print, [print])
    assert dag.deadline in (own, [own])


def test_default_arguments_of_the_author_reach_all_tasks_but_the_answer() -> None:
    unwelcome: dict[str, Any] = {
        "depends_on_past": True,
        "wait_for_downstream": True,
        "execution_timeout": dt.timedelta(seconds=1),
        "max_active_tis_per_dag": 1,
        "on_success_callback": print,
        "pool": "small",
        "priority_weight": 3,
        "queue": "elsewhere",
        "retries": 0,
        "retry_delay": dt.timedelta(hours=3),
        "trigger_rule": "one_failed",
    }
    plain, dag = build().get_task("reply"), build(default_args=unwelcome)

    for name in unwelcome:
        assert getattr(dag.get_task("reply"), name) == getattr(plain, name), name
    assert dag.get_task("compute").pool == "small"
    assert dag.default_args["pool"] == "small"


def test_tasks_are_retried_soon_because_a_process_waits() -> None:
    task = build().get_task("compute")

    assert (task.retries, task.retry_delay) == (3, dt.timedelta(seconds=10))


@pytest.mark.parametrize("retries", [0, 5])
def test_the_author_says_how_often_tasks_are_retried(retries: int) -> None:
    def body() -> Any:
        BaseOperator(task_id="own", retries=retries + 1, retry_delay=dt.timedelta(minutes=1))
        return compute()

    dag = build(body, default_args={"retries": retries, "retry_delay": dt.timedelta(hours=1)})
    own, other = dag.get_task("own"), dag.get_task("compute")

    assert (own.retries, own.retry_delay) == (retries + 1, dt.timedelta(minutes=1))
    assert (other.retries, other.retry_delay) == (retries, dt.timedelta(hours=1))


def test_the_retries_that_airflow_is_configured_with_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW__CORE__DEFAULT_TASK_RETRIES", "7")

    assert build().get_task("compute").retries == 7


def test_the_answer_has_priority_over_all_work_that_has_not_begun() -> None:
    def body() -> Any:
        first = BaseOperator(task_id="first", priority_weight=1_000_000)
        tail = [BaseOperator(task_id=f"tail{number}", priority_weight=1_000_000) for number in range(20)]
        done = compute()
        first >> done >> tail
        return done

    dag = DagSerialization.from_dict(serialized(build(body)))
    reply = dag.get_task("reply")
    others = [one for one in dag.task_dict.values() if one is not reply]

    assert reply.weight_rule.get_weight(SimpleNamespace(task=reply)) == reply.priority_weight
    assert reply.priority_weight > sum(one.priority_weight for one in others)


def test_the_answer_is_tried_for_about_a_day_and_soon_after_the_portal_is_up_again() -> None:
    reply = build().get_task("reply")

    assert reply.max_retry_delay == dt.timedelta(minutes=1)
    assert reply.retries * reply.max_retry_delay > dt.timedelta(days=1)


def test_the_page_of_the_dag_says_what_the_robot_is() -> None:
    dag = build(
        description={"en": "Looks at a lead", "de": "Sieht sich einen Lead an"},
        properties={
            "model": Property.select(
                "Model", {"fast": "Fast | cheap"}, required=True, description="Which\none"
            ),
            "owners": Property.user("Owners", multiple=True),
        },
        on_failure={"verdict": "not scored"},
    )

    assert dag.dag_display_name == "Score the lead"
    assert dag.description == "Looks at a lead"
    for text in (
        "# Score the lead",
        "automation rule (robot) `score_lead` of the Airflow connection `bitrix24_default`",
        "Looks at a lead",
        "| `model` | Model | select | required; one of `fast`; Which one |",
        "| `owners` | Owners | user | multiple |",
        "| `score` | Score | double | required |",
        "the dispatcher answers with `verdict` = `not scored`",
        "shortly before its time limit is over",
    ):
        assert text in dag.doc_md


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({}, "sets `IsTimeout`"),
        ({"on_failure": {"verdict": "x"}, "answer_before_limit": False}, "sets `IsTimeout`"),
        ({"answer_before_limit": True}, "shortly before its time limit"),
        ({"use_subscription": False}, "only logs what the answer would be"),
        ({"kind": "activity"}, "workflow action (activity)"),
        ({"properties": {}}, "None."),
    ],
)
def test_it_says_what_becomes_of_a_process_that_waits(arguments: dict[str, Any], says: str) -> None:
    assert says in build(**arguments).doc_md


def test_what_the_author_says_of_the_dag_is_left_alone() -> None:
    dag = build(dag_display_name="Own", description="Own text", doc_md="# Own page")

    assert (dag.dag_display_name, dag.description, dag.doc_md) == ("Own", "Own text", "# Own page")


@pytest.mark.parametrize(
    ("given", "margin"), [(None, None), (True, 120), (False, None), (dt.timedelta(minutes=1), 60)]
)
def test_how_early_a_process_with_a_limit_is_answered_travels_with_the_dag(given: Any, margin: Any) -> None:
    dag = build(answer_before_limit=given)
    definition = definition_of(DagSerialization.from_dict(serialized(dag)))

    assert definition is not None
    assert definition.margin(600) == margin


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
