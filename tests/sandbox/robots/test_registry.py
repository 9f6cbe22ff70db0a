"""Bringing a portal's robots in line with a DAG folder."""

import json
import os

import pytest

from airflow_provider_b24.hooks.bitrix24 import Bitrix24Hook
from airflow_provider_b24.robots.dags_folder import read_dags_folder
from airflow_provider_b24.robots.definition import RobotDefinitionError
from airflow_provider_b24.robots.registry import RegistryError, apply, make_plan
from airflow_provider_b24.sandbox import AnswerStatus

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


@pytest.fixture
def plan(hook, folder):
    return lambda: make_plan(hook, read_dags_folder(folder.path))


def actions(plan):
    return {step.code: step.action for step in plan.steps}


def applied(hook, plan):
    outcomes = apply(hook, plan.steps)
    assert [outcome.error for outcome in outcomes] == [None] * len(outcomes)
    return outcomes


def registered(portal):
    return {robot.code: robot for robot in portal.robots}


def test_robots_and_activities_are_registered_as_declared(portal, hook, folder, plan):
    folder.declare("one", properties="{'model': Property.int({'en': 'Model', 'de': 'Modell'}, default=3)}")
    folder.declare(
        "two", kind="activity", description="Two", filter={"INCLUDE": [["crm", "CCrmDocumentLead"]]}
    )
    assert actions(plan()) == {"one": "add", "two": "add"}
    applied(hook, plan())
    one, two = registered(portal)["one"], registered(portal)["two"]
    assert (one.kind, two.kind) == ("robot", "activity")
    assert one.handler == "https://airflow.example.com/bitrix24/bitrix24_default/robots/dag_one"
    assert one.use_subscription == "Y"
    assert one.properties["model"] == {
        "Name": {"en": "Model", "de": "Modell"},
        "Type": "int",
        "Required": "N",
        "Multiple": "N",
        "Default": "3",
    }
    assert two.fields["DESCRIPTION"] == "Two"
    assert two.fields["FILTER"] == {"INCLUDE": [["crm", "CCrmDocumentLead"]]}


def test_a_second_apply_changes_nothing(portal, hook, folder, plan):
    folder.declare("one", properties="{'a': Property.int('A'), 'b': Property.string('B')}")
    applied(hook, plan())
    again = plan()
    assert actions(again) == {"one": "unchanged"}
    assert not again.changes_something
    before = len(portal.requests)
    assert apply(hook, again.steps) == []
    assert len(portal.requests) == before


def test_a_changed_robot_is_shown_field_by_field_and_updated(portal, hook, folder, plan):
    folder.declare("one", description="Old", properties="{'a': Property.int('A'), 'b': Property.string('B')}")
    applied(hook, plan())
    folder.declare("one", auth_user_id=1, properties="{'a': Property.double('A'), 'c': Property.string('C')}")
    (step,) = plan().steps
    assert step.action == "update"
    assert {(change.field, change.how) for change in step.changes} == {
        ("AUTH_USER_ID", "added"),
        ("DESCRIPTION", "removed"),
        ("PROPERTIES.a", "changed"),
        ("PROPERTIES.b", "removed"),
        ("PROPERTIES.c", "added"),
    }
    applied(hook, plan())
    robot = registered(portal)["one"]
    assert list(robot.properties) == ["a", "c"]
    assert robot.properties["a"]["Type"] == "double"
    assert not robot.fields["DESCRIPTION"]
    assert actions(plan()) == {"one": "unchanged"}


def test_the_order_of_properties_counts(hook, folder, plan):
    folder.declare("one", properties="{'a': Property.int('A'), 'b': Property.int('B')}")
    applied(hook, plan())
    folder.declare("one", properties="{'b': Property.int('B'), 'a': Property.int('A')}")
    (step,) = plan().steps
    assert [change.field for change in step.changes] == ["PROPERTIES.order"]


def test_properties_can_be_taken_away_altogether(portal, hook, folder, plan):
    folder.declare("one", properties="{'a': Property.int('A')}")
    applied(hook, plan())
    folder.declare("one")
    applied(hook, plan())
    assert registered(portal)["one"].properties == {}
    assert actions(plan()) == {"one": "unchanged"}


def test_examples_that_airflow_loads_beside_the_dag_folder_are_not_registered(folder, plan, monkeypatch):
    monkeypatch.setenv("AIRFLOW__CORE__LOAD_EXAMPLES", "True")
    folder.declare("one")
    assert [robot.dag_id for robot in read_dags_folder(folder.path).robots] == ["dag_one"]
    assert actions(plan()) == {"one": "add"}


def test_a_robot_that_no_dag_declares_is_deleted(portal, hook, folder, plan):
    folder.declare("one")
    folder.declare("two")
    applied(hook, plan())
    folder.remove("one")
    assert actions(plan()) == {"two": "unchanged", "one": "delete"}
    applied(hook, plan())
    assert set(registered(portal)) == {"two"}
    folder.declare("one")
    (step,) = plan().of("add")
    assert step.note is None


def test_a_robot_may_become_an_activity(portal, hook, folder, plan):
    folder.declare("one")
    applied(hook, plan())
    folder.declare("one", kind="activity")
    applied(hook, plan())
    assert [(robot.kind, robot.code) for robot in portal.robots] == [("activity", "one")]


def test_robots_of_other_applications_are_neither_seen_nor_touched(portal, hook, folder, plan):
    portal.robot_registry.add(
        "robot", "another", {"CODE": "theirs", "HANDLER": "https://x.example", "NAME": "X"}
    )
    folder.declare("one")
    assert actions(plan()) == {"one": "add"}
    applied(hook, plan())
    assert set(registered(portal)) == {"theirs", "one"}


def test_a_robot_deleted_behind_our_back_is_said_so_and_registered_again(portal, hook, folder, plan):
    folder.declare("one")
    applied(hook, plan())
    hook.call("bizproc.robot.delete", {"CODE": "one"})
    (step,) = plan().steps
    assert (step.action, step.note) == ("add", "was registered, but is gone from the portal")
    applied(hook, plan())
    assert set(registered(portal)) == {"one"}


def test_a_robot_registered_by_another_program_is_said_so_and_overwritten(portal, hook, folder, plan):
    hook.call(
        "bizproc.robot.add",
        {
            "CODE": "one",
            "HANDLER": "https://old.example",
            "NAME": "Old",
            "DESCRIPTION": "Old",
            "PROPERTIES": {"p": {"Name": "P"}},
        },
    )
    folder.declare("one")
    (step,) = plan().steps
    assert (step.action, step.note) == ("update", "registered, but not by `airflow-b24 robots apply`")
    applied(hook, plan())
    robot = registered(portal)["one"]
    assert robot.fields["NAME"] == "Robot one"
    assert not robot.fields["DESCRIPTION"]
    assert robot.properties == {}


def test_a_fingerprint_that_cannot_be_read_costs_one_registration(portal, hook, folder, plan):
    folder.declare("one")
    applied(hook, plan())
    portal.application.options["airflow_robot:one"] = "{not json"
    assert actions(plan()) == {"one": "update"}
    applied(hook, plan())
    assert actions(plan()) == {"one": "unchanged"}


def test_what_else_the_application_has_stored_is_left_alone(portal, hook, folder, plan):
    portal.application.options["theirs"] = "x"
    folder.declare("one")
    applied(hook, plan())
    assert portal.application.options["theirs"] == "x"


def test_one_failure_does_not_keep_the_others_from_being_done(portal, hook, folder, plan):
    for code in ("one", "two", "three"):
        folder.declare(code)
    ready = plan()
    portal.robot_registry.add(
        "robot", portal.application.client_id, {"CODE": "two", "HANDLER": "https://x.example", "NAME": "X"}
    )
    outcomes = {outcome.step.code: outcome.error for outcome in apply(hook, ready.steps)}
    assert outcomes["one"] is outcomes["three"] is None
    assert "ERROR_ACTIVITY_ALREADY_INSTALLED" in outcomes["two"]
    assert actions(plan()) == {"one": "unchanged", "two": "update", "three": "unchanged"}


def test_a_hundred_robots_take_four_requests(portal, hook, folder, plan):
    folder.write(
        "many.py",
        "from airflow_provider_b24.robots import Property, robot_dag\n"
        "for number in range(100):\n"
        "    @robot_dag(code=f'r{number}', name=f'Robot {number}', dag_id=f'dag_{number}',\n"
        "               properties={'a': Property.int('A')}, return_properties={'b': Property.int('B')})\n"
        "    def robot():\n"
        "        pass\n"
        "    robot()\n",
    )
    applied(hook, plan())
    assert len(portal.robots) == 100
    assert [request.method for request in portal.requests] == ["batch", "batch", "batch", "app.option.set"]
    assert not plan().changes_something


def test_two_dags_with_one_code_are_refused_by_their_names(folder, plan):
    folder.declare("one")
    folder.declare("one", file="copy.py", dag_id="copy")
    with pytest.raises(RobotDefinitionError, match="'one'") as caught:
        plan()
    for name in ("dag_one", "one.py", "copy", "copy.py"):
        assert name in str(caught.value)


def test_robots_of_another_connection_are_left_out(folder, plan):
    folder.declare("one", bitrix24_conn_id="another")
    assert plan().steps == ()


def test_a_broken_dag_file_is_reported(folder, plan):
    folder.declare("one")
    folder.write(
        "broken.py",
        "from airflow_provider_b24.robots import robot_dag\nrobot_dag(code='x', name='')(lambda: 1)\n",
    )
    found = plan()
    assert actions(found) == {"one": "add"}
    ((file, error),) = found.broken.items()
    assert file.endswith("broken.py")
    assert "robot 'x': its name must be a text" in error


def test_a_missing_dag_folder_is_an_error(folder):
    with pytest.raises(FileNotFoundError, match="nowhere"):
        read_dags_folder(folder.path / "nowhere")


def test_a_webhook_cannot_register_robots(webhook_connection, folder):
    with (
        Bitrix24Hook(webhook_connection) as hook,
        pytest.raises(RegistryError, match="OAuth application"),
    ):
        make_plan(hook, read_dags_folder(folder.path))


def test_who_is_no_administrator_is_told_so(portal, folder, application_connection, monkeypatch):
    user = portal.add_user()
    pair = portal.application.issue_tokens(user.id)
    connection = json.loads(os.environ["AIRFLOW_CONN_BITRIX24_DEFAULT"])
    connection["extra"] |= {"access_token": pair.access_token, "refresh_token": pair.refresh_token}
    monkeypatch.setenv("AIRFLOW_CONN_BITRIX24_DEFAULT", json.dumps(connection))
    with (
        Bitrix24Hook(application_connection) as hook,
        pytest.raises(RegistryError, match="must be an administrator") as caught,
    ):
        make_plan(hook, read_dags_folder(folder.path))
    assert pair.access_token not in str(caught.value)


def test_a_fingerprint_that_the_portal_did_not_keep_is_no_success(portal, hook, folder, plan):
    folder.declare("one")
    ready = plan()
    portal.faults.add(AnswerStatus(403, "ACCESS_DENIED", "Access denied!"), method="app.option.set")
    (outcome,) = apply(hook, ready.steps)
    assert "the next apply does it again" in outcome.error
    assert actions(plan()) == {"one": "update"}
