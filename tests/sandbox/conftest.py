"""A portal for each test that speaks HTTP, and tasks that run against it in every mode."""

import asyncio
import copy
import json
from types import SimpleNamespace

import pytest
import requests
from airflow.providers.common.compat.sdk import TaskDeferred, timezone

from airflow_provider_b24.sandbox import CallRobot, Finish, SandboxPortal, SetField


@pytest.fixture
def portal():
    with SandboxPortal() as portal:
        yield portal


@pytest.fixture
def webhook_connection(portal, monkeypatch):
    """The connection ``bitrix24_default``, an incoming webhook of the portal."""
    monkeypatch.setenv(
        "AIRFLOW_CONN_BITRIX24_DEFAULT",
        json.dumps({"conn_type": "bitrix24", "host": portal.webhook.url}),
    )
    return "bitrix24_default"


@pytest.fixture
def application_connection(portal, monkeypatch):
    """The connection ``bitrix24_default``, an OAuth application of the portal whose user is an administrator."""
    application = portal.application
    extra = {
        "client_id": application.client_id,
        "client_secret": application.client_secret,
        "access_token": application.access_token,
        "refresh_token": application.refresh_token,
        "oauth_server": portal.url,
    }
    monkeypatch.setenv(
        "AIRFLOW_CONN_BITRIX24_DEFAULT",
        json.dumps({"conn_type": "bitrix24", "host": portal.url, "extra": extra}),
    )
    # Nothing is stored: no tokens rotated so far, no installation.
    monkeypatch.setenv("AIRFLOW_VAR_BITRIX24_TOKENS_BITRIX24_DEFAULT", "")
    monkeypatch.setenv("AIRFLOW_VAR_BITRIX24_INSTALLATION_BITRIX24_DEFAULT", "")
    return "bitrix24_default"


@pytest.fixture
def waiting_process(portal):
    """A process whose robot has called and that now waits; nobody was there to take the call."""
    requests.post(
        f"{portal.url}/rest/bizproc.robot.add",
        json={
            "CODE": "score",
            "HANDLER": "http://127.0.0.1:9/nobody",
            "NAME": "Score",
            "USE_SUBSCRIPTION": "Y",
            "RETURN_PROPERTIES": {"score": {"Name": "Score"}, "seen": {"Name": "Seen", "Multiple": "Y"}},
            "auth": portal.application.access_token,
        },
        timeout=10,
    ).raise_for_status()
    process = portal.start_process(
        [CallRobot("score", name="A1"), SetField("SCORE", "{=A1:score}"), Finish()]
    )
    assert process.waiting_for
    return process


@pytest.fixture
def xcoms(monkeypatch):
    """XComs in memory: outside a worker and a triggerer there is nobody who keeps them."""
    from airflow.sdk.bases.xcom import BaseXCom

    kept = {}

    def place(key, dag_id, task_id, run_id, map_index):
        return (dag_id, run_id, task_id, map_index, key)

    monkeypatch.setattr(BaseXCom, "get_one", lambda key, **task: kept.get(place(key, **task)))
    monkeypatch.setattr(
        BaseXCom, "set", lambda key, value, **task: kept.__setitem__(place(key, **task), value)
    )
    monkeypatch.setattr(BaseXCom, "delete", lambda key, **task: kept.pop(place(key, **task), None))
    return kept


@pytest.fixture
def try_memory(request):
    """What one try leaves for the next: ``state store`` as Airflow has it since 3.3, or ``xcom keys`` as before."""
    return getattr(request, "param", "state store")


@pytest.fixture
def run_task(xcoms, try_memory):
    """Run a task as a worker would, and its triggers as a triggerer would, arguments serialized in between."""

    first_runs, stores = {}, {}

    def run(operator, *, try_number=1, conf=None, has_triggerer=True):
        first_run = first_runs.setdefault(operator.task_id, timezone.utcnow())
        left = [place for place in xcoms if place[:4] == ("dag", "run", operator.task_id, -1)]
        for place in left:  # Airflow names them to the task that starts, and deletes them
            del xcoms[place]
        ti = SimpleNamespace(
            dag_id="dag",
            task_id=operator.task_id,
            run_id="run",
            map_index=-1,
            try_number=try_number,
            get_first_reschedule_date=lambda context: first_run,
            _ti_context_from_server=SimpleNamespace(xcom_keys_to_clear=[key for *_, key in left]),
        )
        context = {"ti": ti, "task_instance": ti, "dag_run": SimpleNamespace(conf=conf or {}), "params": {}}
        if try_memory == "state store":
            context["task_state_store"] = stores.setdefault(operator.task_id, StateStore())
        as_written = copy.copy(operator)
        operator.render_template_fields(context)
        try:
            return operator.execute(context)
        except TaskDeferred as deferral:
            while True:
                method, kwargs = deferral.method_name, deferral.kwargs or {}
                try:
                    if has_triggerer:
                        kwargs = kwargs | {"event": asyncio.run(first_event(deferral.trigger))}
                    else:
                        method, kwargs = "__fail__", {"error": "Trigger timeout"}
                except OSError:
                    method, kwargs = "__fail__", {"error": "Trigger failure"}
                try:
                    return rendered(as_written, context).resume_execution(method, kwargs, context)
                except TaskDeferred as again:
                    deferral = again

    return run


def rendered(operator, context):
    """What another worker makes of a task that resumes."""
    task = copy.copy(operator)
    task.render_template_fields(context)
    return task


class StateStore(dict):
    """The part of Airflow's task state store that is used."""

    def set(self, key, value, *, retention=None):
        self[key] = value

    def delete(self, key):
        self.pop(key, None)


async def first_event(trigger):
    async for event in rebuilt(trigger).run():
        return json.loads(json.dumps(event.payload))
    raise AssertionError("The trigger ended without an event")


def rebuilt(trigger):
    """What another process makes of a trigger."""
    _, arguments = trigger.serialize()
    return type(trigger)(**json.loads(json.dumps(arguments)))


@pytest.fixture(params=[False, True], ids=["sync", "deferrable"])
def deferrable(request):
    return request.param


@pytest.fixture
def impatient(monkeypatch):
    """Hooks that give up after a moment: how long they try is not what the test is about."""
    from airflow_provider_b24.hooks.bitrix24 import Bitrix24Hook
    from airflow_provider_b24.rest import Patience

    usual = Bitrix24Hook._client_options
    monkeypatch.setattr(
        Bitrix24Hook,
        "_client_options",
        lambda hook, connection: (
            usual(hook, connection) | {"patience": Patience(attempts=2, lock_attempts=2, first_delay=0.01)}
        ),
    )


@pytest.fixture(autouse=True)
def _no_settling(monkeypatch):
    """Nothing resumes tasks too early here: there is no scheduler that could mind."""
    monkeypatch.setattr("airflow_provider_b24.triggers._settling.SETTLING_SECONDS", 0.0)
