"""What is kept of an installation, who may read it, and what wins over what."""

import json

import pytest
from airflow.sdk import Connection

from airflow_provider_b24.exceptions import AuthError
from airflow_provider_b24.hooks import installations
from airflow_provider_b24.hooks.connection import PortalConnection
from airflow_provider_b24.hooks.installations import (
    Installation,
    InstallationStore,
    refuse_if_uninstalled,
    with_installation,
)
from airflow_provider_b24.hooks.tokens import VariableTokenStore
from airflow_provider_b24.rest import Tokens

PAIR = Tokens("access-1", "refresh-1", 1_800_000_000.0, "member-1", "1", "bizproc")
WHOLE = Installation(
    client_id="local.app",
    tokens=PAIR,
    seed="0123456789abcdef",
    application_token="application-token-1",
    member_id="member-1",
    installed_at=1.5,
    event_time=2.0,
    uninstalled_at=3.0,
    challenge="digest",
    challenge_until=4.0,
    reached_at=5.0,
)


@pytest.fixture
def variables(monkeypatch):
    """Airflow Variables in memory."""
    kept = {}
    monkeypatch.setattr(installations, "read_variable", kept.get)
    monkeypatch.setattr(
        installations, "write_variable", lambda key, value, description: kept.__setitem__(key, value)
    )
    return kept


def connection(**extra):
    given = {"client_id": "local.app", "client_secret": "client-secret"} | extra
    return PortalConnection.from_airflow(
        Connection(
            conn_id="crm",
            conn_type="bitrix24",
            host="example.bitrix24.com",
            login="1",
            password="code",
            extra=json.dumps({name: value for name, value in given.items() if value is not None}),
        )
    )


@pytest.mark.parametrize("installation", [WHOLE, Installation("local.app")])
def test_a_record_survives_being_written_and_read(installation):
    assert Installation.from_json(installation.to_json()) == installation


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "not JSON"),
        ("{", "not JSON"),
        ("[]", "no JSON object"),
        ("{}", "no client_id"),
        ('{"client_id": 7}', "client_id is no text"),
        ('{"client_id": "a", "application_token": ["x"]}', "application_token is no text"),
        ('{"client_id": "a", "installed_at": "now"}', "installed_at is no Unix time"),
        ('{"client_id": "a", "uninstalled_at": true}', "uninstalled_at is no Unix time"),
        ('{"client_id": "a", "refresh_token": "r"}', "no access_token"),
    ],
)
def test_what_is_no_record_is_refused_with_the_reason(text, complaint):
    with pytest.raises(ValueError, match=complaint):
        Installation.from_json(text)


def test_a_record_shows_no_secret():
    for secret in ("access-1", "refresh-1", "application-token-1", "digest", "0123456789abcdef"):
        assert secret not in repr(WHOLE)


def test_a_broken_record_counts_as_none_and_is_reported_without_its_text(variables, caplog):
    variables["bitrix24_oauth_crm"] = (
        '{"client_id": "local.app", "access_token": 5, "refresh_token": "r-secret"}'
    )
    assert InstallationStore(connection()).read() is None
    assert "bitrix24_oauth_crm" in caplog.text
    assert "r-secret" not in caplog.text


def test_a_record_of_another_application_counts_as_none(variables):
    InstallationStore(connection()).write(WHOLE)
    assert InstallationStore(connection(client_id="local.other")).read() is None
    assert InstallationStore(connection(client_id=None)).read() is None
    assert InstallationStore(connection()).read() == WHOLE


def test_its_secrets_are_masked_in_logs(variables, monkeypatch):
    masked = []
    monkeypatch.setattr("airflow.sdk.log.mask_secret", masked.append)
    InstallationStore(connection()).write(WHOLE)
    assert set(masked) == {"access-1", "refresh-1", "application-token-1"}


def test_it_completes_the_connection(variables):
    InstallationStore(connection()).write(Installation("local.app", application_token="t", member_id="m"))
    portal = with_installation(connection())
    assert (portal.application_token, portal.member_id, portal.uninstalled) == ("t", "m", False)


def test_what_the_connection_says_comes_first(variables):
    InstallationStore(connection()).write(WHOLE)
    portal = with_installation(connection(application_token="own", member_id="own-member"))
    assert (portal.application_token, portal.member_id) == ("own", "own-member")


def test_without_one_the_connection_stays_as_it_is(variables):
    own = connection()
    assert with_installation(own) is own


def test_renewed_tokens_leave_the_rest_alone(variables):
    InstallationStore(connection()).write(WHOLE)
    renewed = Tokens("access-2", "refresh-2", None, "member-1")
    VariableTokenStore(connection()).store(renewed)
    after = InstallationStore(connection()).read()
    assert after.tokens == renewed
    assert (after.application_token, after.installed_at) == ("application-token-1", 1.5)


def test_stored_tokens_win_over_the_connections_unless_those_are_newer(variables):
    first = connection(access_token="a", refresh_token="r")
    assert VariableTokenStore(first).load() == first.tokens
    VariableTokenStore(first).store(PAIR)
    assert VariableTokenStore(first).load() == PAIR
    second = connection(access_token="a2", refresh_token="r2")
    assert VariableTokenStore(second).load() == second.tokens
    assert VariableTokenStore(connection()).load() == PAIR


def test_tokens_of_another_application_are_not_used(variables):
    VariableTokenStore(connection()).store(PAIR)
    assert VariableTokenStore(connection(client_id="local.other")).load() is None


def test_an_uninstalled_application_may_not_call(variables):
    gone = Installation("local.app", uninstalled_at=1_700_000_000.0)
    InstallationStore(connection()).write(gone)
    assert with_installation(connection()).uninstalled
    assert VariableTokenStore(connection()).load() is None
    with pytest.raises(AuthError, match="uninstalled from the portal at 2023-11-14 22:13 UTC") as refusal:
        refuse_if_uninstalled(connection())
    assert not refusal.value.retryable


def test_tokens_put_into_the_connection_afterwards_bring_it_back(variables):
    before = connection(access_token="a", refresh_token="r")
    VariableTokenStore(before).store(PAIR)
    seed = InstallationStore(before).read().seed
    InstallationStore(before).write(Installation("local.app", seed=seed, uninstalled_at=1.0))
    with pytest.raises(AuthError):
        refuse_if_uninstalled(before)
    after = connection(access_token="a2", refresh_token="r2")
    refuse_if_uninstalled(after)
    assert VariableTokenStore(after).load() == after.tokens
    assert not with_installation(after).uninstalled


def test_a_webhook_has_no_installation(variables):
    variables["bitrix24_oauth_crm"] = WHOLE.to_json()
    webhook = connection(client_id=None)
    assert with_installation(webhook) is webhook
    refuse_if_uninstalled(webhook)
