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
from airflow_provider_b24.receiver.database import DatabaseHangsError
from starlette.testclient import TestClient

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
def brake(metadata_database: Path) -> Iterator[Brake]:
    from airflow import settings
    from sqlalchemy import event

    brake, engine = Brake(), settings.engine
    event.listen(engine, "before_cursor_execute", brake)
    yield brake
    brake.let_go.set()
    event.remove(engine, "before_cursor_execute", brake)


@pytest.fixture
def impatient(robot: Any, tmp_path: Path) -> Iterator[TestClient]:
    """A receiver that knows its portal, and takes a database for hanging after half a second."""
    app = create_app(spool_folder=tmp_path / "spool", database_seconds=PATIENCE_SECONDS)
    app.state.replay.portals.learn()
    # One event loop for all requests, as in a server.
    with TestClient(app) as client:
        yield client


def spool(receiver: TestClient) -> dict[str, int]:
    return receiver.get("/health").json()["spool"]


def post_all(receiver: TestClient, call_fields: dict[str, str], count: int, callers: int = 20) -> list[Any]:
    def post(number: int) -> Any:
        return receiver.post(ROUTE, data=call_fields | {"event_token": f"t{number}"})

    with ThreadPoolExecutor(callers) as pool:
        return list(pool.map(post, range(count)))


def settle(receiver: TestClient, runs: Callable[[], list[Any]], count: int) -> list[str]:
    """Replay until everything is done, and give the event tokens of the runs."""
    deadline = time.monotonic() + 30
    while (spool(receiver)["waiting"] or len(runs()) < count) and time.monotonic() < deadline:
        receiver.app.state.replay.turn()
    return [run.conf["event_token"] for run in runs()]


def test_calls_to_a_slow_database_are_all_done_once(impatient, call_fields, runs, brake):
    brake.seconds = 0.03
    answers = post_all(impatient, call_fields, 60)
    brake.seconds = 0
    assert {answer.status_code for answer in answers} == {202}
    assert any("spooled" in answer.json() for answer in answers)
    assert Counter(settle(impatient, runs, 60)) == Counter(f"t{number}" for number in range(60))


def test_calls_to_a_database_that_hangs_are_all_done_once(impatient, call_fields, runs, brake):
    brake.hang()
    answers = post_all(impatient, call_fields, 60)
    assert [answer.status_code for answer in answers] == [202] * 60
    assert spool(impatient) == {"waiting": 60, "refused": 0, "replayed": 0}
    brake.let_go.set()
    assert Counter(settle(impatient, runs, 60)) == Counter(f"t{number}" for number in range(60))


def test_a_call_posted_again_and_again_while_the_database_hangs_is_done_once(
    impatient, call_fields, runs, brake
):
    brake.hang()
    with ThreadPoolExecutor(20) as pool:
        answers = list(pool.map(lambda _: impatient.post(ROUTE, data=call_fields).status_code, range(40)))
    assert Counter(answers) == {202: 1, 200: 39}
    brake.let_go.set()
    assert settle(impatient, runs, 1) == [call_fields["event_token"]]


def test_health_answers_while_every_thread_waits_for_the_database(robot, call_fields, brake, tmp_path):
    with TestClient(create_app(spool_folder=tmp_path / "spool")) as receiver, ThreadPoolExecutor(20) as pool:
        brake.hang()
        waiting = [pool.submit(receiver.post, ROUTE, data=call_fields) for _ in range(20)]
        health = receiver.get("/health")
        assert not any(call.done() for call in waiting)
        brake.let_go.set()
    assert (health.status_code, health.json()["status"]) == (200, "healthy")


def test_who_comes_after_the_database_was_found_to_hang_does_not_wait_for_it(
    impatient, call_fields, brake, monkeypatch
):
    asked = []
    brake.hang()
    post_all(impatient, call_fields, 20)
    monkeypatch.setattr(
        "airflow_provider_b24.receiver.robot_calls.RobotCalls.accept", lambda *_args: asked.append(1)
    )
    assert impatient.post(ROUTE, data=call_fields).json()["spooled"]
    refused = impatient.post("/results/reference", json={})
    assert (refused.status_code, refused.json()["error"]) == (503, "unavailable")
    assert asked == []


def test_the_database_is_asked_again_as_soon_as_it_answers(impatient, call_fields, runs, brake):
    brake.hang()
    post_all(impatient, call_fields, 20)
    brake.let_go.set()
    deadline = time.monotonic() + 30
    number, said = 20, {"spooled": True}
    while "spooled" in said and time.monotonic() < deadline:
        said = impatient.post(ROUTE, data=call_fields | {"event_token": f"t{number}"}).json()
        number += 1
    assert "spooled" not in said
    assert Counter(settle(impatient, runs, number)) == Counter(f"t{one}" for one in range(number))


def test_a_replay_that_hangs_gives_up_and_a_later_one_succeeds(impatient, call_fields, runs, brake, caplog):
    replay = impatient.app.state.replay
    replay.patience = Patience("replay", threads=2, seconds=0.2, queue=0)
    brake.hang()
    post_all(impatient, call_fields, 3)
    replay.turn()
    assert "3 robot calls wait in the spool" in caplog.text
    assert spool(impatient)["waiting"] == 3
    brake.let_go.set()
    assert Counter(settle(impatient, runs, 3)) == Counter(["t0", "t1", "t2"])


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
