"""A database that is slow, or hangs: no call is lost or done twice, and nobody waits for ever for an answer."""

from __future__ import annotations

import asyncio
import gc
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from airflow_provider_b24._airflow.database import DatabaseHangsError
from airflow_provider_b24.calls.intake import Intake, put_on_record
from airflow_provider_b24.calls.new_call import NewCall
from airflow_provider_b24.receiver import create_app
from airflow_provider_b24.receiver.patience import Patience

ROUTE = "/bitrix24_default/robots/score_lead"
PATIENCE_SECONDS = 0.5


class Brake:
    """Holds up every statement that is sent to the database."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self.let_go = threading.Event()
        self.let_go.set()

    def __call__(self, *_args: Any) -> None:
        time.sleep(self.seconds)
        assert self.let_go.wait(60)

    def hang(self) -> None:
        self.let_go.clear()


@pytest.fixture
def brake(metadata_database: Any) -> Iterator[Brake]:
    from airflow import settings
    from sqlalchemy import event

    brake, engine = Brake(), settings.engine
    event.listen(engine, "before_cursor_execute", brake)
    yield brake
    brake.let_go.set()
    event.remove(engine, "before_cursor_execute", brake)


@pytest.fixture
def impatient(portal_connection: Any, call_fields: dict[str, str], tmp_path: Path) -> Iterator[TestClient]:
    """A receiver that knows its portal, and takes a database for hanging after half a second."""
    portal_connection()
    app = create_app(spool_folder=tmp_path / "spool", database_seconds=PATIENCE_SECONDS)
    # One event loop for all requests, as in a server.
    with TestClient(app) as client:
        assert client.post(ROUTE, data=call_fields | {"auth[application_token]": "wrong"}).status_code == 403
        yield client


def depth(receiver: TestClient) -> int:
    return int(receiver.app.state.intake.spool.depth())


def post_all(receiver: TestClient, call_fields: dict[str, str], count: int) -> list[Any]:
    def post(number: int) -> Any:
        return receiver.post(ROUTE, data=call_fields | {"event_token": f"t{number}"})

    with ThreadPoolExecutor(20) as pool:
        return list(pool.map(post, range(count)))


def settled(receiver: TestClient, on_record: Callable[[], list[Any]], count: int) -> Counter[str]:
    """Wait until all calls are on record, and count their event tokens."""
    deadline = time.monotonic() + 30
    while (depth(receiver) or len(on_record()) < count) and time.monotonic() < deadline:
        receiver.app.state.intake.spool.drain(put_on_record)
    return Counter(NewCall.from_payload(row.payload).fields["event_token"] for row in on_record())


def test_calls_to_a_slow_database_are_all_on_record_once(impatient, call_fields, on_record, brake):
    brake.seconds = 0.2
    responses = post_all(impatient, call_fields, 60)
    brake.seconds = 0
    assert {response.status_code for response in responses} == {202}
    assert settled(impatient, on_record, 60) == Counter(f"t{number}" for number in range(60))


def test_a_call_that_waits_several_times_is_new_once(
    portal_connection, call_fields, on_record, brake, tmp_path
):
    portal_connection()
    with (
        TestClient(create_app(spool_folder=tmp_path / "spool", database_seconds=60)) as receiver,
        ThreadPoolExecutor(11) as pool,
    ):
        assert (
            receiver.post(ROUTE, data=call_fields | {"auth[application_token]": "wrong"}).status_code == 403
        )
        brake.hang()
        posted = [
            pool.submit(receiver.post, ROUTE, data=call_fields | {"event_token": token})
            for token in ["first", *["again"] * 10]
        ]
        time.sleep(1)
        brake.let_go.set()
        assert Counter(one.result().status_code for one in posted) == {202: 2, 200: 9}
    assert len(on_record()) == 2


def test_calls_to_a_database_that_hangs_are_all_on_record_once(impatient, call_fields, on_record, brake):
    brake.hang()
    responses = post_all(impatient, call_fields, 60)
    assert [response.status_code for response in responses] == [202] * 60
    assert all(response.json()["spooled"] for response in responses)
    assert depth(impatient) == 60
    brake.let_go.set()
    assert settled(impatient, on_record, 60) == Counter(f"t{number}" for number in range(60))


def test_a_call_posted_again_and_again_while_the_database_hangs_is_on_record_once(
    impatient, call_fields, on_record, brake
):
    brake.hang()
    with ThreadPoolExecutor(20) as pool:
        statuses = Counter(pool.map(lambda _: impatient.post(ROUTE, data=call_fields).status_code, range(40)))
    assert statuses == {202: 1, 200: 39}
    assert depth(impatient) == 1
    brake.let_go.set()
    assert settled(impatient, on_record, 1) == Counter([call_fields["event_token"]])


def test_health_answers_while_calls_wait_for_the_database(impatient, call_fields, brake):
    with ThreadPoolExecutor(20) as pool:
        brake.hang()
        waiting = [pool.submit(impatient.post, ROUTE, data=call_fields) for _ in range(20)]
        assert impatient.get("/health").json() == {"status": "healthy"}
        brake.let_go.set()
        assert {call.result().status_code for call in waiting} <= {200, 202}


def test_who_comes_after_the_database_was_found_to_hang_does_not_wait_for_it(
    impatient, call_fields, brake, monkeypatch
):
    brake.hang()
    post_all(impatient, call_fields, 5)
    waited: list[Any] = []
    monkeypatch.setattr(Intake, "_enqueue", lambda _self, one: waited.append(one))
    assert impatient.post(ROUTE, data=call_fields).json()["spooled"]
    assert waited == []


def test_the_database_is_asked_again_as_soon_as_it_answers(impatient, call_fields, on_record, brake):
    brake.hang()
    post_all(impatient, call_fields, 20)
    brake.let_go.set()
    deadline = time.monotonic() + 30
    number, said = 20, {"spooled": True}
    while "spooled" in said and time.monotonic() < deadline:
        said = impatient.post(ROUTE, data=call_fields | {"event_token": f"t{number}"}).json()
        number += 1
    assert "spooled" not in said
    assert settled(impatient, on_record, number) == Counter(f"t{one}" for one in range(number))


class TestPatience:
    @pytest.fixture
    def gate(self) -> Iterator[threading.Event]:
        gate = threading.Event()
        yield gate
        gate.set()

    @pytest.fixture(params=["do", "ado"])
    def way(self, request: pytest.FixtureRequest) -> Callable[..., Any]:
        """Both ways of doing work; they must behave alike."""

        def do(patience: Patience, work: Callable[[], Any]) -> Any:
            if request.param == "do":
                return patience.do(work)
            return asyncio.run(patience.ado(work))

        return do

    def test_what_is_done_in_time_comes_back(self, way):
        assert way(Patience("t", threads=1, seconds=5, queue=0), lambda: "done") == "done"

    def test_errors_come_back(self, way, caplog):
        with pytest.raises(ZeroDivisionError):
            way(Patience("t", threads=1, seconds=5, queue=0), lambda: 1 // 0)
        assert "never retrieved" not in caplog.text

    def test_what_takes_too_long_is_left_alone(self, way, gate):
        ended = threading.Event()
        patience = Patience("t", threads=1, seconds=0.05, queue=1)
        with pytest.raises(DatabaseHangsError):
            way(patience, lambda: gate.wait(30) and ended.set())
        gate.set()
        assert ended.wait(30)

    def test_what_has_not_begun_in_time_is_never_done(self, gate):
        done: list[str] = []
        patience = Patience("t", threads=1, seconds=0.2, queue=5)
        with ThreadPoolExecutor(2) as pool:
            first = pool.submit(patience.do, partial(gate.wait, 30))
            time.sleep(0.05)
            second = pool.submit(patience.do, partial(done.append, "second"))
            assert isinstance(first.exception(30), DatabaseHangsError)
            assert isinstance(second.exception(30), DatabaseHangsError)
        gate.set()
        deadline = time.monotonic() + 30
        while patience._taken and time.monotonic() < deadline:
            time.sleep(0.01)
        assert patience.do(lambda: "third") == "third"
        assert done == []

    def test_an_error_that_comes_too_late_is_not_logged_with_its_text(self, gate, caplog):
        patience = Patience("t", threads=1, seconds=0.05, queue=0)

        def fail() -> None:
            gate.wait(30)
            raise RuntimeError("a statement with the secret")

        async def leave_alone() -> None:
            with pytest.raises(DatabaseHangsError):
                await patience.ado(fail)
            gate.set()
            while patience._taken:
                await asyncio.sleep(0.01)
            gc.collect()
            await asyncio.sleep(0.01)

        asyncio.run(leave_alone())
        assert "secret" not in caplog.text

    def test_nothing_is_taken_when_the_queue_is_full(self, way, gate):
        patience = Patience("t", threads=1, seconds=30, queue=1)
        with ThreadPoolExecutor(2) as pool:
            waiting = [pool.submit(patience.do, partial(gate.wait, 30)) for _ in range(2)]
            deadline = time.monotonic() + 30
            while patience._taken < 2 and time.monotonic() < deadline:
                time.sleep(0.01)
            with pytest.raises(DatabaseHangsError):
                way(patience, lambda: "third")
            gate.set()
            assert [one.result(30) for one in waiting] == [True, True]
