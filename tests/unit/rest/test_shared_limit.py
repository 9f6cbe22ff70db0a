"""The request limit that processes keep together: none goes over it, and what keeps it is no reason to fail."""

from __future__ import annotations

import asyncio
import fcntl
import json
import logging
import os
import signal
import stat
import subprocess
import sys
import textwrap
import threading
import time
from functools import partial

import pytest
import redis.exceptions

from airflow_provider_b24.rest import AsyncBitrix24Client, Bitrix24Client
from airflow_provider_b24.rest.bucket import MARGIN, TARIFFS, Bucket
from airflow_provider_b24.rest.pacing import Pacer
from airflow_provider_b24.rest.shared_limit import FolderLimit, RedisLimit, shared_limit
from airflow_provider_b24.rest.wire import Response

PORTAL = "example.bitrix24.com"
REDIS = os.environ.get("BITRIX24_TEST_REDIS", "redis://127.0.0.1:6379/9")


@pytest.fixture
def folder(tmp_path, hand_clock):
    return FolderLimit(tmp_path / "limits", clock=hand_clock)


@pytest.fixture(params=["folder", "redis"])
def shared(request, tmp_path):
    """Each kind of place, with nothing in it."""
    if request.param == "folder":
        yield FolderLimit(tmp_path / "limits")
        return
    limit = RedisLimit(REDIS)
    try:
        limit._redis.ping()
    except redis.exceptions.ConnectionError:
        if os.environ.get("CI"):
            raise
        pytest.skip("there is no Redis")
    portal = f"{PORTAL}-{os.getpid()}"
    key = f"airflow-b24:limit:{portal}"
    usual = limit.update
    limit.update = lambda _, change: usual(portal, change)
    yield limit
    limit._redis.delete(key)


@pytest.fixture
def pacer_of(hand_clock):
    """Makes the pacer that a process of its own would have."""

    def make(shared, tariff="standard", clock=hand_clock):
        return Pacer(TARIFFS[tariff], portal=PORTAL, shared=shared, clock=clock)

    return make


def burst(*pacers):
    """Reserve in turn as long as there is room at once."""
    count = 0
    while pacers[count % len(pacers)].reserve(longest_wait=0.0).__class__ is not float:
        count += 1
    return count


def test_all_share_the_room_and_then_wait_in_one_queue(folder, pacer_of):
    one, other = pacer_of(folder), pacer_of(folder)

    assert burst(one, other) == 48
    waits = [pacer.reserve().wait for pacer in (one, other, one, other, one)]
    assert waits == pytest.approx([MARGIN, MARGIN, 1 + MARGIN, 1 + MARGIN, 2 + MARGIN])


def test_both_places_keep_the_same(shared, pacer_of):
    one, other = (pacer_of(shared, clock=time.monotonic) for _ in range(2))
    began = time.monotonic()

    count = burst(one, other)
    assert 48 <= count <= 50 + 2 * (time.monotonic() - began)
    slot = other.reserve()
    one.overflow(one.reserve())
    assert not other.is_current(slot)
    assert 0 < one.waiting_time() <= 1.25
    assert other.reserve(longest_wait=0.0) > 0


def test_a_refusal_corrects_what_all_others_know(folder, pacer_of):
    one, other = pacer_of(folder), pacer_of(folder)
    slot = other.reserve()
    one.overflow(one.reserve())

    assert not other.is_current(slot)
    assert other.waiting_time() == pytest.approx(1.25)


def test_each_portal_has_its_own_record(folder, hand_clock):
    pacers = [
        Pacer(TARIFFS["standard"], portal=portal, shared=folder, clock=hand_clock)
        for portal in ("one.bitrix24.com", "two.bitrix24.com", "127.0.0.1:8000", "127.0.0.1_8000", "../../x")
    ]
    assert [burst(pacer) for pacer in pacers] == [48] * 5
    assert len(list(folder.folder.iterdir())) == 5


def test_a_reader_of_another_tariff_keeps_what_is_in_the_bucket(folder, pacer_of):
    standard, enterprise = pacer_of(folder), pacer_of(folder, "enterprise")
    burst(standard)

    assert burst(enterprise) == pytest.approx(245 - 48, abs=5)
    assert standard.waiting_time() > 50


def test_a_clock_that_was_put_back_makes_nobody_wait_for_it(folder, pacer_of, hand_clock):
    pacer = pacer_of(folder)
    burst(pacer)
    hand_clock.now -= 3600

    assert pacer.waiting_time() == pytest.approx(MARGIN)


WORKER = textwrap.dedent("""
    import sys, time
    from airflow_provider_b24.rest.bucket import TARIFFS, Slot
    from airflow_provider_b24.rest.pacing import Pacer
    from airflow_provider_b24.rest.shared_limit import FolderLimit
    pacer = Pacer(TARIFFS["enterprise"], portal="p", shared=FolderLimit(sys.argv[1]))
    print("ready", flush=True)
    sys.stdin.readline()
    for _ in range(int(sys.argv[2])):
        print(time.time() + pacer.reserve().wait)
""")


def start(folder, count):
    return subprocess.Popen(
        [sys.executable, "-c", WORKER, str(folder), str(count)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def test_processes_lose_no_place_and_get_none_twice(tmp_path):
    processes = [start(tmp_path, 500) for _ in range(4)]
    for process in processes:
        assert process.stdout.readline() == "ready\n"
    began = time.time()
    texts = [process.communicate("go\n", timeout=300)[0] for process in processes]
    ended = time.time()

    times = sorted(float(line) for text in texts for line in text.split())
    # 2,000 places: 250 and five for each second since the first, whoever they were given to.
    assert times[-1] - began == pytest.approx((2000 - 250) / 5, abs=2 + ended - began)
    assert len(times) == 2000


def test_a_process_that_is_killed_leaves_a_usable_record(tmp_path):
    for _ in range(5):
        process = start(tmp_path, 10_000_000)
        process.stdout.readline()
        process.stdin.write("go\n")
        process.stdin.flush()
        for _ in range(300):
            process.stdout.readline()
        process.kill()
        process.wait()
        process.stdout.close()
        process.stdin.close()
    pacer = Pacer(TARIFFS["enterprise"], portal="p", shared=FolderLimit(tmp_path))

    assert pacer.waiting_time() > 0
    assert pacer._alone_until == float("-inf")


def _broken(kind, limit):
    path = limit.folder
    path.mkdir()
    file = FolderLimit(path)
    file.update(PORTAL, lambda *_: ("{}", None))
    [record] = path.iterdir()
    if kind == "a folder in its place":
        record.unlink()
        record.mkdir()
    elif kind == "a link in its place":
        record.unlink()
        record.symlink_to("/etc/passwd")
    else:
        record.write_bytes(b"\xff\x00garbage" * 200)


@pytest.mark.parametrize("kind", ["a folder in its place", "a link in its place", "garbage"])
def test_a_broken_record_is_told_once_and_keeps_nobody_from_calling(folder, pacer_of, caplog, kind):
    _broken(kind, folder)
    pacer = pacer_of(folder)
    with caplog.at_level(logging.WARNING):
        assert burst(pacer) == 48
        assert pacer.waiting_time() == pytest.approx(MARGIN)

    assert len(caplog.records) == 1
    assert PORTAL in caplog.text


def test_garbage_is_replaced(folder, pacer_of):
    _broken("garbage", folder)
    burst(pacer_of(folder))

    assert pacer_of(folder).waiting_time() == pytest.approx(MARGIN)


def test_who_must_go_on_alone_begins_with_what_was_known(folder, pacer_of):
    one, other = pacer_of(folder), pacer_of(folder)
    burst(one, other)
    for record in folder.folder.iterdir():
        record.unlink()
        record.mkdir()

    assert one.waiting_time() == pytest.approx(MARGIN)


def test_who_went_on_alone_comes_back(folder, pacer_of, hand_clock):
    one, other = pacer_of(folder), pacer_of(folder)
    folder.folder.parent.joinpath("limits").touch()
    assert burst(one) == 48
    folder.folder.unlink()
    hand_clock.now += 11

    assert burst(one, other) == 48


def test_a_folder_that_cannot_be_made_is_no_reason_to_fail(tmp_path, pacer_of, caplog):
    (tmp_path / "file").touch()
    assert burst(pacer_of(FolderLimit(tmp_path / "file" / "limits"))) == 48
    assert "NotADirectoryError" in caplog.text


def test_a_full_disk_is_no_reason_to_fail(pacer_of, caplog, monkeypatch, folder):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "pwrite", full)
    assert burst(pacer_of(folder)) >= 47
    assert len(caplog.records) == 1


def test_a_process_that_stands_still_with_the_lock_holds_up_nobody_for_long(folder, pacer_of, caplog):
    pacer = pacer_of(folder)
    pacer.reserve()
    [record] = folder.folder.iterdir()
    with record.open() as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        began = time.monotonic()
        assert burst(pacer) == 47
        assert time.monotonic() - began < 10, "it waits for the lock once, not for each place"
    assert "TimeoutError" in caplog.text


def test_a_lock_does_not_pass_to_children(folder):
    def fork(*_):
        child = os.fork()
        if not child:
            signal.alarm(60)
            time.sleep(60)
            os._exit(0)
        return None, child

    child = folder.update(PORTAL, fork)
    try:
        # It has the file open, and with it the lock, until it ends: others go on all the same.
        with pytest.raises(TimeoutError):
            folder.update(PORTAL, lambda *_: (None, None))
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
    folder.update(PORTAL, lambda *_: (None, None))


def test_the_folder_among_temporary_files_is_of_this_user_alone(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    limit = FolderLimit()
    limit.update(PORTAL, lambda *_: ("x", None))

    assert limit.folder.parent == tmp_path
    assert stat.S_IMODE(limit.folder.stat().st_mode) == 0o700
    assert [stat.S_IMODE(file.stat().st_mode) for file in limit.folder.iterdir()] == [0o600]


def test_a_link_that_somebody_has_put_there_is_not_followed(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    limit = FolderLimit()
    (tmp_path / "elsewhere").mkdir()
    limit.folder.symlink_to(tmp_path / "elsewhere")

    with pytest.raises(PermissionError):
        limit.update(PORTAL, lambda *_: ("x", None))
    assert list((tmp_path / "elsewhere").iterdir()) == []


def test_files_of_a_folder_for_several_users_may_be_used_by_whom_the_folder_is_for(tmp_path):
    folder = tmp_path / "limits"
    folder.mkdir()
    folder.chmod(0o2770)
    FolderLimit(folder).update(PORTAL, lambda *_: ("x", None))

    assert [stat.S_IMODE(file.stat().st_mode) for file in folder.iterdir()] == [0o660]


def test_threads_of_a_process_share_it_too(folder, pacer_of):
    pacer, slots = pacer_of(folder), []
    threads = [
        threading.Thread(target=lambda: slots.extend(pacer.reserve() for _ in range(25))) for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sorted(slot.wait for slot in slots) == pytest.approx(
        [0.0] * 48 + [MARGIN + index // 2 for index in range(52)]
    )


def test_a_redis_that_is_away_is_told_once_without_its_password(pacer_of, caplog):
    limit = RedisLimit("redis://:s3cr3t@127.0.0.1:1/0")
    assert burst(pacer_of(limit)) == 48
    assert len(caplog.records) == 1
    assert "s3cr3t" not in caplog.text + repr(limit)


class Remote(FolderLimit):
    """A place that takes a while to answer, as one on another machine may."""

    is_remote = True

    def __init__(self, folder):
        super().__init__(folder)
        self.threads = []

    def update(self, portal, change):
        self.threads.append(threading.current_thread())
        time.sleep(0.1)
        return super().update(portal, change)


@pytest.mark.parametrize("refused", [False, True])
def test_an_event_loop_does_not_wait_for_another_machine(tmp_path, webhook, refused):
    remote = Remote(tmp_path)
    responses = [Response(503, {}, b"") if refused else None, Response(200, {}, b'{"result": 7}')]

    class Client(AsyncBitrix24Client):
        async def _send(self, request):
            return next(response for response in iter(lambda: responses.pop(0), 0) if response)

    async def main():
        client = Client(webhook, shared_limit=remote, clock=partial(time.monotonic), chance=lambda: 0.0)
        return (await client.call("profile")).result

    assert asyncio.run(main()) == 7
    assert len(remote.threads) >= (4 if refused else 1)
    assert threading.main_thread() not in remote.threads


def test_the_blocking_client_asks_another_machine_where_it_is(tmp_path, webhook):
    remote = Remote(tmp_path)

    class Client(Bitrix24Client):
        def _send(self, request):
            return Response(200, {}, b'{"result": 7}')

    client = Client(webhook, shared_limit=remote, clock=partial(time.monotonic))
    assert client.call("profile").result == 7
    assert client.waiting_time() == 0.0
    assert remote.threads == [threading.main_thread()]


@pytest.mark.parametrize(
    "text",
    ["", "7", "null", "[]", "{}", '{"lanes": [1, "x"], "threshold": 50}', '{"lanes": [], "threshold": 50}',
     '{"lanes": [1, NaN], "threshold": 50}', '{"lanes": [1, 2], "threshold": 50, "share": 0}',
     '{"lanes": [1, 2], "threshold": 50, "more": 0}', '{"lanes": 3, "threshold": 50}', "{" * 10_000,
     pytest.param(f'{{"lanes": [1, 1{"0" * 400}], "threshold": 50}}', id="too large")],
)  # fmt: skip
def test_what_is_no_record_is_not_taken_for_one(text):
    with pytest.raises(ValueError, match="bucket|Expecting"):
        Bucket.from_json(text)


def test_a_record_is_read_as_it_was_written():
    bucket = Bucket.empty(TARIFFS["enterprise"], 5.0)
    assert Bucket.from_json(bucket.to_json(7.0)) == bucket
    bucket.overflow(9.0, None, 0.5)
    assert Bucket.from_json(bucket.to_json(9.0)) == bucket
    assert len(bucket.to_json(1e10 / 3)) < 1024
    assert json.loads(bucket.to_json(9.0))["at"] == 9.0


@pytest.mark.parametrize("place", ["limits", "./limits", "http://x", "mysql://u:s3cr3t@x", "off"])
def test_a_place_that_is_none_is_refused_without_repeating_it(place):
    with pytest.raises(ValueError, match="the whole path of a folder") as caught:
        shared_limit(place)
    assert "s3cr3t" not in str(caught.value)


def test_places_are_read(tmp_path):
    assert shared_limit("process") is None
    assert shared_limit(f" {tmp_path} ").folder == tmp_path
    assert isinstance(shared_limit("redis://127.0.0.1:1/0"), RedisLimit)
    assert "airflow-b24-limits" in str(shared_limit("").folder)
