"""What Airflow finds when it loads the plugin."""

from __future__ import annotations

import json
import subprocess
import sys
from types import SimpleNamespace

import pytest
from airflow.plugins_manager import AirflowPlugin, integrate_macros_plugins
from airflow.sdk.execution_time import macros
from jinja2 import Environment

from airflow_provider_b24.plugin import Bitrix24Plugin


def test_it_is_a_plugin_for_airflow():
    Bitrix24Plugin.validate()
    assert issubclass(Bitrix24Plugin, AirflowPlugin)
    assert Bitrix24Plugin.name == "bitrix24"


def test_templates_find_the_macro_under_the_plugins_name(monkeypatch):
    monkeypatch.setenv("AIRFLOW__API__BASE_URL", "https://airflow.example.com/")
    monkeypatch.setenv(
        "AIRFLOW_CONN_BITRIX24_DEFAULT",
        json.dumps(
            {"conn_type": "bitrix24", "host": "example.bitrix24.com", "login": "1", "password": "code"}
        ),
    )
    integrate_macros_plugins()
    ti = SimpleNamespace(dag_id="d", run_id="r", task_id="t", map_index=-1)
    ti.get_template_context = lambda: {"ti": ti, "dag": None, "dag_run": SimpleNamespace(conf=None)}
    url = Environment().from_string("{{ macros.bitrix24.result_url(ti) }}").render(macros=macros, ti=ti)
    assert url.startswith("https://airflow.example.com/bitrix24/results/")


def test_receiver_and_pages_are_mounted_once_and_apart():
    first, second = Bitrix24Plugin.fastapi_apps, Bitrix24Plugin().fastapi_apps
    assert [app["url_prefix"] for app in first] == ["/bitrix24", "/bitrix24-pages"]
    assert first[0]["app"] is second[0]["app"]


def test_a_worker_that_loads_the_plugin_does_not_pay_for_the_receiver():
    code = (
        "import sys; import airflow.sdk; there = set(sys.modules); import airflow_provider_b24.plugin; "
        "print([m for m in sys.modules if m.startswith('airflow_provider_b24.receiver.') "
        "or m == 'fastapi' and m not in there])"  # Airflow 3.0 imports it itself
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


def test_the_work_on_calls_is_a_middleware_of_the_api_server():
    from airflow_provider_b24.receiver.serving import ServingWithTheServer

    [entry] = Bitrix24Plugin.fastapi_root_middlewares
    assert entry["middleware"] is ServingWithTheServer


@pytest.mark.parametrize(("where", "dispatches"), [(None, True), ("api_server", True), ("command", False)])
def test_the_api_server_is_the_dispatcher_where_no_command_is(monkeypatch, where, dispatches):
    if where is not None:
        monkeypatch.setenv("AIRFLOW__BITRIX24__DISPATCHER", where)
    [entry] = Bitrix24Plugin.fastapi_root_middlewares
    serving = entry["kwargs"]["serving"]()
    assert (serving._dispatcher is not None) == dispatches
