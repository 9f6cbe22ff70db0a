"""``airflow-b24 robots`` as it is typed."""

import json
import subprocess
import sys

import pytest

from airflow_provider_b24.cli import main

pytestmark = pytest.mark.usefixtures("application_connection")


@pytest.fixture
def robots(folder, capfd):
    """Run the command; returns its exit code, what it prints and what it says on the side."""

    def run(command, *arguments):
        if command in ("plan", "apply"):
            arguments = ("--dags-folder", str(folder.path), *arguments)
        code = main(["robots", command, *arguments])
        printed = capfd.readouterr()
        return code, printed.out, printed.err

    return run


@pytest.fixture
def person(monkeypatch):
    """Somebody at a terminal who answers a question."""

    class Terminal:
        def __init__(self, answer):
            self.answer = answer

        def isatty(self):
            return True

        def readline(self):
            return f"{self.answer}\n"

    def sits(answer):
        monkeypatch.setattr(sys, "stdin", Terminal(answer))

    return sits


def test_plan_shows_what_would_change_and_changes_nothing(portal, folder, robots):
    folder.declare("one")
    code, out, _ = robots("plan")
    assert code == 0
    assert out.split() == ["Action", "Kind", "Code", "DAG", "What", "add", "robot", "one", "dag_one"]
    assert portal.robots == []


def test_apply_registers_and_sums_up(portal, folder, robots):
    folder.declare("one")
    folder.declare("two")
    code, _, err = robots("apply")
    assert code == 0
    assert "2 added, 0 updated, 0 deleted, 0 unchanged" in err
    folder.declare("two", description="Changed")
    _, out, err = robots("apply")
    assert "DESCRIPTION added" in out
    assert "0 added, 1 updated, 0 deleted, 1 unchanged" in err
    _, out, _ = robots("plan")
    assert "Nothing to do." in out


def test_robots_are_registered_where_airflows_database_is_of_no_use(portal, folder, robots):
    folder.declare("one")
    unknown = "Airflow's database cannot be read: whether the robots' DAGs are parsed is not known."
    code, _, err = robots("plan")
    assert (code, err.splitlines().count(unknown)) == (0, 1)
    code, out, err = robots("apply", "--json")
    assert (code, err.splitlines().count(unknown), len(portal.robots)) == (0, 1, 1)
    assert [robot["dag"] for robot in json.loads(out)["robots"]] == [None]
    code, _, err = robots("apply", "--wait")
    assert code == 1
    assert "Error: without Airflow's database nobody can tell" in err


@pytest.mark.parametrize("seconds", ["-1", "soon", "nan", "inf"])
def test_waiting_takes_a_number_of_seconds(robots, seconds, capfd):
    with pytest.raises(SystemExit) as left:
        robots("apply", f"--wait={seconds}")
    assert left.value.code == 2
    assert f"{seconds!r} is no number of seconds" in capfd.readouterr().err


def test_nothing_of_airflows_is_said_before_the_table(folder):
    folder.declare("one")
    command = [sys.executable, "-m", "airflow_provider_b24.cli", "robots", "plan"]
    done = subprocess.run(
        [*command, "--dags-folder", str(folder.path)], capture_output=True, text=True, check=True
    )
    assert "DagBag" not in done.stderr
    assert done.stdout.startswith("Action")


def test_an_empty_folder_and_an_empty_portal_are_said_to_be_empty(robots):
    assert "Neither the DAG folder nor the portal" in robots("plan")[1]


@pytest.mark.parametrize(("answer", "left"), [("y", {"one"}), ("n", {"one", "two"}), ("", {"one", "two"})])
def test_apply_asks_before_it_deletes(portal, folder, robots, person, answer, left):
    folder.declare("one")
    folder.declare("two")
    robots("apply")
    folder.remove("two")
    person(answer)
    code, _, err = robots("apply")
    assert code == 0
    assert "To be deleted: two" in err
    assert {robot.code for robot in portal.robots} == left


def test_apply_deletes_nothing_when_nobody_can_answer_and_all_with_yes(portal, folder, robots):
    folder.declare("one")
    folder.declare("two")
    robots("apply")
    folder.remove("one")
    code, _, err = robots("apply")
    assert (code, len(portal.robots)) == (0, 2)
    assert "Not deleted without --yes: one" in err
    assert "1 not deleted" in err
    assert robots("apply", "--yes")[0] == 0
    assert [robot.code for robot in portal.robots] == ["two"]


@pytest.mark.parametrize("command", ["plan", "apply"])
def test_without_airflows_dag_folder_nothing_is_planned_and_nothing_deleted(
    portal, folder, robots, monkeypatch, capfd, command
):
    folder.declare("one")
    robots("apply")
    missing = folder.path / "not_mounted"
    monkeypatch.setenv("AIRFLOW__CORE__DAGS_FOLDER", str(missing))
    assert main(["robots", command, *(["--yes"] if command == "apply" else [])]) == 1
    assert capfd.readouterr().err.endswith(f"Error: There is no DAG folder {missing}\n")
    assert [robot.code for robot in portal.robots] == ["one"]


def test_a_folder_without_any_robot_deletes_nothing_and_says_how_to(portal, folder, robots):
    folder.declare("one")
    folder.declare("two")
    robots("apply")
    folder.remove("one")
    folder.remove("two")
    code, _, err = robots("apply", "--yes")
    assert (code, len(portal.robots)) == (1, 2)
    assert f"there is no robot at all in the DAG folder {folder.path}" in err
    assert "`airflow-b24 robots delete --conn-id bitrix24_default one two`" in err
    assert "0 deleted, 0 unchanged, 2 not deleted" in err
    assert robots("delete", "one", "two", "--yes")[0] == 0
    assert portal.robots == []


def test_a_folder_with_robots_of_another_connection_alone_is_the_right_one(portal, folder, robots):
    folder.declare("one")
    robots("apply")
    folder.declare("one", bitrix24_conn_id="another")
    assert robots("apply", "--yes")[0] == 0
    assert portal.robots == []


def test_a_broken_dag_file_prevents_deletions_and_is_an_error(portal, folder, robots):
    folder.declare("one")
    robots("apply")
    folder.write("one.py", "from airflow_provider_b24.robots import robot_dag\nimport nowhere_to_be_found\n")
    folder.declare("two")
    code, _, err = robots("apply", "--yes")
    assert code == 1
    assert "Nothing is deleted while DAG files are broken" in err
    assert "nowhere_to_be_found" in err
    assert {robot.code for robot in portal.robots} == {"one", "two"}


def test_a_failed_robot_is_named_the_others_are_done_and_the_exit_code_says_so(portal, folder, robots):
    folder.declare("good")
    folder.declare("bad", bitrix24_conn_id="bitrix24_default", auth_user_id=1)
    portal.robot_registry.add(
        "activity", portal.application.client_id, {"CODE": "bad", "HANDLER": "https://x.example", "NAME": "X"}
    )
    code, _, err = robots("apply")
    assert code == 1
    assert "Failed to add robot bad:" in err
    assert "ERROR_ACTIVITY_ALREADY_INSTALLED" in err
    assert "1 added, 0 updated, 0 deleted, 0 unchanged, 1 not deleted, 1 failed" in err


def test_json_is_nothing_but_json(folder):
    folder.declare("one")
    folder.write("noisy.py", "# airflow dag\nprint('hello from a DAG file')\n")
    command = [sys.executable, "-m", "airflow_provider_b24.cli", "robots", "apply", "--json"]
    done = subprocess.run(
        [*command, "--dags-folder", str(folder.path)], capture_output=True, text=True, check=True
    )
    (robot,) = json.loads(done.stdout)["robots"]
    assert (robot["code"], robot["done"], robot["error"]) == ("one", True, None)
    assert "hello from a DAG file" in done.stderr


def test_json_holds_the_plan(folder, robots):
    folder.declare("one", description="First")
    plan = json.loads(robots("plan", "--json")[1])
    (robot,) = plan["robots"]
    assert (plan["connection"], plan["broken_files"]) == ("bitrix24_default", {})
    assert (robot["action"], robot["kind"], robot["code"], robot["dag_id"]) == (
        "add",
        "robot",
        "one",
        "dag_one",
    )
    assert {"field": "DESCRIPTION", "change": "added", "value": "First"} in robot["changes"]
    robots("apply")
    assert json.loads(robots("apply", "--json")[1])["robots"][0]["action"] == "unchanged"


def test_list_shows_what_is_registered_and_by_whom(portal, folder, robots):
    folder.declare("one")
    robots("apply")
    portal.robot_registry.add(
        "activity", portal.application.client_id, {"CODE": "old", "HANDLER": "https://x.example", "NAME": "X"}
    )
    _, out, _ = robots("list")
    assert [line.rstrip().split(maxsplit=2) for line in out.splitlines()[1:]] == [
        ["robot", "one", "airflow-b24"],
        ["activity", "old", "another program"],
    ]
    assert json.loads(robots("list", "--json")[1]) == [
        {"kind": "robot", "code": "one", "ours": True},
        {"kind": "activity", "code": "old", "ours": False},
    ]


def test_delete_removes_what_it_is_told_to(portal, folder, robots, person):
    for code in ("one", "two", "three"):
        folder.declare(code)
    robots("apply")
    assert robots("delete", "one", "--yes")[0] == 0
    assert {robot.code for robot in portal.robots} == {"two", "three"}
    code, _, err = robots("delete", "two", "missing", "--yes")
    assert code == 1
    assert "not registered by this application: missing. Nothing was deleted." in err
    assert robots("delete", "two")[0] == 1
    person("yes")
    assert robots("delete", "two")[0] == 0
    assert {robot.code for robot in portal.robots} == {"three"}


def test_a_connection_that_does_not_exist_is_an_error_and_no_traceback(robots, monkeypatch):
    monkeypatch.setenv("AIRFLOW_CONN_BROKEN", json.dumps({"conn_type": "bitrix24"}))
    code, _, err = robots("plan", "--conn-id", "broken")
    assert code == 1
    assert err.splitlines()[-1].startswith("Error: The Airflow connection 'broken' cannot be used")


def test_a_webhook_is_told_what_to_use_instead(robots, portal, monkeypatch):
    monkeypatch.setenv("AIRFLOW_CONN_HOOK", json.dumps({"conn_type": "bitrix24", "host": portal.webhook.url}))
    code, _, err = robots("list", "--conn-id", "hook")
    assert code == 1
    assert "OAuth application" in err
    assert portal.webhook.code not in err


def test_a_connection_that_is_not_there_is_told_how_to_make(robots):
    code, _, said = robots("list", "--conn-id", "nobody")
    assert code == 1
    assert "nobody" in said
    assert "Admin, Connections, type Bitrix24" in said
