"""A portal that is kept in a file goes on where another has ended."""

from __future__ import annotations

import pickle
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx
import pytest

from airflow_provider_b24.sandbox import AskPerson, CallRobot, SandboxPortal, SetField, state_file
from airflow_provider_b24.sandbox.state_file import StateFile

DEAL = ("crm", "CCrmDocumentDeal", "DEAL_7")


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "portal.db"


def kept(file: Path) -> SandboxPortal:
    return SandboxPortal(state_file=StateFile(file))


def call(portal: SandboxPortal, method: str, **parameters: Any) -> httpx.Response:
    given = {"auth": portal.application.access_token, **parameters}
    return httpx.post(f"{portal.url}/rest/{method}", json=given, trust_env=False)


def test_what_belongs_to_records_goes_on(file: Path) -> None:
    trigger = {"CODE": "paid", "NAME": "Paid"}
    card = [{"name": "main", "title": "Main", "type": "section", "elements": []}]
    with kept(file) as portal:
        portal.add_records("deal", [{"CONTACT_IDS": [4, 5]}])
        portal.add_records("productrow", [{"ownerType": "D", "ownerId": 1, "price": 3}])
        portal.add_trigger("paid", "deal", "WON")
        call(portal, "crm.automation.trigger.add", **trigger)
        call(portal, "crm.deal.details.configuration.set", data=card)

    with kept(file) as portal:
        bound = call(portal, "crm.deal.contact.items.get", id=1).json()["result"]
        assert [(row["CONTACT_ID"], row["IS_PRIMARY"]) for row in bound] == [(4, "Y"), (5, "N")]
        (row,) = call(portal, "crm.deal.productrows.get", id=1).json()["result"]
        assert row["PRICE"] == 3
        assert call(portal, "crm.deal.details.configuration.get").json()["result"] == card
        call(portal, "crm.automation.trigger.execute", CODE="paid", OWNER_TYPE_ID=2, OWNER_ID=1)
        assert portal.records("deal").get(1)["STAGE_ID"] == "WON"  # type: ignore[index]


def test_processes_tasks_records_robots_and_credentials_go_on(file: Path, robot_handler: Any) -> None:
    robot = {
        "CODE": "score",
        "NAME": "Score",
        "HANDLER": robot_handler.url,
        "USE_SUBSCRIPTION": "Y",
        "RETURN_PROPERTIES": {"score": {"Name": "Score", "Type": "int"}},
    }
    with kept(file) as portal:
        user = portal.add_user(name="Olga", admin=True)
        portal.add_records("deal", [{"ID": 7, "TITLE": "Piano", "UF_CRM_KEYS": 88}])
        portal.add_automation("deal", "WON", [SetField("COMMENTS", "won")])
        number = portal.add_file("a.pdf", b"data")
        assert call(portal, "bizproc.robot.add", **robot).status_code == 200
        asked = portal.start_process([AskPerson(user.id, "Approve?")], DEAL)
        called = portal.start_process([CallRobot("score"), SetField("SCORE", "{=A1:score}")], DEAL)
        portal.wait_for_call()
        token, tokens = called.waiting_for, portal.application.access_token
        webhook = portal.webhook.url.removeprefix(portal.url)
    assert file.stat().st_mode & 0o077 == 0

    with kept(file) as portal:
        assert portal.application.access_token == tokens
        assert portal.webhook.url == portal.url + webhook
        assert httpx.get(portal.webhook.url + "profile").json()["result"]["NAME"] == "Ada"
        assert (
            call(portal, "bizproc.event.send", event_token=token, return_values={"score": 9}).status_code
            == 200
        )
        process = portal.processes[called.id]
        assert (process.status, process.values["SCORE"]) == ("completed", 9)
        assert [moment.what for moment in process.history][:2] == ["started", "called"]
        assert [call.status for call in portal.calls] == [200]
        (task,) = portal.tasks
        parameters = {"TASK_ID": task.id, "STATUS": "yes"}
        portal.task_list.complete(user.id, parameters, portal.engine.task_done)
        assert portal.processes[asked.id].status == "completed"
        call(portal, "crm.deal.update", ID=7, fields={"STAGE_ID": "WON"})
        deal = call(portal, "crm.deal.get", ID=7).json()["result"]
        assert (deal["TITLE"], deal["COMMENTS"], deal["UF_CRM_KEYS"]) == ("Piano", "won", "88")
        assert call(portal, "disk.file.get", id=number).json()["result"]["NAME"] == "a.pdf"
        assert [robot.code for robot in portal.robots] == ["score"]
        assert portal.start_process([CallRobot("score")]).waiting_for


def test_patience_ends_also_while_there_is_no_portal(file: Path, robot_handler: Any) -> None:
    with kept(file) as portal:
        robot = {"CODE": "score", "NAME": "Score", "HANDLER": robot_handler.url, "USE_SUBSCRIPTION": "Y"}
        call(portal, "bizproc.robot.add", **robot)
        portal.clock.advance(3600)
        late = portal.start_process([CallRobot("score", timeout_duration=1)])
        waits = portal.start_process([CallRobot("score", timeout_duration=5000)])
    time.sleep(1)
    with kept(file) as portal:
        assert portal.processes[late.id].wait(60).answers["A1"]["IsTimeout"] == 1
        assert portal.processes[waits.id].status == "waiting"
        portal.clock.advance(5000)
        assert portal.processes[waits.id].status == "completed"


def test_a_portal_that_is_killed_loses_what_was_just_done_at_most(file: Path) -> None:
    program = """
import sys, pathlib
from airflow_provider_b24.sandbox import SandboxPortal
from airflow_provider_b24.sandbox.state_file import StateFile
with SandboxPortal(state_file=StateFile(pathlib.Path(sys.argv[1]))) as portal:
    portal.add_records("deal", 3)
    print(portal.webhook.code, flush=True)
    sys.stdin.read()
"""
    command = [sys.executable, "-c", program, str(file)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as running:
        assert running.stdout
        code = running.stdout.readline().strip()
        deadline = time.monotonic() + 60
        while not is_written(file):
            assert time.monotonic() < deadline
            time.sleep(0.1)
        running.send_signal(signal.SIGKILL)
    with kept(file) as portal:
        assert portal.webhook.code == code
        assert len(portal.records("deal")) == 3


def is_written(file: Path) -> bool:
    with closing(sqlite3.connect(file, timeout=30)) as database:
        try:
            return database.execute("SELECT count(*) FROM portal").fetchone() == (1,)
        except sqlite3.OperationalError:
            return False


def test_a_call_that_was_under_way_is_known_to_be_lost(file: Path) -> None:
    with kept(file) as portal:
        robot = {"CODE": "score", "NAME": "Score", "HANDLER": "http://127.0.0.1:9/", "USE_SUBSCRIPTION": "Y"}
        call(portal, "bizproc.robot.add", **robot)
        process = portal.start_process([CallRobot("score")])
        portal.wait_for_call()
        portal.calls[0].error = None
    with kept(file) as portal:
        assert portal.calls[0].error == "the portal ended before the handler answered"
        assert "the portal ended" in portal.processes[process.id].problems[-1]


def test_a_file_of_something_else_is_refused(file: Path) -> None:
    file.write_text("this is no database, whatever else it may be " * 30)
    before = file.read_bytes()
    with pytest.raises(ValueError, match="has no state of a sandbox portal"):
        kept(file).start()
    assert file.read_bytes() == before


def test_a_file_of_another_version_is_refused(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with kept(file):
        pass
    monkeypatch.setattr(state_file, "__version__", "99.0")
    with pytest.raises(ValueError, match=r"written by version .*, this is 99\.0"):
        kept(file).start()


def test_a_file_makes_nothing_but_parts_of_a_portal(file: Path, tmp_path: Path) -> None:
    with kept(file):
        pass
    harm = tmp_path / "harm"

    class Harm:
        def __reduce__(self) -> Any:
            return Path.touch, (harm,)

    class MoreHarm:
        def __reduce__(self) -> Any:
            return eval, (f"open({str(harm)!r}, 'w')",)

    for thing in (Harm(), MoreHarm()):
        with closing(sqlite3.connect(file)) as database, database:
            database.execute("UPDATE portal SET content = ?", (pickle.dumps(thing),))
        with pytest.raises(ValueError, match="nothing that a portal consists of"):
            kept(file).start()
    assert not harm.exists()
