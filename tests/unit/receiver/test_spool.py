"""What the spool promises of its files, whatever happens to the process."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from airflow_provider_b24.receiver.spool import NotYetError, RefusedForGoodError, Spool, SpooledCall

KEEPING = """
import sys
from pathlib import Path
from airflow_provider_b24.receiver.spool import Spool, SpooledCall
spool, number = Spool(Path(sys.argv[1])), 0
while True:
    spool.keep(SpooledCall("c", "d", f"run_{number}", {"x": "y" * 2000}))
    print(number, flush=True)
    number += 1
"""


def call(number: int, dag_id: str = "d") -> SpooledCall:
    return SpooledCall("c", dag_id, f"run_{number}", {"number": number})


def replayed(spool: Spool) -> list[str]:
    done: list[str] = []
    spool.replay(lambda one: done.append(one.run_id))
    return done


@pytest.fixture
def spool(tmp_path: Path) -> Spool:
    return Spool(tmp_path / "deep" / "spool")


def test_an_empty_one_leaves_no_trace(spool):
    assert (replayed(spool), spool.depth(), spool.refused()) == ([], 0, 0)
    assert not spool.folder.exists()


def test_a_call_comes_back_as_it_was_kept(spool):
    spool.keep(kept := SpooledCall("c", "d", "r", {"a": {"b": ["\u00e9", ""]}}))
    back: list[SpooledCall] = []
    assert spool.replay(back.append) == 1
    assert back == [kept]
    assert spool.depth() == 0


def test_the_fields_do_not_show_in_a_repr():
    assert "secret" not in repr(SpooledCall("c", "d", "r", {"event_token": "secret"}))


def test_the_same_call_is_kept_once(spool):
    assert [spool.keep(call(1)), spool.keep(call(1)), spool.keep(call(1, "other")), spool.keep(call(2))] == [
        True,
        False,
        True,
        True,
    ]
    assert spool.depth() == 3


def test_a_call_may_come_again_after_it_was_done(spool):
    spool.keep(call(1))
    replayed(spool)
    assert spool.keep(call(1))


def test_while_one_replays_another_does_nothing(spool):
    spool.keep(call(1))
    spool.keep(call(2))
    inner: list[str] = []
    spool.replay(lambda _one: inner.extend(replayed(Spool(spool.folder))))
    assert (inner, spool.depth()) == ([], 0)


def test_a_call_that_is_refused_for_good_is_kept_for_people(spool):
    def refuse(_one: SpooledCall) -> None:
        raise RefusedForGoodError("no such robot.")

    spool.keep(call(1))
    assert spool.replay(refuse) == 1
    assert (spool.depth(), spool.refused()) == (0, 1)


def test_a_call_that_cannot_be_done_yet_waits_and_does_not_hold_up_the_next(spool):
    done: list[str] = []

    def do(one: SpooledCall) -> None:
        if one.run_id == "run_1":
            raise NotYetError
        done.append(one.run_id)

    spool.keep(call(1))
    spool.keep(call(2))
    assert spool.replay(do) == 1
    assert (done, spool.depth(), spool.refused()) == (["run_2"], 1, 0)


def test_calls_that_were_acknowledged_survive_the_death_of_the_process(spool):
    with subprocess.Popen(
        [sys.executable, "-c", KEEPING, str(spool.folder)], stdout=subprocess.PIPE, text=True
    ) as process:
        acknowledged = [int(process.stdout.readline()) for _ in range(20)]
        os.kill(process.pid, signal.SIGKILL)
        acknowledged += [int(line) for line in process.stdout]
    done = replayed(spool)
    assert done[: len(acknowledged)] == [f"run_{number}" for number in acknowledged]
    assert len(done) <= len(acknowledged) + 1  # one may have been kept and not yet acknowledged
