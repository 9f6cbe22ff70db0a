"""Calls that come while Airflow's database is away: kept, then on record, once, in order."""

from __future__ import annotations

import json
import logging
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from airflow_provider_b24._airflow.encryption import encrypt
from airflow_provider_b24.calls.intake import put_on_record
from airflow_provider_b24.calls.new_call import NewCall
from airflow_provider_b24.receiver import create_app
from airflow_provider_b24.receiver.serving import Serving

ROUTE = "/bitrix24_default/robots/score_lead"


@pytest.fixture
def spool_folder(tmp_path: Path) -> Path:
    return tmp_path / "spool"


@pytest.fixture
def receiver(receiver: TestClient, portal_connection: Any, call_fields: dict[str, str]) -> TestClient:
    """A receiver that has seen its portal before."""
    portal_connection()
    stranger = call_fields | {"auth[application_token]": "wrong"}
    assert receiver.post(ROUTE, data=stranger).status_code == 403
    return receiver


def drain(receiver: TestClient) -> int:
    return int(receiver.app.state.intake.spool.drain(put_on_record))


def tokens(rows: list[Any]) -> list[str]:
    return [NewCall.from_payload(row.payload).fields["event_token"] for row in rows]


def test_a_call_is_kept_and_on_record_when_the_database_is_back(
    receiver, call_fields, on_record, database_away, told
):
    with database_away():
        response = receiver.post(ROUTE, data=call_fields)
        assert (response.status_code, response.json()["spooled"]) == (202, True)
    assert (on_record(), receiver.app.state.intake.spool.depth()) == ([], 1)
    assert ("counter", "bitrix24.robot_calls.spooled", 1, {}) in told
    assert drain(receiver) == 1
    [row] = on_record()
    kept = NewCall.from_payload(row.payload).fields
    assert (row.id, kept["properties"]) == (response.json()["call"], {"model": "deep", "limit": "3"})
    assert (row.state, receiver.app.state.intake.spool.depth()) == ("received", 0)


def test_it_is_on_record_as_of_when_it_came(receiver, call_fields, on_record, database_away):
    with database_away():
        for number in range(20):
            receiver.post(ROUTE, data=call_fields | {"event_token": f"t{number}"})
    drain(receiver)
    assert tokens(on_record()) == [f"t{number}" for number in range(20)]


def test_a_call_is_on_record_after_a_restart(receiver, call_fields, on_record, database_away, spool_folder):
    with database_away():
        receiver.post(ROUTE, data=call_fields)
    drain(TestClient(create_app(spool_folder=spool_folder)))
    assert len(on_record()) == 1


@pytest.mark.anyio
async def test_the_api_server_brings_them_by_itself(
    receiver, call_fields, on_record, database_away, monkeypatch
):
    import anyio

    monkeypatch.setattr("airflow_provider_b24.receiver.serving.gc.freeze", lambda: None)
    with database_away():
        receiver.post(ROUTE, data=call_fields)

    async def server(*_args: Any) -> None:
        return None

    work = Serving(receiver.app, dispatches=False)
    await work.start(server)
    with anyio.fail_after(30):
        while not on_record():
            await anyio.sleep(0.05)
    await work.stop()
    assert receiver.app.state.intake.spool.depth() == 0


class TestOnce:
    def test_the_same_call_twice_while_the_database_is_away(
        self, receiver, call_fields, on_record, database_away
    ):
        with database_away():
            first = receiver.post(ROUTE, data=call_fields)
            again = receiver.post(ROUTE, data=call_fields)
        assert (first.status_code, again.status_code, again.json()["duplicate"]) == (202, 200, True)
        drain(receiver)
        assert len(on_record()) == 1

    def test_the_same_call_before_and_while_the_database_is_away(
        self, receiver, call_fields, on_record, database_away
    ):
        receiver.post(ROUTE, data=call_fields)
        with database_away():
            assert receiver.post(ROUTE, data=call_fields).status_code == 202
        assert drain(receiver) == 1
        assert len(on_record()) == 1

    def test_a_process_that_was_killed_after_the_rows_were_committed(
        self, receiver, call_fields, on_record, database_away, monkeypatch
    ):
        def killed(*_args: Any, **_kwargs: Any) -> None:
            raise KeyboardInterrupt

        with database_away():
            receiver.post(ROUTE, data=call_fields)
        with monkeypatch.context() as patch:
            patch.setattr(Path, "unlink", killed)
            with pytest.raises(KeyboardInterrupt):
                drain(receiver)
        assert (len(on_record()), receiver.app.state.intake.spool.depth()) == (1, 1)
        drain(receiver)
        assert (len(on_record()), receiver.app.state.intake.spool.depth()) == (1, 0)

    def test_many_receivers_that_bring_them_at_once(
        self, receiver, call_fields, on_record, database_away, spool_folder
    ):
        others = [TestClient(create_app(spool_folder=spool_folder)) for _ in range(4)]
        with database_away():
            for number in range(20):
                receiver.post(ROUTE, data=call_fields | {"event_token": f"t{number}"})
        with ThreadPoolExecutor(5) as pool:
            list(pool.map(drain, [receiver, *others]))
        assert sorted(tokens(on_record())) == sorted(f"t{number}" for number in range(20))


class TestStillVerified:
    def test_a_call_that_is_not_from_the_portal_is_refused(self, receiver, call_fields, database_away):
        with database_away():
            wrong = receiver.post(ROUTE, data=call_fields | {"auth[application_token]": "wrong"})
            assert wrong.status_code == 403
            assert receiver.post(ROUTE, data={"event_token": "x"}).status_code == 403
        assert receiver.app.state.intake.spool.depth() == 0

    @pytest.mark.parametrize(
        "change", [{"event_token": ""}, {"event_token": " "}, {"ts": "never"}, {"document_id[2]": ""}]
    )
    def test_a_call_that_is_none_is_refused(self, receiver, call_fields, database_away, change):
        with database_away():
            assert receiver.post(ROUTE, data=call_fields | change).status_code == 400
        assert receiver.app.state.intake.spool.depth() == 0

    def test_a_connection_that_was_never_seen_is_not_taken_for_a_missing_one(
        self, receiver, call_fields, database_away
    ):
        with database_away():
            response = receiver.post("/never_seen/robots/d", data=call_fields)
        assert (response.status_code, response.json()["error"]) == (503, "unavailable")

    def test_a_connection_from_the_environment_is_known(
        self, receiver, call_fields, database_away, monkeypatch, on_record
    ):
        connection = {
            "conn_type": "bitrix24",
            "host": "example.bitrix24.com",
            "login": "1",
            "password": "code",
            "extra": {"application_token": call_fields["auth[application_token]"]},
        }
        monkeypatch.setenv("AIRFLOW_CONN_FROM_ENVIRONMENT", json.dumps(connection))
        with database_away():
            wrong = call_fields | {"auth[application_token]": "wrong"}
            assert receiver.post("/from_environment/robots/d", data=wrong).status_code == 403
            assert receiver.post("/from_environment/robots/d", data=call_fields).status_code == 202
        drain(receiver)
        assert [row.conn_id for row in on_record()] == ["from_environment"]


def test_a_spool_of_version_0_1_is_read(receiver, call_fields, on_record, spool_folder):
    spool_folder.mkdir()
    fields = {"event_token": "old", "workflow_id": "1", "code": "c", "document_id": ["a", "b", "c"]}
    kept = {"conn_id": "crm", "dag_id": "score_lead", "run_id": "bitrix24__0", "fields": fields}
    (spool_folder / "0123456789.call").write_text(encrypt(json.dumps(kept)))
    assert drain(receiver) == 1
    assert tokens(on_record()) == ["old"]


@pytest.mark.parametrize("damage", [b"", b"x", b"{}"])
def test_a_file_that_cannot_be_read_does_not_hold_up_the_others(
    receiver, call_fields, on_record, database_away, spool_folder, caplog, damage
):
    with database_away():
        receiver.post(ROUTE, data=call_fields)
        receiver.post(ROUTE, data=call_fields | {"event_token": "good"})
    min(spool_folder.glob("*.call"), key=lambda path: path.stat().st_mtime_ns).write_bytes(damage)
    drain(receiver)
    assert tokens(on_record()) == ["good"]
    assert receiver.app.state.intake.spool.unreadable() == 1
    assert "fernet_key" in caplog.text


@pytest.mark.parametrize("trouble", ["a file in its place", "a disk that is full"])
def test_a_spool_that_takes_nothing_is_said_to_the_caller(
    receiver, call_fields, database_away, monkeypatch, caplog, spool_folder, trouble
):
    import os

    def full(_descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    if trouble == "a file in its place":
        spool_folder.touch()
    else:
        monkeypatch.setattr(os, "fsync", full)
    with database_away():
        response = receiver.post(ROUTE, data=call_fields)
    assert (response.status_code, response.json()["error"]) == (503, "not_durable")
    assert "A robot call is lost" in caplog.text
    assert call_fields["event_token"] not in caplog.text


def test_refusals_that_cannot_be_noted_do_not_hold_up_the_spool(
    receiver, call_fields, on_record, database_away, monkeypatch
):
    def fails(*_args: Any) -> None:
        raise RuntimeError

    with database_away():
        receiver.post(ROUTE, data=call_fields)
    monkeypatch.setattr("airflow_provider_b24.calls.intake._add_refusals", fails)
    work = Serving(receiver.app, dispatches=False)
    with pytest.raises(RuntimeError):
        work._bring_spool()
    assert len(on_record()) == 1


def test_results_are_not_kept_but_refused_for_now(receiver, database_away):
    from airflow_provider_b24.hooks.connection import PortalConnection
    from airflow_provider_b24.sensors.result_reference import ResultReference

    reference = ResultReference("bitrix24_default", "score_lead", "r", "score", -1, 2_000_000_000)
    signed = reference.sign(PortalConnection.load("bitrix24_default").signing_key("result"))
    with database_away():
        for route in ("", "/fail", "/heartbeat"):
            response = receiver.post(f"/results/{signed}{route}", json={})
            assert (response.status_code, response.json()["error"]) == (503, "unavailable")


def test_nothing_secret_shows_while_the_database_is_away(
    receiver, call_fields, database_away, caplog, capsys, secrets_of_the_portal, spool_folder
):
    caplog.set_level(logging.DEBUG)
    with database_away():
        receiver.post(ROUTE, data=call_fields)
    [kept] = spool_folder.glob("*.call")
    drain(receiver)
    shown = capsys.readouterr()
    for secret in vars(secrets_of_the_portal).values():
        assert secret not in caplog.text + shown.out + shown.err + kept.name
