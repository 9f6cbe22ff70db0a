"""`airflow-b24 sandbox` as a user meets it."""

import json
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import requests

from airflow_provider_b24 import cli
from airflow_provider_b24.sandbox import CallRobot, SandboxPortal

COMMAND = [sys.executable, "-m", "airflow_provider_b24.cli"]


COMMAND_IN_THE_BACKGROUND = [
    # What a shell starts in the background ignores SIGINT from its first moment.
    sys.executable,
    "-c",
    "import os, signal, sys; signal.signal(signal.SIGINT, signal.SIG_IGN); os.execv(sys.argv[1], sys.argv[1:])",
    *COMMAND,
]


@pytest.mark.parametrize("command", [COMMAND, COMMAND_IN_THE_BACKGROUND], ids=["foreground", "background"])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_sandbox_tells_how_to_connect_and_ends_when_asked(
    number: signal.Signals, command: list[str], tmp_path: Path
) -> None:
    output = tmp_path / "output"
    with output.open("wb") as sink:
        running = subprocess.Popen([*command, "sandbox"], stdout=sink, stderr=subprocess.STDOUT)
    try:
        text = read_until(output, "curl")
        connection = json.loads(re.search(r"export AIRFLOW_CONN_BITRIX24_DEFAULT='(.+)'", text)[1])
        webhook = re.search(r"http\S+/rest/\S+", text)[0]
        profile = requests.get(f"{webhook}profile", timeout=10).json()
    finally:
        running.send_signal(number)
        try:
            code = running.wait(10)
        finally:
            running.kill()

    assert profile["result"]["ADMIN"]
    assert webhook.startswith(connection["host"])
    assert {"client_id", "client_secret", "refresh_token", "member_id", "application_token"} <= set(
        connection["extra"]
    )
    assert code == 0
    assert "Traceback" not in output.read_text()


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ([], 404),
        (["--answers", "portal"], 404),
        (["--answers", "older-portal"], ""),
        (["--answers", "documentation"], "ACCESS_DENIED"),
    ],
)
def test_an_answer_to_a_process_that_is_over_meets_what_the_command_line_says(
    options: list[str], error: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[object] = []

    def look_and_leave(portal: SandboxPortal, airflow: str) -> None:
        robot = {"CODE": "score", "NAME": "Score", "HANDLER": "http://127.0.0.1:9/", "USE_SUBSCRIPTION": "Y"}
        portal.robot_registry.add("robot", portal.application.client_id, robot)
        token = portal.start_process([CallRobot("score")]).waiting_for
        for _ in range(2):
            answered = requests.post(
                f"{portal.webhook.url}bizproc.event.send", json={"event_token": token}, timeout=10
            )
        said.append(answered.json()["error"])
        signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(cli, "_announce", look_and_leave)
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]

    assert cli.main(["sandbox", *options]) == 0
    assert said == [error]
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before


def read_until(file: Path, text: str) -> str:
    deadline = time.monotonic() + 20
    while text not in file.read_text():
        assert time.monotonic() < deadline, file.read_text()
        time.sleep(0.05)
    return file.read_text()


def test_the_printed_connection_is_one_the_hook_understands(monkeypatch: pytest.MonkeyPatch) -> None:
    from airflow_provider_b24.hooks.connection import PortalConnection
    from airflow_provider_b24.testing.sandbox_connection import (
        as_environment,
        oauth_connection,
        webhook_connection,
    )

    with SandboxPortal() as portal:
        for kind, described in (("oauth", oauth_connection(portal)), ("webhook", webhook_connection(portal))):
            for name, value in as_environment(described, "some_portal").items():
                monkeypatch.setenv(name, value)
            connection = PortalConnection.load("some_portal")
            assert connection.kind == kind
            assert connection.portal_url == portal.url
            assert connection.member_id == portal.member_id
            assert connection.application_token == portal.application.application_token


def run_and_look(
    monkeypatch: pytest.MonkeyPatch, look: Callable[[SandboxPortal], object], *options: str
) -> list[object]:
    """Run the command until somebody has looked at its portal; return what that gave."""
    seen: list[object] = []

    def look_and_leave(portal: SandboxPortal, airflow: str) -> None:
        try:
            seen.append(look(portal))
        finally:
            signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(cli, "_announce", look_and_leave)
    assert cli.main(["sandbox", *options]) == 0
    return seen


def test_each_request_call_and_answer_is_a_line_without_secrets(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def look(portal: SandboxPortal) -> list[str]:
        robot = {
            "CODE": "score",
            "NAME": "Score",
            "HANDLER": "http://127.0.0.1:9/?token=hush",
            "USE_SUBSCRIPTION": "Y",
            "RETURN_PROPERTIES": {"score": {"Name": "Score"}},
        }
        portal.robot_registry.add("robot", portal.application.client_id, robot)
        process = portal.start_process([CallRobot("score")])
        portal.wait_for_call()
        answer = {"event_token": process.waiting_for, "return_values": {"score": "a\nb"}}
        requests.post(f"{portal.webhook.url}bizproc.event.send", json=answer, timeout=10)
        requests.get(f"{portal.webhook.url}crm.planet.list", timeout=10)
        requests.get(f"{portal.url}/rest/profile?auth=wrong-token", timeout=10)
        return [
            portal.webhook.code,
            portal.application.access_token,
            answer["event_token"],
            "hush",
            "wrong-token",
        ]

    (secrets,) = run_and_look(monkeypatch, look)

    lines = [line[10:] for line in capsys.readouterr().out.splitlines()]
    assert [re.split(r" {2,}", line)[0] for line in lines] == [
        "-> robot score",
        "<- answer of A1",
        "POST bizproc.event.send",
        "GET crm.planet.list",
        "GET profile",
    ]
    assert "failed" in lines[0]
    assert "ConnectError" in lines[0]
    assert "webhook of Ada Admin: score='a\\nb'" in lines[1]
    assert "404" in lines[3]
    assert "ERROR_METHOD_NOT_FOUND" in lines[3]
    assert "invalid_token" in lines[4]
    assert [secret for secret in secrets for line in lines if secret in line] == []

    run_and_look(
        monkeypatch, lambda portal: requests.get(f"{portal.webhook.url}profile", timeout=10), "--quiet"
    )
    assert capsys.readouterr().out == ""


def test_credentials_in_a_file_survive_a_restart_also_when_tokens_were_renewed(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    file = tmp_path / "portal.json"

    def renew(portal: SandboxPortal) -> dict[str, str]:
        application = portal.application
        grant = {
            "grant_type": "refresh_token",
            "client_id": application.client_id,
            "client_secret": application.client_secret,
            "refresh_token": application.refresh_token,
        }
        renewed = requests.get(portal.oauth_url, params=grant, timeout=10).json()
        path = portal.webhook.url.removeprefix(portal.url)
        return {"path": path, "member_id": portal.member_id, "access": renewed["access_token"]}

    (first,) = run_and_look(monkeypatch, renew, "--credentials", str(file))
    assert file.stat().st_mode & 0o077 == 0

    def use(portal: SandboxPortal) -> list[int]:
        assert portal.member_id == first["member_id"]
        addresses = (f"{first['path']}profile", f"/rest/profile?auth={first['access']}")
        return [requests.get(portal.url + address, timeout=10).status_code for address in addresses]

    assert run_and_look(monkeypatch, use, "--credentials", str(file)) == [[200, 200]]
    (second,) = run_and_look(monkeypatch, renew, "--credentials", str(file))
    assert second["access"] != first["access"]


def test_a_state_in_a_file_survives_a_restart_and_is_seeded_once(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    seed, file = tmp_path / "seed.json", tmp_path / "portal.db"
    seed.write_text('{"records": {"lead": 2}}')
    options = ["--state", str(file), "--seed", str(seed)]

    def add(portal: SandboxPortal) -> tuple[str, int]:
        requests.post(f"{portal.webhook.url}crm.lead.add", json={"fields": {"TITLE": "third"}}, timeout=10)
        return portal.webhook.code, len(portal.records("lead"))

    ((code, _),) = run_and_look(monkeypatch, add, *options)
    assert run_and_look(monkeypatch, add, *options) == [(code, 4)]

    file.write_text("no state")
    assert cli.main(["sandbox", *options]) == 2
    assert "has no state of a sandbox portal" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        cli.main(["sandbox", "--state", "a", "--credentials", "b"])


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("{", "not JSON"),
        ("[]", "JSON object of member_id"),
        ('{"member_id": "1"}', "JSON object of member_id"),
    ],
)
def test_a_file_without_credentials_is_refused(
    content: str, says: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "portal.json"
    file.write_text(content)
    assert cli.main(["sandbox", "--credentials", str(file)]) == 2
    assert says in capsys.readouterr().err
    assert file.read_text() == content


def test_a_portal_begins_with_the_records_and_automation_of_its_seed(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    file = tmp_path / "seed.json"
    step = {"type": "set_field", "field": "COMMENTS", "value": "won"}
    seed = {
        "records": {"lead": 3, "deal": [{"ID": 7, "TITLE": "Piano"}], "item:147": 1},
        "automations": [{"kind": "deal", "stage": "WON", "steps": [step]}],
        "triggers": [{"code": "paid", "kind": "deal", "stage": "WON"}],
    }
    file.write_text(json.dumps(seed))

    def win(portal: SandboxPortal) -> tuple[int, int, object]:
        for method, params in (
            ("add", {"CODE": "paid", "NAME": "Paid"}),
            ("execute", {"CODE": "paid", "OWNER_TYPE_ID": 2, "OWNER_ID": 7}),
        ):
            url = f"{portal.url}/rest/crm.automation.trigger.{method}"
            requests.post(url, json={**params, "auth": portal.application.access_token}, timeout=10)
        (deal,) = portal.records("deal").rows()
        return len(portal.records("lead")), len(portal.records("item:147")), deal["COMMENTS"]

    assert run_and_look(monkeypatch, win, "--seed", str(file)) == [(3, 1, "won")]


@pytest.mark.parametrize(
    ("seed", "says"),
    [
        ("x", "Invalid JSON"),
        ('{"record": {}}', "record: Extra inputs"),
        ('{"records": {"planet": 1}}', "planet"),
        ('{"records": {"lead": "many"}}', "records.lead"),
        ('{"triggers": [{"code": "paid", "kind": "deal"}]}', "triggers.0.stage"),
        ('{"triggers": [{"code": "paid", "kind": "contact", "stage": "NEW"}]}', "no stages"),
        ('{"automations": [{"kind": "deal", "steps": [{"type": "fly"}]}]}', "step 1"),
    ],
)
def test_a_seed_that_does_not_fit_is_refused(
    seed: str, says: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "seed.json"
    file.write_text(seed)
    assert cli.main(["sandbox", "--seed", str(file)]) == 2
    assert says in capsys.readouterr().err


def test_a_file_that_is_missing_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["sandbox", "--seed", str(tmp_path / "none.json")]) == 1
    assert f"cannot use {tmp_path / 'none.json'}: No such file" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "status", "error"),
    [
        (["--authorization", "documentation"], 401, "NO_AUTH_FOUND"),
        (["--authorization", "portal"], 401, "INVALID_CREDENTIALS"),
        (["--https-required"], 400, "INVALID_REQUEST"),
    ],
)
def test_refusals_follow_the_command_line(
    options: list[str], status: int, error: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def ask(portal: SandboxPortal) -> tuple[int, str]:
        answer = requests.get(f"{portal.url}/rest/1/wrong/profile", timeout=10)
        return answer.status_code, answer.json()["error"]

    assert run_and_look(monkeypatch, ask, *options) == [(status, error)]
