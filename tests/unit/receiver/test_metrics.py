"""What Airflow's metrics are told about the receiver: every name, tag and route of the documentation."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from sqlalchemy.exc import OperationalError
from starlette.testclient import TestClient

from airflow_provider_b24.hooks import metrics as hook_metrics
from airflow_provider_b24.receiver import create_app, metrics
from airflow_provider_b24.receiver.portals import Portals
from airflow_provider_b24.receiver.replay import Replay
from airflow_provider_b24.receiver.spool import NotYetError, RefusedForGoodError, Spool, SpooledCall

DOCUMENTATION = Path(__file__).parents[3] / "docs" / "receiver.md"
ROW = re.compile(r"^\| `(bitrix24\.receiver\.\w+)` \| (\w+) \| (.*) \|$", re.MULTILINE)
TAG = re.compile(r"(?:tags?|and) `(\w+)`(?: \(([^)]*)\))?")
SECRET = "s3cr3tt0ken"


def documented():
    """Give name, kind and tags (tag name to the values that are listed) of each documented metric."""
    return [
        (name, kind, {tag: set(re.findall(r"`(\w+)`", values)) for tag, values in TAG.findall(meaning)})
        for name, kind, meaning in ROW.findall(DOCUMENTATION.read_text())
    ]


class Recorder:
    """A backend of Airflow's metrics that keeps what it is told."""

    def __init__(self):
        self.told = []

    def incr(self, stat, count=1, rate=1, *, tags=None):
        self.told.append(("counter", stat, count, tags or {}))

    def timing(self, stat, dt, *, tags=None):
        self.told.append(("timer", stat, dt.total_seconds(), tags or {}))

    def gauge(self, stat, value, rate=1, delta=False, *, tags=None):
        self.told.append(("gauge", stat, value, tags or {}))

    def values(self, name):
        return [(value, tags) for _, stat, value, tags in self.told if stat == f"bitrix24.receiver.{name}"]


class Broken:
    """A backend that fails whatever it is told."""

    def __getattr__(self, name):
        def fail(*_args, **_kwargs):
            raise RuntimeError(f"no collector for {SECRET}")

        return fail


@pytest.fixture
def recorder(report_to):
    recorder = Recorder()
    report_to(lambda: recorder)
    return recorder


@pytest.fixture
def spool(tmp_path):
    return Spool(tmp_path / "spool")


@pytest.fixture
def client(spool):
    # So short a body is accepted that each route refuses before it asks anybody anything.
    app = create_app(spool_folder=spool.folder, max_body_bytes=10)
    return TestClient(app, raise_server_exceptions=False)


def call(number):
    return SpooledCall("c", "d", f"run_{number}", {"event_token": SECRET})


class Work:
    """What the replay does with calls: what each is told to come to, by its run."""

    def __init__(self, **outcomes):
        self.outcomes = outcomes

    def redo(self, one):
        outcome = self.outcomes.get(one.run_id)
        if outcome is not None:
            raise outcome


def request_everything(client):
    """Ask something of every route there is."""
    too_long = b"auth=" + SECRET.encode() * 10
    for path in (
        "/crm/robots/score",
        f"/results/{SECRET}",
        f"/results/{SECRET}/fail",
        f"/results/{SECRET}/heartbeat",
        "/crm/events",
        "/crm/install",
    ):
        client.post(path, content=too_long)
    client.get("/crm/oauth/start")
    client.get("/crm/oauth/callback", params={"code": SECRET})


def spool_everything(spool):
    """Let calls be kept, and then be done, be refused, and wait."""
    for number in range(3):
        spool.keep(call(number))
    work = Work(run_1=RefusedForGoodError("no such robot."), run_2=NotYetError())
    Replay(work, spool, Portals()).turn()


def test_every_documented_metric_is_reported_with_its_tags(recorder, client, spool):
    request_everything(client)
    spool_everything(spool)

    assert {(name, kind, frozenset(tags)) for kind, name, _, tags in recorder.told} == {
        (name, kind, frozenset(tags)) for name, kind, tags in documented()
    }


def test_every_documented_value_of_a_tag_is_used_and_no_other(recorder, client, spool):
    request_everything(client)
    spool_everything(spool)

    for name, _, tags in documented():
        for tag, listed in tags.items():
            used = {said[tag] for _, said in recorder.values(name.rpartition(".")[2])}
            assert used == listed or not listed


def test_the_module_describes_the_same_metrics_as_the_documentation():
    described = set(re.findall(r"^``(bitrix24\.receiver\.\w+)``\s+(\w+)", metrics.__doc__, re.MULTILINE))

    assert described == {(name, kind) for name, kind, _ in documented()}


def test_a_request_is_counted_once_with_the_status_that_was_answered(recorder, client):
    answer = client.post("/crm/robots/score", content=b"x" * 20)

    assert answer.status_code == 413
    assert recorder.values("requests") == [(1, {"route": "robot_call", "status": "413"})]
    [(seconds, tags)] = recorder.values("duration")
    assert seconds >= 0
    assert tags == {"route": "robot_call"}


def test_addresses_that_are_no_route_and_looks_at_the_health_are_not_counted(recorder, client):
    client.get("/health")
    client.get("/no/such/route")
    client.put("/results/x")

    assert recorder.told == []


def test_nothing_secret_and_no_identifier_is_in_a_tag(recorder, client, spool):
    request_everything(client)
    spool_everything(spool)

    told = str(recorder.told)
    assert not [word for word in (SECRET, "crm", "score", "run_", str(spool.folder)) if word in told]


def test_a_call_that_waits_already_is_not_counted_again(recorder, spool):
    assert [spool.keep(call(1)), spool.keep(call(1)), spool.keep(call(2))] == [True, False, True]

    assert recorder.values("spooled") == [(1, {}), (1, {})]


def test_each_call_that_leaves_the_spool_is_counted_by_its_outcome(recorder, spool):
    spool_everything(spool)

    assert recorder.values("replayed") == [(1, {"outcome": "done"}), (1, {"outcome": "refused"})]


def test_the_depth_is_what_waits_after_a_turn(recorder, spool):
    replay = Replay(Work(run_2=NotYetError()), spool, Portals())
    replay.turn()
    for number in range(3):
        spool.keep(call(number))
    replay.turn()

    assert recorder.values("spool_depth") == [(0, {}), (1, {})]


def test_the_depth_is_told_while_the_database_is_away_as_well(recorder, spool):
    away = OperationalError("SELECT", {}, ConnectionRefusedError())
    replay = Replay(Work(run_0=away, run_1=away), spool, Portals())
    spool.keep(call(0))
    spool.keep(call(1))
    replay.turn()

    assert recorder.values("spool_depth") == [(2, {})]
    assert recorder.values("replayed") == []


def test_a_backend_that_fails_changes_no_answer_and_loses_no_call(report_to, client, spool, caplog):
    hook_metrics._warn_once.cache_clear()
    report_to(Broken)

    assert client.post("/crm/robots/score", content=b"x" * 20).status_code == 413
    assert client.post("/crm/events", content=b"x" * 20).status_code == 413
    spool_everything(spool)

    assert (spool.replayed(), spool.refused(), spool.depth()) == (1, 1, 1)
    assert "Metrics cannot be reported to Airflow (RuntimeError)" in caplog.text
    assert SECRET not in caplog.text
