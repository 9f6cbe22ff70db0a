"""The hook against a portal: the same from a thread and from an event loop, with a webhook and with an application."""

from __future__ import annotations

import asyncio
import re
import time
import tracemalloc
from collections import Counter
from pathlib import Path

import pytest

from airflow_provider_b24.exceptions import Bitrix24Error, EventTokenError, ProcessEndedError
from airflow_provider_b24.hooks.bitrix24 import Bitrix24Hook
from airflow_provider_b24.hooks.metrics import AirflowMetrics
from airflow_provider_b24.rest import Bitrix24Client, Call, MemoryTokenStore, OAuthApp, Tokens, Webhook
from airflow_provider_b24.rest.credentials import portal_host
from airflow_provider_b24.sandbox import AnswerHtml, AnswerStatus, DropConnection, SandboxPortal

DOCUMENTATION = Path(__file__).parents[2] / "docs" / "reference" / "metrics.md"


@pytest.fixture
def portal():
    """A portal whose limits do not hold up the tests; none of these is about them."""
    with SandboxPortal(limits=False) as portal:
        yield portal


@pytest.fixture(params=["webhook", "application"])
def connection(request):
    """The connection ``bitrix24_default``, of each kind."""
    return request.getfixturevalue(f"{request.param}_connection")


class Blocking:
    """Uses the hook as a task does."""

    def __init__(self, conn_id):
        self.conn_id = conn_id

    def call(self, *args, **options):
        with Bitrix24Hook(self.conn_id) as hook:
            return hook.call(*args, **options)

    def batch(self, *args, **options):
        with Bitrix24Hook(self.conn_id) as hook:
            return hook.batch(*args, **options)

    def iterate(self, *args, **options):
        with Bitrix24Hook(self.conn_id) as hook:
            return list(hook.iterate(*args, **options))

    def count(self, *args):
        with Bitrix24Hook(self.conn_id) as hook:
            return sum(1 for _ in hook.iterate(*args))

    def download(self, *args, **options):
        with Bitrix24Hook(self.conn_id) as hook:
            return hook.download(*args, **options)

    def pages(self, *args, **options):
        with Bitrix24Hook(self.conn_id) as hook:
            return list(hook.pages(*args, **options))


class InALoop:
    """Uses the hook as a trigger does."""

    def __init__(self, conn_id):
        self.conn_id = conn_id

    def call(self, *args, **options):
        return self._run(lambda hook: hook.async_call(*args, **options))

    def batch(self, *args, **options):
        return self._run(lambda hook: hook.async_batch(*args, **options))

    def iterate(self, *args, **options):
        async def read(hook):
            return [record async for record in hook.async_iterate(*args, **options)]

        return self._run(read)

    def count(self, *args):
        async def read(hook):
            count = 0
            async for _ in hook.async_iterate(*args):
                count += 1
            return count

        return self._run(read)

    def download(self, *args, **options):
        return self._run(lambda hook: hook.async_download(*args, **options))

    def pages(self, *args, **options):
        async def read(hook):
            return [page async for page in hook.async_pages(*args, **options)]

        return self._run(read)

    def _run(self, use):
        async def run():
            async with Bitrix24Hook(self.conn_id) as hook:
                return await use(hook)

        return asyncio.run(run())


WAYS = pytest.mark.parametrize("way", [Blocking, InALoop], ids=["sync", "async"])


@pytest.fixture
def hook(connection):
    with Bitrix24Hook(connection) as hook:
        yield hook


def shape(outcome):
    """What came of one call of a batch, without the time it took."""
    if isinstance(outcome, Bitrix24Error):
        return type(outcome).__name__, outcome.code, outcome.method
    return outcome.result, outcome.total


@WAYS
class TestCalling:
    def test_a_call_gives_its_result(self, connection, portal, way):
        portal.add_records("lead", [{"TITLE": "one"}])

        assert way(connection).call("crm.lead.get", {"ID": 1})["TITLE"] == "one"

    def test_a_call_needs_no_parameters(self, connection, way):
        assert way(connection).call("profile")["ID"] == "1"

    def test_a_refusal_names_the_method_and_the_portal(self, connection, portal, way):
        with pytest.raises(Bitrix24Error, match=r"no\.such\.method") as refusal:
            way(connection).call("no.such.method")

        assert refusal.value.code == "ERROR_METHOD_NOT_FOUND"
        assert refusal.value.portal == portal_host(portal.url)

    def test_a_portal_that_fails_for_a_moment_is_asked_again(self, connection, portal, way, impatient):
        portal.faults.add(AnswerHtml(502), "profile")

        assert way(connection).call("profile")["ID"] == "1"

    def test_results_come_in_the_order_of_the_calls_however_many(self, connection, portal, way):
        calls = [("sandbox.echo", {"n": number}) for number in range(120)]

        outcomes = way(connection).batch(calls)

        assert [outcome.result["n"] for outcome in outcomes] == [str(number) for number in range(120)]
        assert [request.method for request in portal.requests] == ["batch"] * 3

    def test_calls_may_be_given_one_by_one_and_in_either_form(self, connection, way):
        calls = (Call("sandbox.echo", {"n": n}) if n % 2 else ("sandbox.echo", {"n": n}) for n in range(51))

        assert [outcome.result["n"] for outcome in way(connection).batch(calls)] == [
            str(n) for n in range(51)
        ]

    def test_no_calls_are_no_request(self, connection, portal, way):
        assert way(connection).batch([]) == []
        assert portal.requests == []

    def test_each_call_of_a_batch_has_its_own_error(self, connection, portal, way):
        portal.add_records("lead", [{"TITLE": "one"}])
        calls = [("crm.lead.get", {"ID": 1}), ("no.such.method", {}), ("crm.lead.get", {"ID": 99})] * 20

        outcomes = way(connection).batch(calls)

        assert len(outcomes) == 60
        for found, unknown, missing in zip(*[iter(outcomes)] * 3, strict=True):
            assert found.result["TITLE"] == "one"
            assert unknown.code == "ERROR_METHOD_NOT_FOUND"
            assert isinstance(missing, Bitrix24Error)
            assert missing.method == "crm.lead.get"

    def test_halt_ends_at_the_first_error_also_beyond_its_request(self, connection, portal, way):
        create = ("crm.lead.add", {"fields": {}})

        outcomes = way(connection).batch([create] * 3 + [("no.such.method", {})] + [create] * 60, halt=True)

        assert [outcome.result for outcome in outcomes[:3]] == [1, 2, 3]
        assert outcomes[3].code == "ERROR_METHOD_NOT_FOUND"
        assert all(isinstance(outcome, Bitrix24Error) for outcome in outcomes[4:])
        assert (len(outcomes), len(portal.records("lead"))) == (64, 3)

    @pytest.mark.parametrize("count", [0, 1, 50, 51, 5230])
    def test_a_list_gives_each_record_once_and_in_order(self, connection, portal, way, count):
        portal.add_records("lead", count)

        records = way(connection).iterate("crm.lead.list", {"select": ["ID"]})

        assert [int(record["ID"]) for record in records] == list(range(1, count + 1))

    def test_a_list_may_be_ordered_by_another_id(self, connection, portal, way):
        portal.add_records("item:147", 120)

        records = way(connection).iterate("crm.item.list", {"entityTypeId": 147}, id_field="id")

        assert [record["id"] for record in records] == list(range(1, 121))

    def test_a_file_is_downloaded(self, connection, portal, way, tmp_path):
        number = portal.add_file("a.txt", b"abc")

        assert way(connection).download(number, tmp_path / "b.txt", max_bytes=3) == 3
        assert (tmp_path / "b.txt").read_bytes() == b"abc"

    def test_a_list_may_be_read_by_page(self, connection, portal, way):
        portal.add_records("lead", 130)

        pages = way(connection).pages("crm.lead.list", {"filter": {">ID": 20}}, limit=100)

        assert [int(record["ID"]) for page in pages for record in page] == list(range(21, 121))
        assert len(pages) > 1

    def test_a_list_that_is_refused_raises(self, connection, way):
        with pytest.raises(Bitrix24Error, match=r"no\.such\.list"):
            way(connection).iterate("no.such.list")


def test_both_ways_and_both_kinds_of_connection_give_the_same(request, portal):
    portal.add_records("lead", 75)
    calls = [
        ("crm.lead.get", {"ID": number}) if number % 7 else ("no.such.method", {}) for number in range(1, 80)
    ]
    seen = []
    for kind in ("webhook_connection", "application_connection"):
        conn_id = request.getfixturevalue(kind)
        for way in (Blocking(conn_id), InALoop(conn_id)):
            outcomes = [shape(outcome) for outcome in way.batch(calls)]
            seen.append((way.call("crm.lead.get", {"ID": 3}), outcomes, way.iterate("crm.lead.list")))

    assert seen == [seen[0]] * 4


@WAYS
@pytest.mark.usefixtures("webhook_connection")
def test_reading_a_list_takes_the_same_memory_however_long_it_is(portal, way):
    def peak(after):
        tracemalloc.reset_peak()
        before, _ = tracemalloc.get_traced_memory()
        # Only the records behind an id are read: the portal, which is in this process too, holds the same in each case.
        count = way("bitrix24_default").count("crm.lead.list", {"filter": {">ID": after}})
        return count, tracemalloc.get_traced_memory()[1] - before

    portal.add_records("lead", 8_000)
    way("bitrix24_default").count("crm.lead.list", {"filter": {">ID": 6_000}})
    tracemalloc.start()
    try:
        few, peak_of_few = peak(6_000)
        many, peak_of_many = peak(0)
    finally:
        tracemalloc.stop()

    assert (few, many) == (2_000, 8_000)
    assert peak_of_many < 2 * peak_of_few


def test_a_list_is_read_only_as_far_as_it_is_wanted(hook, portal):
    portal.add_records("lead", 5000)

    assert next(hook.iterate("crm.lead.list"))["ID"] == "1"
    assert len(portal.requests) == 1


class TestAnswering:
    def test_the_answer_and_its_text_arrive_at_the_process(self, hook, portal, waiting_process):
        token = waiting_process.waiting_for

        assert hook.send_event(token, {"score": 7, "seen": [True, False]}, "All is well") is True

        assert waiting_process.wait().status == "completed"
        [answer] = portal.answers
        assert (answer.token, answer.values) == (token, {"score": "7", "seen": ["Y", "N"]})
        assert any("All is well" in entry.message for entry in waiting_process.log)

    def test_an_answer_may_be_empty(self, hook, waiting_process):
        assert hook.send_event(waiting_process.waiting_for) is True
        assert waiting_process.wait().status == "completed"

    def test_a_process_that_has_gone_to_its_end_takes_no_other_answer(self, hook, portal, waiting_process):
        token = waiting_process.waiting_for
        hook.send_event(token, {"score": 7})

        with pytest.raises(ProcessEndedError) as refusal:
            hook.send_event(token, {"score": 8})

        assert token not in str(refusal.value)
        assert [answer.values["score"] for answer in portal.answers] == ["7"]

    def test_a_line_in_the_log_leaves_the_token_good(self, hook, waiting_process):
        token = waiting_process.waiting_for

        assert hook.log_activity(token, "Halfway") is True
        assert any("Halfway" in entry.message for entry in waiting_process.log)
        assert hook.send_event(token, {"score": 7}) is True

    def test_the_log_of_a_process_that_does_not_wait_cannot_be_written_to(self, hook):
        with pytest.raises(EventTokenError):
            hook.log_activity("no-such-token", "Hello")


class TestOpenAndClosed:
    def test_a_hook_may_be_used_again_after_it_was_closed(self, connection):
        hook = Bitrix24Hook(connection)
        for _ in range(2):
            assert hook.call("profile")["ID"] == "1"
            hook.close()
        hook.close()

    def test_so_may_it_in_an_event_loop(self, connection):
        async def run():
            hook = Bitrix24Hook(connection)
            for _ in range(2):
                assert (await hook.async_call("profile"))["ID"] == "1"
                await hook.aclose()
            await hook.aclose()

        asyncio.run(run())

    def test_its_client_is_made_once(self, hook):
        assert hook.get_conn() is hook.get_conn()


class Recorder:
    """A backend of Airflow's metrics that keeps what it is told."""

    def __init__(self):
        self.told = []

    def incr(self, stat, count=1, rate=1, *, tags=None):
        self.told.append((stat, count, tags or {}))

    def timing(self, stat, dt, *, tags=None):
        self.told.append((stat, dt.total_seconds(), tags or {}))

    def sums(self):
        """How much of each counter, and how often each timer, was told."""
        sums = Counter()
        for stat, value, _ in self.told:
            sums[stat] += 1 if stat in ("bitrix24.request", "bitrix24.waited") else value
        return sums

    def causes(self, name):
        return {tags["cause"] for stat, _, tags in self.told if stat == name}


class Broken:
    """A backend that fails whatever it is told."""

    def __getattr__(self, name):
        def fail(*_args, **_kwargs):
            raise RuntimeError("no collector")

        return fail


@pytest.fixture
def recorder(report_to):
    recorder = Recorder()
    report_to(lambda: recorder)
    return recorder


class SkippingClock:
    """A clock that runs on instead of letting anybody sleep."""

    def __init__(self):
        self._skipped = 0.0

    def __call__(self):
        return time.monotonic() + self._skipped

    def sleep(self, seconds):
        self._skipped += seconds


@pytest.fixture
def observed(portal):
    """Makes a client as the hook does, but one that never really waits."""
    clients = []

    def make(credentials=None, **options):
        clock = SkippingClock()
        clients.append(
            Bitrix24Client(
                credentials or Webhook.from_url(portal.webhook.url),
                observer=AirflowMetrics(portal_host(portal.url)),
                clock=clock,
                sleep=clock.sleep,
                **options,
            )
        )
        return clients[-1]

    yield make
    for client in clients:
        client.close()


def renewing(portal, observed):
    """Make a client of an application whose access token has expired."""
    application = portal.application
    portal.expire_access_tokens()
    return observed(
        OAuthApp(portal.url, application.client_id, application.client_secret, portal.oauth_url),
        token_store=MemoryTokenStore(Tokens(application.access_token, application.refresh_token)),
    )


def documented_causes(name):
    [row] = re.findall(
        rf"^\| `{re.escape(name)}` .*tag `cause` \((.*)\) \|$", DOCUMENTATION.read_text(), re.M
    )
    return set(re.findall(r"`(\w+)`", row))


class TestMetrics:
    @WAYS
    def test_calls_batches_and_lists_are_counted(self, connection, portal, recorder, way):
        portal.add_records("lead", 10)
        use = way(connection)
        use.call("profile")
        use.batch([("profile", {})] * 120)
        use.iterate("crm.lead.list")

        sums = recorder.sums()
        assert sums["bitrix24.calls"] == sums["bitrix24.request"] == len(portal.requests)
        assert Counter(
            tags["method"] for stat, _, tags in recorder.told if stat == "bitrix24.calls"
        ) == Counter(request.method for request in portal.requests)
        # Reading a list is a batch of two: its first and its last page.
        assert (sums["bitrix24.batches"], sums["bitrix24.batch_calls"]) == (4, 122)
        assert {tags["portal"] for *_, tags in recorder.told} == {portal_host(portal.url)}

    def test_every_documented_cause_of_a_retry_and_of_a_wait_occurs(
        self, portal, waiting_process, recorder, observed
    ):
        client = observed()
        portal.faults.add(AnswerStatus(400, 423), "bizproc.event.send")
        client.send_event(waiting_process.waiting_for)
        for fault in (
            AnswerStatus(503, "QUERY_LIMIT_EXCEEDED"),
            AnswerStatus(429, "OPERATION_TIME_LIMIT"),
            AnswerStatus(500),
            DropConnection(),
        ):
            portal.faults.add(fault, "profile")
            client.call("profile")
        renewing(portal, observed).call("profile")
        wrong, right = Webhook(portal.url, "1", "wr0ngc0de"), Webhook.from_url(portal.webhook.url)
        observed(wrong, reconnect=lambda: (right, None)).call("profile")
        with SandboxPortal(limits=False) as target:
            portal.move_to(target)
            observed(trusted_hosts=(portal_host(target.url),)).call("profile")

        for name in ("bitrix24.retries", "bitrix24.waited"):
            assert recorder.causes(name) == documented_causes(name)

    def test_a_renewal_of_tokens_is_counted(self, portal, recorder, observed):
        assert renewing(portal, observed).call("profile").result["ID"] == "1"

        assert recorder.sums()["bitrix24.refreshes"] == 1

    def test_nothing_secret_is_in_a_metric(self, portal, waiting_process, recorder, observed):
        token = waiting_process.waiting_for
        application = portal.application
        observed().call("profile")
        with pytest.raises(Bitrix24Error):
            observed(Webhook(portal.url, "1", "wr0ngc0de")).call("profile")
        renewing(portal, observed).send_event(token, {"score": 7})

        told = str(recorder.told)
        secrets = {
            Webhook.from_url(portal.webhook.url).code,
            "wr0ngc0de",
            token,
            application.client_secret,
            application.access_token,
            application.refresh_token,
        }
        assert "bizproc.event.send" in told
        assert not [secret for secret in secrets if secret in told]

    @WAYS
    def test_a_backend_that_fails_breaks_no_call(self, connection, portal, report_to, way, impatient):
        report_to(Broken)
        portal.add_records("lead", 75)
        portal.faults.add(AnswerHtml(502), "profile")
        use = way(connection)

        assert use.call("profile")["ID"] == "1"
        assert len(use.batch([("profile", {})] * 60)) == 60
        assert len(use.iterate("crm.lead.list")) == 75


@WAYS
def test_everything_that_calls_can_call_rest3(connection, way):
    hook = way(connection)
    add = ("tasks.task.add", {"fields": {"title": "Report", "creatorId": 1, "responsibleId": 1}})
    made = [hook.call(*add, api="v3", idempotency_key="k1")["item"]["id"] for _ in range(2)]
    read, updated = hook.batch(
        [("tasks.task.get", {"id": 1}), ("tasks.task.update", {"id": 1, "fields": {"title": "New"}})],
        api="v3",
    )

    assert made == [1, 1]
    assert (read.result["item"]["id"], updated.result) == (1, {"result": True})
    assert hook.iterate("tasks.task.list", {"select": ["title"]}, api="v3") == [{"id": 1, "title": "New"}]


def test_coroutines_that_begin_together_share_one_client(connection):
    async def clients():
        async with Bitrix24Hook(connection) as hook:
            return await asyncio.gather(*(hook.get_async_conn() for _ in range(5)))

    assert len({id(client) for client in asyncio.run(clients())}) == 1
