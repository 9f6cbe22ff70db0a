"""``airflow-b24 connect``: an application is connected from a terminal, against a real database and portal."""

from __future__ import annotations

import io
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest

from airflow_provider_b24 import cli
from airflow_provider_b24.hooks.bitrix24 import Bitrix24Hook
from airflow_provider_b24.installation.command import ConnectError, read_code
from airflow_provider_b24.sandbox import AnswerStatus


class Terminal(io.StringIO):
    """Somebody who reads the address, opens it in a browser, and pastes something."""

    def __init__(self, capsys: Any, paste: Any) -> None:
        super().__init__()
        self._capsys, self._paste = capsys, paste
        self.told = ""

    def readline(self, *_: Any) -> str:
        self.told += self._capsys.readouterr().err
        (address,) = [word for word in self.told.split() if "/oauth/authorize/" in word]
        return f"{self._paste(address)}\n"


@pytest.fixture
def somebody(monkeypatch, capsys):
    """Run the command; when it asks, paste what is made of the address that it tells."""

    def run(paste: Any, *arguments: str) -> tuple[int, str]:
        terminal = Terminal(capsys, paste)
        monkeypatch.setattr("sys.stdin", terminal)
        code = cli.main(["connect", "crm", *arguments])
        captured = capsys.readouterr()
        return code, terminal.told + captured.err + captured.out

    return run


def sent_to(address: str) -> str:
    return httpx.get(address).headers["location"]


def code_of(address: str) -> str:
    return parse_qs(urlsplit(sent_to(address)).query)["code"][0]


def nobody(address: str) -> str:
    raise AssertionError("nobody is asked")


@pytest.mark.parametrize("paste", [sent_to, code_of])
def test_the_code_or_the_whole_address_is_pasted(
    bitrix, connect, served, stored, stored_tokens, somebody, nothing_leaks, paste
):
    connect()
    code, told = somebody(paste)
    assert code == 0, told
    assert "Connected: crm calls" in told
    assert "for Ada Admin" in told
    assert stored_tokens().access_token == bitrix.application.access_token
    assert stored().member_id == bitrix.member_id
    # The portal was asked for it, and told the receiver.
    assert stored().application_token == bitrix.application.application_token
    with Bitrix24Hook("crm") as hook:
        assert hook.call("app.info")["CODE"] == bitrix.application.client_id
    nothing_leaks(told)


def test_tokens_in_the_connection_are_verified_and_used(
    bitrix, connect, served, stored, stored_tokens, somebody
):
    pair = bitrix.application.issue_tokens()
    connect(access_token=pair.access_token, refresh_token=pair.refresh_token)
    code, told = somebody(nobody)
    assert code == 0, told
    assert stored().member_id == bitrix.member_id
    assert stored_tokens().refresh_token == bitrix.application.refresh_token != pair.refresh_token


def test_tokens_that_are_no_good_any_longer_lead_to_the_sign_in(
    bitrix, connect, served, stored_tokens, somebody
):
    connect(access_token="spent", refresh_token="spent-too")
    code, told = somebody(sent_to)
    assert code == 0, told
    assert "works once" in told or "work once" in told
    assert "spent" not in told
    assert stored_tokens().access_token == bitrix.application.access_token


def test_an_uninstalled_application_is_connected_again(bitrix, connect, served, stored, somebody):
    connect()
    events = f"{served}/crm/events"
    bitrix.send_install_event(events).wait()
    bitrix.send_uninstall_event(events).wait()
    bitrix.application.installed = True
    bitrix.application.application_token = "a-new-one"
    code, told = somebody(sent_to)
    assert code == 0, told
    assert stored().uninstalled_at is None
    # The old one is not believed any longer.
    assert stored().application_token == "a-new-one"


def test_a_new_sign_in_can_be_asked_for(bitrix, connect, served, stored_tokens, somebody):
    connect()
    assert somebody(sent_to)[0] == 0
    first = stored_tokens()
    assert somebody(nobody)[0] == 0
    assert somebody(sent_to, "--again")[0] == 0
    assert stored_tokens() != first


def test_an_address_of_another_sign_in_is_refused(bitrix, connect, served, stored, somebody):
    connect()
    code, told = somebody(lambda address: sent_to(address.replace("terminal.", "terminal.x")))
    assert code == 1
    assert "another sign-in" in told
    assert stored() is None


def test_a_wrong_code_is_refused(bitrix, connect, served, stored, somebody):
    connect()
    code, told = somebody(lambda address: "guessed-code")
    assert code == 1
    assert "Error: The Airflow connection 'crm'" in told
    assert "guessed-code" not in told
    assert stored() is None


def test_another_portal_is_refused(bitrix, connect, served, stored, somebody):
    connect(member_id="the-connections-own")
    code, told = somebody(sent_to)
    assert code == 1
    assert "belongs to another portal" in told
    assert "bitrix24_installation_crm" in told
    assert stored() is None


def test_an_employee_is_told_what_will_not_work(bitrix, connect, served, somebody):
    connect()
    code, told = somebody(lambda address: bitrix.callers.tokens.create_code(bitrix.application, 2))
    assert code == 0
    assert "robots can be answered, but not registered" in told


def test_an_employee_replaces_an_administrator_only_if_told_so(
    bitrix, connect, served, stored, stored_tokens, somebody
):
    def employees_code(address: str) -> str:
        return bitrix.callers.tokens.create_code(bitrix.application, 2)

    connect()
    assert somebody(sent_to)[0] == 0
    tokens = stored_tokens()
    code, told = somebody(employees_code, "--again")
    assert code == 1
    assert "Emil Employee is none" in told
    assert "airflow-b24 connect crm --again --replace-administrator" in told
    assert (stored().user_name, stored_tokens()) == ("Ada Admin", tokens)
    code, told = somebody(employees_code, "--again", "--replace-administrator")
    assert code == 0, told
    assert (stored().user_name, stored().administrator) == ("Emil Employee", False)
    assert stored_tokens() != tokens


def test_what_the_portal_does_not_let_us_do_is_told(bitrix, connect, served, somebody):
    connect()
    bitrix.faults.add(AnswerStatus(403, "ACCESS_DENIED"), method="event.bind", times=2)
    code, told = somebody(sent_to)
    assert code == 0
    assert "Robot calls will be refused until an application_token is known" in told


def test_an_event_that_does_not_arrive_is_told(bitrix, connect, served, somebody, monkeypatch):
    connect()
    monkeypatch.setenv("AIRFLOW__BITRIX24__RECEIVER_URL", "http://127.0.0.1:9")
    monkeypatch.setattr("airflow_provider_b24.installation.command._SECONDS_FOR_THE_EVENT", 0.5)
    code, told = somebody(sent_to)
    assert code == 0
    assert "it has not arrived" in told


def test_a_portal_that_is_down_is_told(bitrix, connect, served, somebody):
    connect(host="http://127.0.0.1:9", access_token="a", refresh_token="r", oauth_server="http://127.0.0.1:9")
    code, told = somebody(nobody)
    assert code == 1
    assert "Error:" in told
    assert "Traceback" not in told


def test_a_webhook_is_refused(bitrix, connect, served, somebody):
    connect(host=bitrix.webhook.url, client_id=None)
    code, told = somebody(nobody)
    assert code == 1
    assert "incoming webhook" in told
    assert bitrix.webhook.code not in told


def test_a_connection_that_does_not_exist_is_named(metadata_database, capsys):
    assert cli.main(["connect", "nobody"]) == 1
    assert "nobody" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("pasted", "complaint"),
    [
        ("", "Nothing"),
        (" \n", "Nothing"),
        ("https://a.example/install", "no code"),
        ("https://a.example/install?state=mine", "no code"),
        ("https://a.example/install?code=c", "another sign-in"),
        ("https://a.example/install?code=c&state=other", "another sign-in"),
        ("https://a.example/install?code=c&code=d&state=mine", "no code"),
        ("https://a.example/install?code=c&state=mine&state=other", "another sign-in"),
    ],
)
def test_what_cannot_be_used_is_not_used(pasted, complaint):
    with pytest.raises(ConnectError, match=complaint):
        read_code(pasted, "mine")


def test_the_code_is_found():
    assert read_code(" the-code \n", "mine") == "the-code"
    assert read_code("https://a.example/install?state=mine&code=the%2Dcode&domain=x", "mine") == "the-code"
