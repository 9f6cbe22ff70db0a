"""What the spool promises of its files, whatever happens to the process."""

from __future__ import annotations

import datetime as dt
import json
import os
import signal
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy.exc import DataError, OperationalError, ProgrammingError

from airflow_provider_b24._airflow.encryption import encrypt
from airflow_provider_b24.calls.new_call import NewCall
from airflow_provider_b24.calls.spool import Spool

NOON = dt.datetime(2026, 5, 4, 12, 0, tzinfo=dt.UTC)
KEEPING = """
import datetime as dt, sys
from pathlib import Path
from airflow_provider_b24.calls.new_call import NewCall
from airflow_provider_b24.calls.spool import Spool
# Airflow may log to the standard output, too.
acknowledgements = open(int(sys.argv[2]), "w")
spool, number = Spool(Path(sys.argv[1])), 0
while True:
    fields = {"event_token": f"t{number}", "workflow_id": "1", "code": "c", "document_id": ["a", "b", "c"]}
    spool.keep(NewCall("c", "d", fields, dt.datetime.now(dt.UTC)))
    print(number, file=acknowledgements, flush=True)
    number += 1
"""


def call(number: int, **fields: Any) -> NewCall:
    form = {"event_token": f"t{number}", "workflow_id": "1", "code": "c", "document_id": ["a", "b", "c"]}
    return NewCall("crm", "score_dag", form | fields, NOON)


def taken(spool: Spool) -> list[str]:
    tokens: list[str] = []
    spool.drain(lambda calls: tokens.extend(one.fields["event_token"] for one in calls))
    return tokens


@pytest.fixture
def spool(tmp_path: Path) -> Spool:
    return Spool(tmp_path / "deep" / "spool")


def test_an_empty_one_leaves_no_trace(spool):
    assert (taken(spool), spool.depth(), spool.unreadable()) == ([], 0, 0)
    assert not spool.folder.exists()


def test_a_call_comes_back_as_it_was_kept(spool):
    spool.keep(kept := call(1, properties={"a": {"b": ["\u00e9", ""]}}))
    back: list[NewCall] = []
    assert spool.drain(back.extend) == 1
    assert back == [kept]
    assert (spool.depth(), spool.drain(back.extend)) == (0, 0)


def test_the_same_call_is_kept_once(spool):
    assert [spool.keep(call(number)) for number in (1, 1, 2)] == [True, False, True]
    assert spool.depth() == 2


def test_the_same_call_kept_by_several_at_once_is_new_to_one_of_them(spool):
    together = threading.Barrier(4)

    def keep(number: int) -> bool:
        together.wait(30)
        return spool.keep(call(number))

    with ThreadPoolExecutor(4) as pool:
        for number in range(20):
            assert Counter(pool.map(keep, [number] * 4)) == {True: 1, False: 3}
    assert spool.depth() == 20


def test_a_call_may_come_again_after_it_was_taken(spool):
    spool.keep(call(1))
    taken(spool)
    assert spool.keep(call(1))


def test_calls_are_handed_over_in_the_order_in_which_they_came(spool):
    for number in range(12):
        spool.keep(call(number))
        [newest] = [path for path in spool.folder.iterdir() if path.name.startswith(call(number).id)]
        os.utime(newest, (number, number))
    assert taken(spool) == [f"t{number}" for number in range(12)]


def test_it_needs_no_hard_links(spool, monkeypatch):
    def unsupported(*_args: Any, **_kwargs: Any) -> None:
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr(os, "link", unsupported)
    monkeypatch.setattr(os, "symlink", unsupported)
    spool.keep(call(1))
    assert taken(spool) == ["t1"]


@pytest.mark.parametrize("kind", [OperationalError, ProgrammingError], ids=["away", "without tables"])
def test_what_cannot_be_put_on_record_stays(spool, kind):
    tries: list[int] = []

    def away(calls: Sequence[NewCall]) -> None:
        tries.append(len(calls))
        raise kind("INSERT", {}, ConnectionRefusedError())

    spool.keep(call(1))
    spool.keep(call(2))
    with pytest.raises(kind):
        spool.drain(away)
    assert tries == [2]
    assert sorted(taken(spool)) == ["t1", "t2"]


@pytest.mark.parametrize("error", [DataError("INSERT", {}, Exception("secret")), ValueError("secret")])
def test_a_call_that_the_database_refuses_stays_and_does_not_hold_up_the_others(spool, caplog, error):
    for number in range(7):
        spool.keep(call(number))
    on_record: list[str] = []

    def take(calls: Sequence[NewCall]) -> None:
        tokens = [one.fields["event_token"] for one in calls]
        if {"t0", "t3"} & set(tokens):
            raise error
        on_record.extend(tokens)

    assert spool.drain(take) == 5
    assert spool.drain(take) == 0
    assert sorted(on_record) == ["t1", "t2", "t4", "t5", "t6"]
    assert sorted(path.stem for path in spool.folder.iterdir()) == sorted([call(0).id, call(3).id])
    assert caplog.text.count(f"{call(3).id}.call: the database does not take it") == 1
    assert "secret" not in caplog.text


def test_a_file_that_cannot_be_opened_stays_and_does_not_hold_up_the_others(spool, caplog):
    spool.keep(call(1))
    # Everybody may be refused this, root too.
    closed = spool.folder / f"{call(2).id}.call"
    closed.mkdir()
    os.utime(closed, (1, 1))
    assert (taken(spool), taken(spool), spool.depth()) == (["t1"], [], 1)
    assert caplog.text.count(f"{closed}: it cannot be read (Is a directory)") == 1


def test_a_file_that_cannot_be_deleted_does_not_hold_up_the_others(spool, caplog, monkeypatch):
    def unlink(path: Path, *, missing_ok: bool = False) -> None:
        if path.stem == call(1).id:
            raise PermissionError(13, "Permission denied")
        os.unlink(path)

    spool.keep(call(1))
    spool.keep(call(2))
    monkeypatch.setattr(Path, "unlink", unlink)
    spool.drain(list)
    assert [path.stem for path in spool.folder.iterdir()] == [call(1).id]
    assert "it is on record, and cannot be deleted (Permission denied)" in caplog.text


def test_a_file_that_another_process_has_taken_meanwhile_is_no_trouble(spool):
    spool.keep(call(1))
    spool.keep(call(2))
    inner: list[str] = []
    assert spool.drain(lambda _calls: inner.extend(taken(Spool(spool.folder)))) == 2
    assert (sorted(inner), spool.depth()) == (["t1", "t2"], 0)


@pytest.mark.parametrize("damage", [b"", b"x", b"{}", b"\xff\xfe"])
def test_a_file_that_cannot_be_read_is_set_aside_and_named(spool, caplog, damage):
    spool.keep(call(1))
    spool.keep(call(2))
    damaged = spool.folder / f"{call(1).id}.call"
    damaged.write_bytes(damage)
    assert taken(spool) == ["t2"]
    assert (spool.depth(), spool.unreadable()) == (0, 1)
    assert f"name it {damaged.name}" in caplog.text


def test_a_file_of_version_0_1_is_read(spool):
    """Version 0.1 named its files by connection, DAG and run, and did not write down when a call came."""
    spool.folder.mkdir(parents=True)
    kept = {"conn_id": "crm", "dag_id": "score_dag", "run_id": "bitrix24__0", "fields": call(1).fields}
    old = spool.folder / "0123456789abcdef.call"
    old.write_text(encrypt(json.dumps(kept)))
    os.utime(old, (NOON.timestamp(), NOON.timestamp()))
    back: list[NewCall] = []
    spool.drain(back.extend)
    assert back == [call(1)]


def test_a_write_that_a_crash_cut_off_is_not_taken_for_a_call(spool):
    spool.folder.mkdir(parents=True)
    (spool.folder / "0123.77.1.unfinished").write_bytes(b"half a c")
    assert (taken(spool), spool.depth(), spool.unreadable()) == ([], 0, 0)


def test_a_disk_that_is_full_leaves_nothing_half_done(spool, monkeypatch):
    def full(_descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    spool.keep(call(1))
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(OSError, match="No space left"):
            spool.keep(call(2))
    assert [path.name for path in spool.folder.iterdir()] == [f"{call(1).id}.call"]


def test_what_is_kept_is_readable_by_its_owner_only_and_shows_nothing(spool):
    spool.keep(call(1, auth={"member_id": "the-member"}))
    [kept] = spool.folder.iterdir()
    assert kept.stat().st_mode & 0o777 == 0o600
    assert spool.folder.stat().st_mode & 0o777 == 0o700
    assert b"event_token" not in kept.read_bytes()
    assert b"the-member" not in kept.read_bytes()


def test_calls_that_were_acknowledged_survive_the_death_of_the_process(spool):
    reading, writing = os.pipe()
    command = [sys.executable, "-c", KEEPING, str(spool.folder), str(writing)]
    with subprocess.Popen(command, pass_fds=[writing]) as process, open(reading) as acknowledgements:
        os.close(writing)
        acknowledged = [int(acknowledgements.readline()) for _ in range(20)]
        os.kill(process.pid, signal.SIGKILL)
        acknowledged += [int(line) for line in acknowledgements]
    found = set(taken(spool))
    assert found >= {f"t{number}" for number in acknowledged}
    assert len(found) <= len(acknowledged) + 1  # one may have been kept and not yet acknowledged
