"""The command `airflow-b24`: what it understands, how it fails, and that it starts at once."""

import os
import re
import socket
import subprocess
import sys

import pytest

from airflow_provider_b24 import __version__, cli


def test_help_names_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        cli.main(["--help"])

    assert ended.value.code == 0
    text = capsys.readouterr().out
    assert all(
        re.search(rf"^\s+{command}\b", text, re.MULTILINE)
        for command in ("robots", "connect", "doctor", "sandbox", "demo")
    )


def test_the_version_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        cli.main(["--version"])

    assert (ended.value.code, capsys.readouterr().out) == (0, f"airflow-provider-b24 {__version__}\n")


@pytest.mark.parametrize(
    ("command", "package"), [(["sandbox", "--https"], "cryptography"), (["calls"], "sqlalchemy.exc")]
)
def test_a_package_that_is_missing_is_named(
    command: list[str], package: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, package, None)

    assert cli.main(command) == 1

    said = capsys.readouterr().err
    assert f"`airflow-b24 {command[0]}` needs the Python package {package}" in said
    assert "pip install airflow-provider-b24" in said


@pytest.mark.parametrize("command", [None, "robots", "calls", "dispatcher", "connect", "doctor", "sandbox"])
def test_help_does_not_import_airflow_or_a_web_server(command: str | None) -> None:
    program = (
        "import sys; from airflow_provider_b24.cli import main\n"
        f"try: main({[*filter(None, [command]), '--help']})\n"
        "except SystemExit: pass\n"
        "print(sorted({'airflow', 'fastapi', 'requests', 'httpx', 'rich'} & set(sys.modules)))"
    )

    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)

    assert done.stdout.splitlines()[-1] == "[]"


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ([], "COMMAND"),
        (["robot"], "robot"),
        (["sandbox", "--port", "70000"], "'70000' is no port"),
        (["sandbox", "--port", "-1"], "--port"),
        (["sandbox", "--tariff", "free"], "free"),
        (["sandbox", "--answers", "guess"], "guess"),
        (["robots"], "COMMAND"),
    ],
)
def test_a_command_line_that_makes_no_sense_is_refused_with_the_reason(
    arguments: list[str], complaint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        cli.main(arguments)

    assert ended.value.code == 2
    assert complaint in capsys.readouterr().err


def test_a_port_that_is_taken_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]

        code = cli.main(["sandbox", "--port", str(port)])

    assert code == 1
    assert f"127.0.0.1:{port}" in capsys.readouterr().err


def test_a_reader_that_has_gone_away_is_no_traceback() -> None:
    program = f"{sys.executable} -m airflow_provider_b24.cli --help | true"

    done = subprocess.run(
        ["sh", "-c", program], capture_output=True, text=True, check=False, env=dict(os.environ)
    )

    assert "Traceback" not in done.stderr
