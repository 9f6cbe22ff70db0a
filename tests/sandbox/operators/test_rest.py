"""Any REST method as a task, against a portal."""

import asyncio
import contextlib
import datetime as dt
import json
import logging
import re
import traceback
import warnings
from collections.abc import Sequence
from types import SimpleNamespace

import pytest
from airflow.providers.common.compat.sdk import AirflowFailException, AirflowNotFoundException, TaskDeferred
from airflow.sdk import DAG

from airflow_provider_b24.exceptions import ServerError, TransportError
from airflow_provider_b24.hooks.bitrix24 import Bitrix24Hook
from airflow_provider_b24.operators.rest import Bitrix24Operator
from airflow_provider_b24.rest import Effect, File, MethodFacts, Patience, Ref
from airflow_provider_b24.rest.methods import METHODS
from airflow_provider_b24.sandbox import AnswerStatus, DropConnection
from airflow_provider_b24.sensors.rest import Bitrix24MethodSensor
from airflow_provider_b24.triggers._events import LARGEST_EVENT
from airflow_provider_b24.triggers.rest import Bitrix24CallsTrigger

pytestmark = pytest.mark.usefixtures("webhook_connection")


@pytest.fixture
def deferred(monkeypatch):
    """The triggers that tasks have waited with."""
    deferred = []
    defer = Bitrix24Operator.defer
    monkeypatch.setattr(
        Bitrix24Operator,
        "defer",
        lambda task, **options: deferred.append(options["trigger"]) or defer(task, **options),
    )
    return deferred


@pytest.fixture
def run(run_task, deferrable, monkeypatch):
    """Run the operator as a worker would, and as a triggerer would, where the portal's own methods only read."""
    if deferrable:
        monkeypatch.setitem(METHODS, "sandbox.", MethodFacts(effect=Effect.READS))

    def run(conf=None, **arguments):
        task = Bitrix24Operator(task_id="ask", **{"deferrable": deferrable} | arguments)
        return run_task(task, conf=conf)

    return run


@pytest.fixture
def broken(portal, monkeypatch):
    """Let a method fail for good with an error that may pass, and nobody wait for that."""
    monkeypatch.setattr("airflow_provider_b24.rest.Patience", lambda: Patience(attempts=1))

    def broken(method, times=None):
        portal.faults.add(AnswerStatus(500, "INTERNAL_SERVER_ERROR"), method=method, times=times)

    return broken


def test_one_call_gives_its_result(portal, run):
    assert run(method="profile")["ID"] == "1"


def test_method_and_parameters_are_templates(portal, run):
    arguments = {"method": "{{ dag_run.conf.method }}", "parameters": {"a": ["{{ dag_run.conf.text }}", 1]}}
    assert run({"method": "sandbox.echo", "text": "ä & b"}, **arguments) == {"a": ["ä & b", "1"]}


def test_a_list_gives_as_many_rows_as_asked_for(portal, run):
    portal.add_records("lead", 120)
    rows = run(method="crm.lead.list", parameters={"select": ["ID"]}, limit=70)
    assert [int(row["ID"]) for row in rows] == list(range(1, 71))
    assert len(run(method="crm.lead.list", parameters={"select": ["ID"]}, limit=1000)) == 120


def test_no_more_pages_are_read_than_are_asked_for(portal, run):
    portal.add_records("lead", 5000)
    assert len(run(method="crm.lead.list", limit=60)) == 60
    pages = [
        len(request.parameters["cmd"]) if request.method == "batch" else 1 for request in portal.requests
    ]
    assert sum(pages) <= 3


@pytest.mark.parametrize(
    "rendered",
    ["{{ dag_run.conf['fields'] }}", "{{ dag_run.conf['fields'] | tojson }}", '{"a": "1"}', "{'a': '1'}"],
)
def test_a_template_may_give_all_parameters(run, rendered):
    assert run({"fields": {"a": "1"}}, method="sandbox.echo", parameters=rendered) == {"a": "1"}


@pytest.mark.parametrize("rendered", ["{{ dag_run.conf['nothing'] }}", "", None])
def test_a_template_that_gives_nothing_gives_no_parameters(run, rendered):
    assert run({"nothing": ""}, method="sandbox.echo", parameters=rendered) in ([], {})


@pytest.mark.parametrize("rendered", ["[1, 2]", "no mapping", "7", "None"])
def test_parameters_that_are_no_mapping_fail_at_once_and_show_what_was_read(portal, run, rendered):
    with pytest.raises(AirflowFailException, match=f"parameters .*{re.escape(rendered)}"):
        run(method="sandbox.echo", parameters=rendered)
    assert portal.requests == []


@pytest.mark.parametrize("as_json", [False, True])
def test_a_template_may_give_all_calls(run, as_json):
    calls = [["sandbox.echo", {"n": "1"}], {"method": "sandbox.echo", "params": {"n": "2"}}]
    template = "{{ dag_run.conf['calls'] | tojson }}" if as_json else "{{ dag_run.conf['calls'] }}"
    assert [result["n"] for result in run({"calls": calls}, calls=template)] == ["1", "2"]


class Results(Sequence):
    """What Airflow gives for the results of a mapped task: a sequence that is no list."""

    def __init__(self, *items):
        self._items = items

    def __len__(self):
        return len(self._items)

    def __getitem__(self, index):
        return self._items[index]


def test_results_of_mapped_tasks_can_be_parameters_and_calls(run):
    assert run(method="sandbox.echo", parameters={"ids": Results(1, 2)}) == {"ids": ["1", "2"]}
    calls = Results(["sandbox.echo", {"n": 1}], ["sandbox.echo", {"n": Results(2)}])
    assert [result["n"] for result in run(calls=calls)] == ["1", ["2"]]


def test_a_call_that_the_caller_knows_to_be_repeatable_is_repeated(portal, run):
    portal.faults.add(DropConnection(after_work=True))
    assert run(method="sandbox.echo", parameters={"a": 1}, repeatable=True) == {"a": "1"}


def test_many_calls_give_their_results_in_order_and_few_requests(portal, run):
    calls = [("sandbox.echo", {"n": number}) for number in range(99)]
    calls.append({"method": "sandbox.echo", "params": {"n": "{{ dag_run.conf.last }}"}})
    results = run({"last": 99}, calls=calls)
    assert [int(result["n"]) for result in results] == list(range(100))
    assert [request.method for request in portal.requests] == ["batch", "batch"]
    assert json.loads(json.dumps(results)) == results


def test_a_refused_call_fails_the_task_at_once(run):
    with pytest.raises(AirflowFailException, match="sandbox.nothing"):
        run(method="sandbox.nothing")


def test_a_call_that_may_succeed_later_is_left_to_retries(broken, run):
    broken("profile")
    with pytest.raises(ServerError):
        run(method="profile")


def test_every_failed_call_of_a_batch_is_named(run):
    with pytest.raises(AirflowFailException, match=r"2 of 3 calls failed:\ncalls\[0\]: .*\ncalls\[2\]: "):
        run(calls=[("sandbox.nothing", {}), ("profile", {}), ("sandbox.nothing", {})])


def test_a_batch_of_which_nothing_was_done_is_left_to_retries(broken, run, capsys):
    broken("batch")
    broken("profile")
    with pytest.raises(ServerError):
        run(calls=[("profile", {}), ("profile", {})])
    assert "2 of 2 calls failed" in capsys.readouterr().out


def test_a_batch_of_which_one_call_is_refused_is_not_left_to_retries(broken, run):
    broken("profile")
    with pytest.raises(AirflowFailException, match="2 of 2 calls failed"):
        run(calls=[("profile", {}), ("sandbox.nothing", {})])


def test_a_halted_batch_of_which_nothing_was_done_is_left_to_retries(broken, run):
    broken("profile")
    with pytest.raises(ServerError):
        run(calls=[("profile", {}), ("sandbox.echo", {"n": 1})], halt=True)


def test_a_batch_of_which_something_was_done_is_not_done_again(broken, run):
    broken("profile")
    with pytest.raises(AirflowFailException, match="1 of 2 calls failed"):
        run(calls=[("sandbox.echo", {"n": 1}), ("profile", {})])


def test_a_halted_batch_makes_no_call_after_the_failed_one(portal, run):
    with pytest.raises(AirflowFailException, match="2 of 3 calls failed"):
        run(calls=[("profile", {}), ("sandbox.nothing", {}), ("crm.lead.add", {"fields": {}})], halt=True)
    assert run(method="crm.lead.list", limit=1) == []


@pytest.mark.parametrize("parameters", [{"a": float("nan")}, {"a": object()}])
def test_a_value_that_cannot_be_sent_fails_the_task_at_once(portal, run, parameters):
    with pytest.raises(AirflowFailException, match="cannot be sent as it is.*a"):
        run(method="sandbox.echo", parameters=parameters)
    assert portal.requests == []


def test_nothing_is_sent_of_a_batch_whose_last_value_cannot_be(portal, run):
    calls = [("sandbox.echo", {"n": number}) for number in range(60)]
    with pytest.raises(AirflowFailException, match="cannot be sent as it is.*late"):
        run(calls=[*calls, ("sandbox.echo", {"late": object()})])
    assert portal.requests == []


@pytest.mark.parametrize("calls", [["profile"], [("profile",)], [{"params": {}}], [("profile", "ID")]])
def test_calls_that_are_none_are_refused_by_their_number(portal, run, calls):
    with pytest.raises(AirflowFailException, match=r"calls\[0\]"):
        run(calls=calls)
    assert portal.requests == []


@pytest.mark.parametrize(
    "arguments",
    [
        {},
        {"method": "profile", "calls": []},
        {"calls": [], "parameters": {}},
        {"calls": [], "limit": 5},
        {"method": "crm.lead.list", "limit": 0},
    ],
)
def test_arguments_that_contradict_each_other_are_refused_when_the_dag_is_parsed(arguments):
    with pytest.raises(ValueError, match="^ask: "):
        Bitrix24Operator(task_id="ask", **arguments)


@pytest.mark.parametrize("operator", [Bitrix24Operator, Bitrix24MethodSensor])
def test_airflows_params_are_not_taken_for_the_methods_parameters_in_silence(operator):
    with pytest.warns(UserWarning, match="^ask: params are Airflow's own"):
        operator(task_id="ask", method="crm.deal.get", params={"ID": 42})


@pytest.mark.parametrize("operator", [Bitrix24Operator, Bitrix24MethodSensor])
def test_params_of_the_dag_are_no_mistake(operator):
    with warnings.catch_warnings(), DAG("d", params={"ID": 42}, schedule=None):
        warnings.simplefilter("error")
        operator(task_id="ask", method="profile")


@pytest.mark.parametrize("operator", [Bitrix24Operator, Bitrix24MethodSensor])
def test_default_arguments_of_the_dag_are_no_mistake(operator):
    with warnings.catch_warnings(), DAG("d", default_args={"params": {"ID": 42}}, schedule=None):
        warnings.simplefilter("error")
        operator(task_id="ask", method="profile")


@pytest.mark.parametrize("operator", [Bitrix24Operator, Bitrix24MethodSensor])
def test_params_of_the_dag_are_no_mistake_of_a_mapped_task(operator):
    with warnings.catch_warnings(), DAG("d", params={"ID": 42}, schedule=None):
        warnings.simplefilter("error")
        mapped = operator.partial(task_id="ask").expand(method=["profile"])
        assert mapped.unmap({"method": "profile"}).parameters is None


@pytest.mark.parametrize("operator", [Bitrix24Operator, Bitrix24MethodSensor])
def test_params_besides_parameters_are_no_mistake(operator):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        operator(task_id="ask", method="crm.deal.get", parameters={"ID": 1}, params={"ID": 42})


def test_no_secret_is_in_an_error(portal, run):
    with pytest.raises(AirflowFailException, match="'auth' is not a parameter") as caught:
        run(method="profile", parameters={"auth": portal.application.access_token})
    assert portal.application.access_token not in str(caught.value)
    assert portal.webhook.code not in str(caught.value)


@pytest.mark.parametrize("refused", ["sandbox.nothing", "profile"], ids=["at once", "left to retries"])
@pytest.mark.parametrize("batch", [False, True], ids=["call", "batch"])
def test_no_secret_is_in_a_log_or_a_trace(portal, broken, run, caplog, capsys, refused, batch):
    caplog.set_level(logging.DEBUG)
    broken("profile")
    # The source lines in a trace must not be what the test finds.
    secret = "-".join(("s3cr3t", "value"))
    parameters = {"EVENT_TOKEN": secret}
    arguments = (
        {"calls": [(refused, parameters)] * 2} if batch else {"method": refused, "parameters": parameters}
    )
    with pytest.raises((AirflowFailException, ServerError)) as caught:
        run(**arguments)
    # The portal is a server in this process, and its access log holds the address it was called at.
    logged = [record.getMessage() for record in caplog.records if not record.name.startswith("uvicorn")]
    printed = capsys.readouterr()
    told = "\n".join([*logged, printed.out, printed.err, *traceback.format_exception(caught.value)])
    assert refused in told
    assert secret not in told
    assert portal.webhook.code not in told


@pytest.mark.parametrize(
    "arguments",
    [
        {"method": "crm.lead.get", "parameters": {"ID": 1}},
        {"method": "crm.lead.list", "limit": 10},
        {"calls": [("crm.lead.get", {"ID": 1}), ("profile", {})]},
        {"calls": [{"method": "sandbox.nobody.knows", "repeatable": True}]},
        {"method": "bizproc.task.complete", "parameters": {"TASK_ID": 1}},
        {"calls": []},
    ],
    ids=repr,
)
def test_calls_that_may_be_made_twice_are_made_in_the_triggerer(run_task, portal, deferred, arguments):
    portal.add_records("lead", 1)

    with contextlib.suppress(AirflowFailException):
        run_task(Bitrix24Operator(task_id="ask", deferrable=True, **arguments))

    [trigger] = deferred
    assert isinstance(trigger, Bitrix24CallsTrigger)
    assert trigger.serialize()[1].keys() == {"calls", "bitrix24_conn_id"}


@pytest.mark.parametrize(
    "arguments",
    [
        {"method": "crm.lead.add", "parameters": {"fields": {}}},
        {"method": "sandbox.echo"},
        {"method": "bizproc.workflow.terminate", "parameters": {"ID": "x"}},
        {"method": "crm.lead.get", "parameters": {"ID": 1}, "repeatable": False},
        {"method": "event.offline.get", "limit": 10},
        {"calls": [("crm.lead.get", {"ID": 1}), ("crm.lead.add", {"fields": {}})]},
    ],
    ids=repr,
)
def test_a_call_that_must_not_be_made_twice_is_made_by_the_worker(run_task, portal, deferred, arguments):
    portal.add_records("lead", 1)

    with contextlib.suppress(AirflowFailException):
        run_task(Bitrix24Operator(task_id="ask", deferrable=True, **arguments))

    assert deferred == []
    assert portal.requests


def test_a_creating_call_whose_answer_is_lost_is_not_made_again(portal, run):
    portal.faults.add(DropConnection(after_work=True))
    with pytest.raises(AirflowFailException, match="crm.lead.add"):
        run(method="crm.lead.add", parameters={"fields": {"TITLE": "one"}})
    assert len(portal.records("lead")) == 1


def test_single_calls_of_many_tasks_travel_in_one_request(portal):
    portal.add_records("lead", 30)
    call = {"repeatable": None, "method": "crm.lead.get"}
    calls = {"many": False, "halt": False, "limit": None, "id_field": "ID"}
    triggers = [
        Bitrix24CallsTrigger(
            calls={"calls": [call | {"params": {"ID": number}}]} | calls, bitrix24_conn_id="bitrix24_default"
        )
        for number in range(1, 31)
    ]

    async def event_of(trigger):
        [event] = [event async for event in trigger.run()]
        return event.payload["result"]["ID"]

    async def run():
        return await asyncio.gather(*(event_of(trigger) for trigger in triggers))

    assert asyncio.run(run()) == [str(number) for number in range(1, 31)]
    assert len(portal.requests) == 1


@pytest.mark.parametrize(
    "calls",
    [
        {},
        {"calls": "profile", "many": True, "halt": False, "limit": None, "id_field": "ID"},
        {"calls": [], "many": False, "halt": False, "limit": None, "id_field": "ID"},
        {"calls": [{"params": {}}], "many": True, "halt": False, "limit": None, "id_field": "ID"},
        {"calls": [["profile", {}]], "many": False, "halt": False, "limit": "5", "id_field": "ID"},
    ],
)
def test_a_trigger_refuses_what_are_no_calls(calls):
    with pytest.raises(ValueError, match="calls"):
        Bitrix24CallsTrigger(calls=calls, bitrix24_conn_id="bitrix24_default")


@pytest.mark.parametrize(
    "arguments",
    [
        {"method": "crm.lead.list", "limit": 5000},
        {"method": "crm.lead.get", "parameters": {"ID": 60}},
        {"calls": [("crm.lead.get", {"ID": 60})]},
    ],
    ids=["list", "call", "batch"],
)
def test_what_is_too_large_for_a_triggerer_is_refused_in_words_and_a_worker_takes_it(
    portal, run_task, arguments
):
    portal.add_records("lead", [{"TITLE": "x" * 100_000}] * 59 + [{"TITLE": "x" * LARGEST_EVENT}])

    with pytest.raises(AirflowFailException, match="too many for .* triggerer.* deferrable=False"):
        run_task(Bitrix24Operator(task_id="ask", deferrable=True, **arguments))
    assert len(str(run_task(Bitrix24Operator(task_id="ask", **arguments)))) > LARGEST_EVENT


def test_a_list_that_is_too_large_for_a_triggerer_is_not_read_to_its_end(portal, run_task):
    portal.add_records("lead", [{"TITLE": "x" * 1000}] * 20_000)

    with pytest.raises(AirflowFailException, match="too many"):
        run_task(Bitrix24Operator(task_id="ask", deferrable=True, method="crm.lead.list", limit=20_000))
    assert len(portal.requests) <= 4


def test_a_worker_makes_the_calls_that_a_triggerer_has_no_connection_for(
    portal, run_task, monkeypatch, deferred
):
    async def no_connection(self):
        raise AirflowNotFoundException("The conn_id isn't defined")

    monkeypatch.setattr(Bitrix24Hook, "get_async_conn", no_connection)
    task = Bitrix24Operator(task_id="ask", deferrable=True, method="profile")

    assert run_task(task)["ID"] == "1"
    assert len(deferred) == len(portal.requests) == 1


def test_a_try_that_no_triggerer_takes_ends():
    task = Bitrix24Operator(task_id="ask", deferrable=True, method="profile")
    ti = SimpleNamespace(dag_id="dag", run_id="run", task_id="ask", map_index=-1)
    with pytest.raises(TaskDeferred) as deferral:
        task.execute({"ti": ti})
    assert deferral.value.timeout == dt.timedelta(hours=1)


def test_no_parameter_is_in_what_a_trigger_shows(run_task, deferred):
    run_task(
        Bitrix24Operator(
            task_id="ask", deferrable=True, method="user.get", parameters={"FILTER": {"NAME": "s3cr3t"}}
        )
    )
    assert "user.get" in repr(deferred[0])
    assert "s3cr3t" not in repr(deferred[0])


REFS = {
    "objects": (Ref("lead"), Ref("got", "TITLE")),
    "text": ({"$result": ["lead"]}, {"$result": ["got", "TITLE"]}),
}


@pytest.mark.parametrize("written", REFS)
@pytest.mark.parametrize("creates", [True, False])
def test_calls_may_use_the_results_of_others(portal, run, deferrable, deferred, written, creates):
    portal.add_records("lead", 1)
    lead, title = REFS[written]
    first = ("crm.lead.add", {"fields": {"TITLE": "lead 1"}}) if creates else ("sandbox.echo", {"ID": 1})
    calls = [
        {"name": "lead", "method": first[0], "params": first[1]},
        {"name": "got", "method": "crm.lead.get", "params": {"ID": lead if creates else Ref("lead", "ID")}},
        ("sandbox.echo", {"title": [title]}),
    ]

    results = run(calls=calls)

    assert results[2] == {"title": ["lead 1"]}
    assert len(portal.requests) == 1
    assert len(deferred) == (deferrable and not creates)


@pytest.mark.parametrize("as_json", [False, True])
def test_a_template_may_give_calls_that_use_results(run, as_json):
    calls = [
        {"name": "one", "method": "sandbox.echo", "params": {"n": "1"}},
        {"method": "sandbox.echo", "params": {"n": {"$result": ["one", "n"]}}},
    ]
    template = "{{ dag_run.conf['calls'] | tojson }}" if as_json else "{{ dag_run.conf['calls'] }}"
    assert [result["n"] for result in run({"calls": calls}, calls=template)] == ["1", "1"]


@pytest.mark.parametrize("ref", [["nobody"], [], [7], ["one", "a b"]])
def test_a_reference_to_nothing_is_refused_and_nothing_sent(portal, run, ref):
    with pytest.raises(AirflowFailException, match="refers to|Ref takes"):
        run(calls=[("profile", {}), ("sandbox.echo", {"n": {"$result": ref}})])
    assert portal.requests == []


def test_what_a_whole_batch_is_refused_for_is_said_of_each_call_by_its_own_name(portal, run):
    portal.faults.add(AnswerStatus(403, "insufficient_scope"), method="batch")
    with pytest.raises(AirflowFailException) as caught:
        run(calls=[("crm.lead.get", {"ID": 1}), ("user.get", {})])
    first, second = str(caught.value).splitlines()[1:]
    assert first.startswith("calls[0]: crm.lead.get at ")
    assert second.startswith("calls[1]: user.get at ")


def test_a_call_whose_needed_call_failed_is_named_with_the_reason(run):
    with pytest.raises(AirflowFailException, match=r"calls\[1\]: .*Not called: it needs the result of 'one'"):
        run(
            calls=[
                {"name": "one", "method": "sandbox.nothing"},
                ("crm.lead.add", {"fields": {"TITLE": Ref("one")}}),
            ]
        )


def test_a_file_is_a_parameter(portal, run, deferred, tmp_path):
    path = tmp_path / "offer.txt"
    path.write_bytes(b"abc")
    run(
        method="disk.folder.uploadfile",
        parameters={"id": 1, "data": {"NAME": "{{ dag_run.conf.name }}"}, "fileContent": File(path)},
        conf={"name": "mine.txt"},
    )
    assert [(file.name, file.data) for file in portal.disk.files] == [("mine.txt", b"abc")]
    assert deferred == []


def test_parameters_too_large_for_a_triggerer_are_sent_by_the_worker(portal, run_task, deferred):
    task = Bitrix24Operator(
        task_id="ask",
        deferrable=True,
        method="sandbox.echo",
        parameters={"file": File(bytes(LARGEST_EVENT), "zeros")},
        repeatable=True,
    )
    assert run_task(task)["file"][0] == "zeros"
    assert deferred == []


FIELDS = {"title": "Report", "creatorId": 1, "responsibleId": 1}


class TestRest3:
    @pytest.fixture
    def impatient(self, monkeypatch):
        """Nobody repeats within a try: what the next try does is what the test is about."""
        monkeypatch.setattr("airflow_provider_b24.rest.Patience", lambda: Patience(attempts=1))

    @staticmethod
    def task(task_id="make", **arguments):
        arguments = {"method": "tasks.task.add", "parameters": {"fields": FIELDS}, "api": "v3"} | arguments
        return Bitrix24Operator(task_id=task_id, **arguments)

    def test_a_retry_after_a_lost_answer_creates_nothing_twice(self, portal, run_task, impatient):
        portal.faults.add(DropConnection(after_work=True), method="tasks.task.add")
        with pytest.raises(TransportError) as caught:
            run_task(self.task())
        assert caught.value.retryable

        assert run_task(self.task(), try_number=2)["item"]["id"] == 1
        assert len(portal.records("task")) == 1

    def test_with_the_old_api_it_is_not_left_to_a_retry(self, portal, run_task, impatient):
        portal.faults.add(DropConnection(after_work=True), method="crm.lead.add")
        with pytest.raises(AirflowFailException):
            run_task(Bitrix24Operator(task_id="make", method="crm.lead.add", parameters={"fields": {}}))

    def test_other_tasks_and_other_calls_are_other_calls(self, portal, run_task):
        run_task(self.task("one"))
        run_task(self.task("two"))
        both = [("tasks.task.add", {"fields": FIELDS})] * 2
        for try_number in (1, 2):
            run_task(self.task("both", method=None, parameters=None, calls=both), try_number=try_number)
        assert len(portal.records("task")) == 4

    def test_a_key_of_ones_own_is_a_template_and_makes_tasks_one(self, portal, run_task):
        for task_id in ("one", "two"):
            run_task(self.task(task_id, idempotency_key="order-{{ dag_run.conf.order }}"), conf={"order": 7})
        assert len(portal.records("task")) == 1
        assert {request.headers["idempotency-key"] for request in portal.requests} == {"order-7"}

    def test_calls_that_read_carry_none(self, portal, run_task):
        run_task(self.task(method="tasks.task.list", parameters={}))
        assert "idempotency-key" not in portal.requests[0].headers

    def test_updates_share_requests_among_several_calls_and_have_a_key_alone(self, portal, run_task):
        portal.add_records("task", 2)
        params = [{"id": number, "fields": {"title": "new"}} for number in (1, 2)]
        calls = [("tasks.task.update", one) for one in params]
        run_task(self.task("both", method=None, parameters=None, calls=calls))
        run_task(self.task("one", method="tasks.task.update", parameters=params[0]))
        assert [request.method for request in portal.requests] == ["batch", "tasks.task.update"]
        assert ["idempotency-key" in request.headers for request in portal.requests] == [False, True]

    def test_parameters_that_change_between_tries_are_an_error_that_says_so(self, portal, run_task):
        run_task(self.task())
        with pytest.raises(AirflowFailException, match="take another key"):
            run_task(self.task(parameters={"fields": {**FIELDS, "title": "Later"}}), try_number=2)

    def test_a_list_is_read(self, portal, run_task):
        portal.add_records("task", 120)
        rows = run_task(self.task(method="tasks.task.list", parameters={}, limit=70))
        assert [row["id"] for row in rows] == list(range(1, 71))

    @pytest.mark.parametrize(
        ("arguments", "reason"),
        [
            ({"api": "v1"}, "'v2' or 'v3'"),
            ({"api": "v2", "idempotency_key": "k"}, "REST 3.0"),
            ({"idempotency_key": "k", "limit": 5}, "REST 3.0"),
            ({"method": None, "parameters": None, "calls": [], "idempotency_key": "k"}, "belong to method"),
        ],
    )
    def test_arguments_that_contradict_each_other_are_refused(self, arguments, reason):
        with pytest.raises(ValueError, match=reason):
            self.task(**arguments)

    @pytest.mark.parametrize("rendered", ["", "None", "a b"])
    def test_a_rendered_key_that_is_none_is_refused_and_nothing_is_sent(self, portal, run_task, rendered):
        with pytest.raises(AirflowFailException, match="idempotency.key"):
            run_task(self.task(idempotency_key="{{ dag_run.conf.text }}"), conf={"text": rendered})
        assert portal.requests == []

    def test_what_only_reads_is_asked_from_the_triggerer_with_types_as_they_are(
        self, portal, run_task, deferred
    ):
        portal.add_records("task", 120)
        arguments = {"parameters": None, "deferrable": True}
        rows = run_task(self.task("rows", **arguments, method="tasks.task.list", limit=70))
        [one, other] = run_task(
            self.task(
                "both",
                **arguments,
                method=None,
                calls=[("tasks.task.get", {"id": 1}), ("tasks.task.get", {"id": 2})],
            )
        )
        single = run_task(self.task("one", **arguments | {"parameters": {"id": 3}}, method="tasks.task.get"))

        assert [row["id"] for row in rows] == list(range(1, 71))
        assert [found["item"]["id"] for found in (one, other, single)] == [1, 2, 3]
        assert len(deferred) == 3
