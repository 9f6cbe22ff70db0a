"""``airflow-b24 doctor`` on the portal: tokens, permissions, tariff, and the way back from there."""

from __future__ import annotations

from typing import Any

import pytest

from airflow_provider_b24.sandbox import AnswerHtml, SandboxPortal


def verdicts(findings: dict[str, Any]) -> dict[str, str]:
    return {check: finding.verdict for check, finding in findings.items()}


def test_only_an_event_of_the_portal_shows_the_way_back(installed, findings, bitrix):
    installed()
    before = findings()["way back"]
    assert before.verdict == "unknown"
    assert "--round-trip" in before.advice
    assert findings(round_trip=True)["way back"].verdict == "ok"
    assert findings()["way back"].what.startswith("A test event of the portal arrived at")
    assert len(bitrix.event_calls) == 2


def test_a_way_back_that_is_closed(installed, findings, monkeypatch):
    installed()
    monkeypatch.setenv("AIRFLOW__BITRIX24__RECEIVER_URL", "http://127.0.0.1:9")
    found = findings(round_trip=True, patience=0.5)
    assert (found["receiver"].verdict, found["way back"].verdict) == ("failed", "failed")
    assert "Check from outside" in found["way back"].advice
    assert found["uninstall notice"].verdict == "warning"


def test_a_connection_without_tokens(connect, findings, served):
    connect()
    found = findings()
    assert verdicts(found) == {
        "Airflow": "ok",
        "database": "warning",
        "scheduler": "ok",
        "DAG processor": "ok",
        "triggerer": "ok",
        "examples": "ok",
        "connection": "ok",
        "address": "unknown",
        "credentials": "failed",
        "scopes": "unknown",
        "administrator": "unknown",
        "application": "unknown",
        "proof of origin": "failed",
        "uninstall notice": "unknown",
        "receiver address": "ok",
        "receiver": "ok",
        "way back": "unknown",
        "clock": "unknown",
        "limits": "unknown",
        "robots": "unknown",
        "robot DAGs": "ok",
        "tables": "ok",
        "dispatcher": "ok",
        "time limits": "ok",
        "waiting calls": "ok",
        "refused posts": "ok",
        "spool": "warning",
    }
    assert "airflow-b24 connect crm" in found["credentials"].advice
    assert "application_token" in found["proof of origin"].what


def test_an_uninstalled_application(installed, findings, bitrix, served):
    installed()
    bitrix.send_uninstall_event(f"{served}/crm/events").wait()
    found = findings()
    assert found["credentials"].verdict == "failed"
    assert "was uninstalled" in found["credentials"].what


def test_a_portal_that_does_not_answer(connect, findings):
    connect(host="http://127.0.0.1:9", access_token="a", refresh_token="r")
    found = findings()
    assert found["address"].verdict == "failed"
    assert "this machine can reach it" in found["address"].advice
    assert found["credentials"].verdict == "unknown"


def test_an_address_that_is_no_portals(installed, findings, bitrix):
    installed()
    bitrix.faults.add(AnswerHtml(404), times=None)
    assert findings()["address"].verdict == "failed"


def test_a_portal_that_has_moved(installed, findings, bitrix, airflow_session):
    installed(trusted_hosts="127.0.0.1")
    with SandboxPortal() as new:
        bitrix.move_to(new)
        found = findings()["address"]
        assert found.verdict == "warning"
        assert new.host in found.advice
        bitrix.move_to(None)


def test_credentials_that_are_not_accepted(installed, findings, bitrix):
    installed()
    bitrix.application.installed = False
    found = findings()
    assert found["address"].verdict == "ok"
    assert found["credentials"].verdict == "failed"


def test_a_missing_permission(installed, findings, bitrix):
    installed()
    bitrix.application.scope = ("crm", "user")
    found = findings()
    assert found["scopes"].verdict == "failed"
    assert "bizproc" in found["scopes"].what
    assert found["robots"].verdict == "failed"


def test_a_user_who_is_no_administrator(installed, findings, bitrix):
    installed()
    bitrix.callers.users[1].admin = False
    found = findings()
    assert found["administrator"].verdict == "failed"
    assert "administrator" in found["administrator"].advice


def test_a_period_that_is_over(installed, findings, bitrix):
    installed()
    bitrix.application.paid = False
    assert findings()["application"].verdict == "failed"


def test_an_installation_that_is_not_finished(installed, findings, bitrix):
    installed()
    bitrix.application.finished = False
    found = findings()["application"]
    assert found.verdict == "failed"
    assert "Open the application in Bitrix24" in found.advice


def test_a_webhook(connect, findings, bitrix, served):
    connect(host=bitrix.webhook.url, client_id=None)
    found = findings(round_trip=True)
    assert found["credentials"].verdict == "ok"
    assert found["application"].verdict == "warning"
    assert found["proof of origin"].verdict == "failed"
    assert [found[check].verdict for check in ("uninstall notice", "way back", "robots")] == ["unknown"] * 3
    assert bitrix.webhook.code not in repr(found)


def test_a_webhook_that_is_wrong(connect, findings, bitrix, served):
    connect(host=f"{bitrix.url}/rest/1/wrongcode/", client_id=None)
    found = findings()
    assert found["credentials"].verdict == "failed"
    assert "new incoming webhook" in found["credentials"].advice
    assert "wrongcode" not in repr(found)


def test_a_proof_of_origin_by_half(connect, findings, bitrix):
    pair = bitrix.application.issue_tokens()
    connect(
        access_token=pair.access_token,
        refresh_token=pair.refresh_token,
        application_token="the-application-token",
    )
    found = findings()["proof of origin"]
    assert found.verdict == "warning"
    assert "member_id" in found.what


@pytest.mark.parametrize(("seconds", "verdict"), [(0, "ok"), (30, "warning"), (300, "failed")])
def test_a_clock_that_is_wrong(installed, findings, bitrix, seconds, verdict):
    installed()
    bitrix.clock.advance(seconds)
    found = findings()["clock"]
    assert found.verdict == verdict
    assert ("NTP" in found.advice) == (verdict != "ok")


def test_a_method_that_will_be_closed(installed, findings, bitrix):
    installed()
    bitrix.operating_costs["scope"] = 400.0
    found = findings()["limits"]
    assert found.verdict == "warning"
    assert "scope" in found.what


@pytest.mark.parametrize("tariff", ["standard", "enterprise"])
def test_a_tariff_that_the_portal_does_not_have(bitrix, installed, findings, tariff):
    bitrix.tariff = "standard" if tariff == "enterprise" else "enterprise"
    installed(tariff=tariff)
    found = findings()["limits"]
    assert found.verdict == "warning"
    assert f"Set tariff to {bitrix.tariff}" in found.advice
