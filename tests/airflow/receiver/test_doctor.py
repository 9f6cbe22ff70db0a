"""``airflow-b24 doctor``: each check finds what it is there for, and says what to do."""

from __future__ import annotations

import json
from typing import Any

import pytest

from airflow_provider_b24 import cli
from airflow_provider_b24.doctor.command import CHECKS, examine
from airflow_provider_b24.sandbox import AnswerHtml, SandboxPortal


@pytest.fixture
def dags_folder(tmp_path):
    folder = tmp_path / "dags"
    folder.mkdir()
    return folder


@pytest.fixture
def installed(bitrix, connect, served):
    """An application that was installed by an event."""

    def install(**extra: Any) -> None:
        connect(**extra)
        assert bitrix.send_install_event(f"{served}/crm/events").wait().status == 200

    return install


@pytest.fixture
def findings(dags_folder):
    """Examine the connection ``crm``."""

    def look(**options: Any) -> dict[str, Any]:
        return {finding.check: finding for finding in examine("crm", dags_folder=dags_folder, **options)}

    return look


def verdicts(findings: dict[str, Any]) -> dict[str, str]:
    return {check: finding.verdict for check, finding in findings.items()}


def test_a_good_installation_is_found_good(installed, findings, nothing_leaks):
    installed()
    found = findings(round_trip=True)
    assert set(verdicts(found).values()) == {"ok"}, found
    assert len(found) == len(CHECKS) + 1
    assert all(not finding.advice for finding in found.values())
    nothing_leaks(repr(found))


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


ROBOT = """
from airflow_provider_b24.robots import robot_dag

@robot_dag(code="{code}", name="A robot", bitrix24_conn_id="crm")
def {code}():
    pass

{code}()
"""


def test_robots_that_are_not_registered(installed, findings, dags_folder, capsys):
    installed()
    (dags_folder / "score.py").write_text(ROBOT.format(code="score"))
    found = findings()["robots"]
    assert (found.verdict, found.what) == ("warning", "Robots: 0 as declared, 1 not registered.")
    assert cli.main(["robots", "apply", "--conn-id", "crm", "--dags-folder", str(dags_folder)]) == 0
    assert findings()["robots"].verdict == "ok"
    (dags_folder / "score.py").unlink()
    assert "1 without a DAG" in findings()["robots"].what


def test_dag_files_that_are_broken(installed, findings, dags_folder):
    installed()
    (dags_folder / "broken.py").write_text("from airflow.sdk import dag\n1 / 0\n")
    found = findings()["robots"]
    assert found.verdict == "failed"
    assert "broken.py" in found.what


def test_a_connection_that_cannot_be_used(connect, findings):
    connect(client_secret=None)
    (finding,) = findings().values()
    assert finding.verdict == "failed"
    assert "client_secret is missing" in finding.what


def test_the_command_fails_when_something_failed(connect, dags_folder, capsys):
    connect()
    assert cli.main(["doctor", "crm", "--dags-folder", str(dags_folder)]) == 1
    printed = capsys.readouterr().out
    assert "failed" in printed
    assert "→ Install the application in Bitrix24" in printed
    assert cli.main(["doctor", "nobody"]) == 1


def test_the_command_succeeds_with_warnings(installed, dags_folder, capsys):
    installed()
    (dags_folder / "score.py").write_text(ROBOT.format(code="score"))
    assert cli.main(["doctor", "crm", "--dags-folder", str(dags_folder), "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert (report["connection"], report["healthy"]) == ("crm", True)
    assert [set(finding) for finding in report["findings"]] == [{"check", "verdict", "what", "advice"}] * len(
        report["findings"]
    )
    assert {finding["check"]: finding["verdict"] for finding in report["findings"]}["robots"] == "warning"
