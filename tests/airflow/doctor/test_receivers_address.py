"""``airflow-b24 doctor`` on the address that the portal is told to call."""

from __future__ import annotations

import pytest


@pytest.mark.parametrize(
    ("url", "verdict"),
    [
        ("http://airflow.example.com/bitrix24", "failed"),
        ("https://no-such-host.invalid/bitrix24", "failed"),
        ("https://10.0.0.1/bitrix24", "warning"),
        ("https://8.8.8.8/bitrix24", "ok"),
        ("http://localhost:1/bitrix24", "ok"),  # the portal is on this machine, too
    ],
)
def test_the_receivers_address(connect, findings, monkeypatch, url, verdict):
    connect()
    monkeypatch.setenv("AIRFLOW__BITRIX24__RECEIVER_URL", url)
    monkeypatch.setattr("airflow_provider_b24.doctor.receiver_checks._SECONDS", 0.2)
    assert findings()["receiver address"].verdict == verdict


def test_a_receiver_on_this_machine_for_a_portal_that_is_not(connect, findings, monkeypatch):
    connect(host="https://portal.invalid")
    monkeypatch.setenv("AIRFLOW__BITRIX24__RECEIVER_URL", "http://localhost:8080/bitrix24")
    assert findings()["receiver address"].verdict == "failed"


def test_an_airflow_that_does_not_know_its_address(connect, findings, monkeypatch):
    connect()
    monkeypatch.delenv("AIRFLOW__API__BASE_URL")
    found = findings()
    assert found["receiver address"].verdict == "failed"
    assert found["receiver"].verdict == "unknown"


def test_something_else_at_the_receivers_address(connect, findings, bitrix, monkeypatch):
    connect()
    monkeypatch.setenv("AIRFLOW__BITRIX24__RECEIVER_URL", bitrix.url)
    found = findings()["receiver"]
    assert found.verdict == "failed"
    assert "passes /bitrix24 on" in found.advice
