"""Calls that come while Airflow's database is away: kept, then done once, in order."""

from __future__ import annotations

import logging
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select
from starlette.testclient import TestClient

from airflow_provider_b24.receiver import create_app
from airflow_provider_b24.receiver.dag_runs import DagRuns
from airflow_provider_b24.receiver.portals import Portals

ROUTE = "/bitrix24_default/robots/score_lead"


@pytest.fixture
def spool_folder(tmp_path: Path) -> Path:
    return tmp_path / "spool"


def replay_of(receiver: TestClient) -> Any:
    return receiver.app.state.replay


def spool_of(receiver: TestClient) -> tuple[int, int]:
    """How many calls wait, and how many are set aside."""
    spool = receiver.get("/health").json()["spool"]
    return spool["waiting"], spool["refused"]


def waiting(receiver: TestClient) -> int:
    return spool_of(receiver)[0]


def test_a_call_is_kept_and_done_when_the_database_is_back(receiver, robot, call_fields, runs, database_away):
    replay_of(receiver).portals.learn()
    with database_away():
        answer = receiver.post(ROUTE, data=call_fields)
        assert (answer.status_code, answer.json()["spooled"]) == (202, True)
        replay_of(receiver).turn()
        assert waiting(receiver) == 1
    assert runs() == []
    replay_of(receiver).turn()
    [run] = runs()
    assert run.run_id == answer.json()["run_id"]
    assert run.conf["properties"] == {"model": "deep", "limit": 3}
    assert run.conf["member_id"] == call_fields["auth[member_id]"]
    assert receiver.get("/health").json()["spool"] == {"waiting": 0, "refused": 0, "replayed": 1}
    assert receiver.head("/health").status_code == 200


def test_a_connection_that_took_a_call_before_needs_no_learning(
    receiver, robot, call_fields, runs, database_away
):
    receiver.post(ROUTE, data=call_fields)
    with database_away():
        assert receiver.post(ROUTE, data=call_fields | {"event_token": "2"}).status_code == 202
    replay_of(receiver).turn()
    assert len(runs()) == 2


def test_calls_are_done_in_the_order_in_which_they_came(receiver, robot, call_fields, runs, database_away):
    replay_of(receiver).portals.learn()
    with database_away():
        for number in range(20):
            receiver.post(ROUTE, data=call_fields | {"event_token": f"t{number}"})
    replay_of(receiver).turn()
    assert [run.conf["event_token"] for run in runs()] == [f"t{number}" for number in range(20)]


def test_a_call_is_done_after_a_restart(receiver, robot, call_fields, runs, database_away, spool_folder):
    replay_of(receiver).portals.learn()
    with database_away():
        receiver.post(ROUTE, data=call_fields)
    restarted = TestClient(create_app(spool_folder=spool_folder))
    replay_of(restarted).turn()
    assert len(runs()) == 1


class TestOnce:
    def test_the_same_call_twice_while_the_database_is_away(
        self, receiver, robot, call_fields, runs, database_away
    ):
        replay_of(receiver).portals.learn()
        with database_away():
            first = receiver.post(ROUTE, data=call_fields)
            again = receiver.post(ROUTE, data=call_fields)
        assert (first.status_code, again.status_code, again.json()["duplicate"]) == (202, 200, True)
        replay_of(receiver).turn()
        assert len(runs()) == 1

    def test_the_same_call_before_and_while_the_database_is_away(
        self, receiver, robot, call_fields, runs, database_away
    ):
        receiver.post(ROUTE, data=call_fields)
        with database_away():
            assert receiver.post(ROUTE, data=call_fields).status_code == 202
        replay_of(receiver).turn()
        assert (len(runs()), waiting(receiver)) == (1, 0)

    def test_a_replay_that_was_killed_after_the_run_was_created(
        self, receiver, robot, call_fields, runs, database_away, monkeypatch
    ):
        replay_of(receiver).portals.learn()
        with database_away():
            receiver.post(ROUTE, data=call_fields)
        with monkeypatch.context() as patch:
            patch.setattr(Path, "unlink", _killed)
            with pytest.raises(KeyboardInterrupt):
                replay_of(receiver).turn()
        assert (len(runs()), waiting(receiver)) == (1, 1)
        replay_of(receiver).turn()
        assert (len(runs()), waiting(receiver)) == (1, 0)

    def test_many_receivers_that_replay_at_once(
        self, receiver, robot, call_fields, runs, database_away, spool_folder
    ):
        others = [TestClient(create_app(spool_folder=spool_folder)) for _ in range(4)]
        replay_of(receiver).portals.learn()
        with database_away():
            for number in range(20):
                receiver.post(ROUTE, data=call_fields | {"event_token": f"t{number}"})
        with ThreadPoolExecutor(5) as pool:
            list(pool.map(lambda one: replay_of(one).turn(), [receiver, *others]))
        replay_of(receiver).turn()
        assert sorted(run.conf["event_token"] for run in runs()) == sorted(
            f"t{number}" for number in range(20)
        )


def _break(*_args: Any) -> None:
    raise RuntimeError


def _killed(*_args: Any, **_kwargs: Any) -> None:
    raise KeyboardInterrupt


class TestStillVerified:
    def test_a_call_that_is_not_from_the_portal_is_refused(self, receiver, robot, call_fields, database_away):
        replay_of(receiver).portals.learn()
        with database_away():
            wrong = receiver.post(ROUTE, data=call_fields | {"auth[application_token]": "wrong"})
            assert wrong.status_code == 403
            assert receiver.post(ROUTE, data={"event_token": "x"}).status_code == 403
            assert waiting(receiver) == 0

    def test_a_call_without_event_token_is_refused(self, receiver, robot, call_fields, database_away):
        replay_of(receiver).portals.learn()
        with database_away():
            for token in ({"event_token": ""}, {"event_token": " "}, {"event_token[]": "x"}):
                del (fields := dict(call_fields))["event_token"]
                assert receiver.post(ROUTE, data=fields | token).status_code == 400
            assert waiting(receiver) == 0

    def test_a_connection_that_was_never_seen_is_not_taken_for_a_missing_one(
        self, receiver, robot, call_fields, database_away
    ):
        with database_away():
            answer = receiver.post(ROUTE, data=call_fields)
        assert (answer.status_code, answer.json()["error"]) == (503, "unavailable")

    @pytest.mark.parametrize("change", [{"ts": "never"}, {"document_id[2]": ""}])
    def test_a_call_that_turns_out_to_be_none_is_set_aside(
        self, receiver, robot, call_fields, runs, database_away, caplog, change, spool_folder
    ):
        replay_of(receiver).portals.learn()
        with database_away():
            receiver.post(ROUTE, data=call_fields | change)
            receiver.post(ROUTE, data=call_fields | {"event_token": "good"})
        replay_of(receiver).turn()
        assert [run.conf["event_token"] for run in runs()] == ["good"]
        assert spool_of(receiver) == (0, 1)
        assert "cannot be done" in caplog.text
        assert call_fields["event_token"] not in caplog.text

    def test_a_robot_that_is_not_there_is_waited_for(
        self, receiver, publish_dag, make_robot, call_fields, portal_connection, runs, database_away
    ):
        portal_connection()
        replay_of(receiver).portals.learn()
        with database_away():
            receiver.post(ROUTE, data=call_fields)
        replay_of(receiver).turn()
        assert spool_of(receiver) == (1, 0)
        publish_dag(make_robot())
        replay_of(receiver).turn()
        assert len(runs()) == 1
        assert spool_of(receiver) == (0, 0)

    def test_a_robot_that_does_not_come_back_is_not_waited_for_any_longer(
        self, receiver, robot, call_fields, runs, database_away, spool_folder, caplog
    ):
        replay_of(receiver).portals.learn()
        with database_away():
            receiver.post(ROUTE.replace("score_lead", "score_deal"), data=call_fields)
        replay_of(receiver).turn()
        assert spool_of(receiver) == (1, 0)
        replay_of(receiver).seconds_to_come_back = 0.0
        replay_of(receiver).turn()
        assert spool_of(receiver) == (0, 1)
        assert "DAG 'score_deal': There is no such robot." in caplog.text

    def test_a_call_that_somebody_puts_back_is_tried_again(
        self,
        receiver,
        publish_dag,
        make_robot,
        call_fields,
        portal_connection,
        runs,
        database_away,
        spool_folder,
    ):
        portal_connection()
        replay_of(receiver).portals.learn()
        replay_of(receiver).seconds_to_come_back = 0.0
        with database_away():
            receiver.post(ROUTE, data=call_fields)
        replay_of(receiver).turn()
        publish_dag(make_robot())
        [set_aside] = (spool_folder / "refused").iterdir()
        set_aside.rename(spool_folder / set_aside.name)
        replay_of(receiver).turn()
        assert len(runs()) == 1

    def test_a_connection_that_is_gone_by_then_takes_no_calls(
        self, receiver, robot, call_fields, runs, database_away, airflow_session
    ):
        replay_of(receiver).portals.learn()
        with database_away():
            receiver.post(ROUTE, data=call_fields)
        from airflow.models.connection import Connection

        connection = airflow_session.scalar(
            select(Connection).where(Connection.conn_id == "bitrix24_default")
        )
        connection.set_extra("{}")
        airflow_session.commit()
        replay_of(receiver).seconds_to_come_back = 0.0
        replay_of(receiver).turn()
        assert runs() == []
        assert spool_of(receiver) == (0, 1)


def test_a_call_that_fails_unforeseen_waits_and_does_not_hold_up_the_others(
    receiver, robot, call_fields, runs, database_away, monkeypatch, caplog
):
    replay_of(receiver).portals.learn()
    with database_away():
        for number in range(3):
            receiver.post(ROUTE, data=call_fields | {"event_token": f"t{number}"})
    real = DagRuns.start

    def start(self, robot, run_id, conf):
        if conf["event_token"] == "t1":
            raise RuntimeError("t1 is the secret")
        return real(self, robot, run_id, conf)

    with monkeypatch.context() as patch:
        patch.setattr(DagRuns, "start", start)
        replay_of(receiver).turn()
    assert [run.conf["event_token"] for run in runs()] == ["t0", "t2"]
    assert "t1 is the secret" not in caplog.text
    replay_of(receiver).turn()
    assert [run.conf["event_token"] for run in runs()] == ["t0", "t2", "t1"]


def test_what_is_kept_is_readable_by_its_owner_only_and_names_no_secret(
    receiver, robot, call_fields, database_away, spool_folder, secrets_of_the_portal
):
    replay_of(receiver).portals.learn()
    with database_away():
        receiver.post(ROUTE, data=call_fields)
    [kept] = spool_folder.glob("*.call")
    assert kept.stat().st_mode & 0o777 == 0o600
    assert spool_folder.stat().st_mode & 0o777 == 0o700
    for secret in vars(secrets_of_the_portal).values():
        assert secret.encode() not in kept.read_bytes()


@pytest.mark.parametrize("damage", [b"", b"x", b"{}"])
def test_a_file_that_cannot_be_read_is_set_aside(
    receiver, robot, call_fields, runs, database_away, spool_folder, caplog, damage
):
    replay_of(receiver).portals.learn()
    with database_away():
        receiver.post(ROUTE, data=call_fields)
        receiver.post(ROUTE, data=call_fields | {"event_token": "good"})
    min(spool_folder.glob("*.call"), key=lambda path: path.stat().st_mtime_ns).write_bytes(damage)
    replay_of(receiver).turn()
    assert [run.conf["event_token"] for run in runs()] == ["good"]
    assert spool_of(receiver) == (0, 1)
    assert "Fernet key" in caplog.text


def test_a_write_that_a_crash_cut_off_is_not_taken_for_a_call(
    receiver, robot, call_fields, runs, spool_folder
):
    spool_folder.mkdir()
    (spool_folder / "0123.77.1.unfinished").write_bytes(b"half a c")
    replay_of(receiver).turn()
    assert runs() == []
    assert spool_of(receiver) == (0, 0)


def test_a_disk_that_takes_nothing_is_said_to_the_caller(
    receiver, robot, call_fields, database_away, monkeypatch, caplog
):
    import os

    def full(_descriptor):
        raise OSError(28, "No space left on device")

    replay_of(receiver).portals.learn()
    with database_away(), monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        assert receiver.post(ROUTE, data=call_fields).status_code == 503
    assert "No space left" in caplog.text
    assert waiting(receiver) == 0


def test_results_are_not_kept_but_refused_for_now(receiver, robot, database_away, caplog):
    from airflow_provider_b24.hooks.connection import PortalConnection
    from airflow_provider_b24.sensors.result_reference import ResultReference

    reference = ResultReference("bitrix24_default", "score_lead", "r", "score", -1, 2_000_000_000)
    signed = reference.sign(PortalConnection.load("bitrix24_default").signing_key("result"))
    with database_away():
        for route in ("", "/fail", "/heartbeat"):
            answer = receiver.post(f"/results/{signed}{route}", json={})
            assert (answer.status_code, answer.json()["error"]) == (503, "unavailable")


def test_nothing_secret_shows_while_the_database_is_away(
    receiver, robot, call_fields, database_away, caplog, capsys, secrets_of_the_portal
):
    caplog.set_level(logging.DEBUG)
    replay_of(receiver).portals.learn()
    with database_away():
        receiver.post(ROUTE, data=call_fields)
        replay_of(receiver).turn()
    replay_of(receiver).turn()
    shown = capsys.readouterr()
    for secret in vars(secrets_of_the_portal).values():
        assert secret not in caplog.text + shown.out + shown.err


@pytest.mark.parametrize("trouble", [False, True])
def test_the_thread_replays_by_itself(
    receiver, robot, call_fields, runs, database_away, monkeypatch, caplog, trouble
):
    replay = replay_of(receiver)
    replay.pause_seconds = 0.05
    replay.portals.learn()
    with database_away():
        receiver.post(ROUTE, data=call_fields)
    if trouble:
        monkeypatch.setattr(Portals, "learn", _break)
    replay.start()
    deadline = time.monotonic() + 30
    while waiting(receiver) and time.monotonic() < deadline:
        time.sleep(0.05)
    replay.stop()
    assert len(runs()) == 1
    assert ("trying again: RuntimeError" in caplog.text) == trouble
