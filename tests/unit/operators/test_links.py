"""The links on a task in Airflow's UI."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from airflow_provider_b24.operators.bizproc import BizprocEventSendOperator

KEY = SimpleNamespace(dag_id="score lead", run_id="bitrix24__1")


@pytest.mark.parametrize(
    ("base_url", "path"),
    [("https://airflow.example.com", ""), ("https://example.com/airflow/", "/airflow"), ("", "")],
)
def test_they_lead_to_the_pages_of_the_call(monkeypatch, base_url, path):
    monkeypatch.setenv("AIRFLOW__API__BASE_URL", base_url)
    task = BizprocEventSendOperator(task_id="answer")
    links = {link.name: link.get_link(task, ti_key=KEY) for link in task.operator_extra_links}
    assert links == {
        "The call": f"{path}/bitrix24-pages/run?dag_id=score+lead&run_id=bitrix24__1",
        "Open in Bitrix24": f"{path}/bitrix24-pages/document?dag_id=score+lead&run_id=bitrix24__1",
    }
