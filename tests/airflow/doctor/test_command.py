"""``airflow-b24 doctor``: what it prints, and how it ends."""

from __future__ import annotations

import json
from typing import Any

from airflow_provider_b24 import cli
from airflow_provider_b24.doctor.command import CHECKS


def verdicts(findings: dict[str, Any]) -> dict[str, str]:
    return {check: finding.verdict for check, finding in findings.items()}


def test_a_good_installation_is_found_good(installed, findings, nothing_leaks):
    installed()
    found = findings(round_trip=True)
    assert len(found) == len(CHECKS) + 7
    nothing_leaks(repr(found))
    # The tests' own: a SQLite database, and a spool among the temporary files.
    assert (found.pop("database").verdict, found.pop("spool").verdict) == ("warning", "warning")
    assert set(verdicts(found).values()) == {"ok"}, found
    assert all(not finding.advice for finding in found.values())


def test_a_connection_that_cannot_be_used(connect, findings):
    connect(client_secret=None)
    finding = list(findings().values())[-1]
    assert finding.check == "connection"
    assert finding.verdict == "failed"
    assert "client_secret is missing" in finding.what


def test_the_command_fails_when_something_failed(connect, dags_folder, capsys):
    connect()
    assert cli.main(["doctor", "crm", "--dags-folder", str(dags_folder)]) == 1
    printed = capsys.readouterr().out
    assert "failed" in printed
    assert "→ Install the application in Bitrix24" in printed
    assert cli.main(["doctor", "nobody"]) == 1


def test_the_command_succeeds_with_warnings(installed, dags_folder, capsys, write_robot):
    installed()
    write_robot()
    assert cli.main(["doctor", "crm", "--dags-folder", str(dags_folder), "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert (report["connection"], report["healthy"]) == ("crm", True)
    assert [set(finding) for finding in report["findings"]] == [{"check", "verdict", "what", "advice"}] * len(
        report["findings"]
    )
    assert {finding["check"]: finding["verdict"] for finding in report["findings"]}["robots"] == "warning"
