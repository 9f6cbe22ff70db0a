"""`airflow-b24 sandbox` as a user meets it."""

import json
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import requests

COMMAND = [sys.executable, "-m", "airflow_provider_b24.cli"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_sandbox_tells_how_to_connect_and_ends_when_asked(number: signal.Signals, tmp_path: Path) -> None:
    output = tmp_path / "output"
    with output.open("wb") as sink:
        running = subprocess.Popen([*COMMAND, "sandbox"], stdout=sink, stderr=subprocess.STDOUT)
    try:
        text = read_until(output, "curl")
        connection = json.loads(re.search(r"export AIRFLOW_CONN_BITRIX24_DEFAULT='(.+)'", text)[1])
        webhook = re.search(r"http\S+/rest/\S+", text)[0]
        profile = requests.get(f"{webhook}profile", timeout=10).json()
    finally:
        running.send_signal(number)
        code = running.wait(10)

    assert profile["result"]["ADMIN"]
    assert webhook.startswith(connection["host"])
    assert {"client_id", "client_secret", "refresh_token", "member_id", "application_token"} <= set(
        connection["extra"]
    )
    assert code == 0
    assert "Traceback" not in output.read_text()


def read_until(file: Path, text: str) -> str:
    deadline = time.monotonic() + 20
    while text not in file.read_text():
        assert time.monotonic() < deadline, file.read_text()
        time.sleep(0.05)
    return file.read_text()


def test_the_printed_connection_is_one_the_hook_understands(monkeypatch: pytest.MonkeyPatch) -> None:
    from airflow_provider_b24.hooks.connection import PortalConnection
    from airflow_provider_b24.sandbox import SandboxPortal
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
