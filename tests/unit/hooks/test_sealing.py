"""Event tokens that are sealed with the secret of their connection."""

import json

import pytest
from airflow.providers.common.compat.sdk import AirflowNotFoundException

from airflow_provider_b24.hooks.connection import PortalConnection
from airflow_provider_b24.hooks.sealing import SealedTokenError, seal, unseal

TOKEN = "67e3db8e581121.72266518|A1|55.s1gnature"
APPLICATION = {
    "client_id": "app.1",
    "client_secret": "appl1cation",
    "refresh_token": "r",
    "access_token": "a",
}


@pytest.fixture
def connect(monkeypatch):
    """Set the connection ``crm``, and give it."""

    def connect(login="1", password="s3cret", extra=None):
        connection = {"conn_type": "bitrix24", "host": "crm.bitrix24.com", "extra": extra or {}}
        if extra is None:
            connection |= {"login": login, "password": password}
        monkeypatch.setenv("AIRFLOW_CONN_CRM", json.dumps(connection))
        return PortalConnection.load("crm")

    return connect


@pytest.mark.parametrize("extra", [None, APPLICATION], ids=["webhook", "application"])
def test_a_sealed_token_is_read_with_the_connection_and_says_nothing_by_itself(connect, extra):
    connection = connect(extra=extra)

    sealed = seal(TOKEN, connection)

    assert unseal(sealed) == TOKEN
    assert sealed.startswith("sealed:")
    for secret in (TOKEN, "s1gnature", "s3cret", "appl1cation"):
        assert secret not in sealed
    assert seal(TOKEN, connection) != sealed, "the same token does not look the same twice"


def test_a_plain_token_is_given_back_as_it_is_and_needs_no_connection():
    assert unseal(TOKEN) == TOKEN


@pytest.mark.parametrize("sealed", [True, False])
def test_what_was_read_is_masked_in_the_tasks_log(connect, monkeypatch, sealed):
    masked = []
    monkeypatch.setattr("airflow.sdk.log.mask_secret", masked.append)

    unseal(seal(TOKEN, connect()) if sealed else TOKEN)

    assert masked[-1] == TOKEN


def test_after_the_secret_was_changed_it_cannot_be_read_and_the_error_says_what_to_do(connect):
    sealed = seal(TOKEN, connect())
    connect(password="an0ther")

    with pytest.raises(SealedTokenError) as caught:
        unseal(sealed)

    for words in ("Airflow connection 'crm'", "was changed after the call came", "airflow-b24 calls answer"):
        assert words in str(caught.value)
    for secret in ("s3cret", "an0ther", "s1gnature", sealed):
        assert secret not in str(caught.value)


def test_fresh_tokens_of_an_application_do_not_matter(connect):
    sealed = seal(TOKEN, connect(extra=APPLICATION))
    connect(extra=APPLICATION | {"access_token": "a2", "refresh_token": "r2"})

    assert unseal(sealed) == TOKEN


@pytest.mark.parametrize("spoilt", ["sealed:", "sealed:x:crm", "sealed::crm", "sealed:ä€:crm"])
def test_what_nobody_has_sealed_cannot_be_read(connect, spoilt):
    connect()
    expected = SealedTokenError if spoilt.endswith(":crm") else AirflowNotFoundException

    with pytest.raises(expected):
        unseal(spoilt)


def test_without_the_connection_nobody_can_read_it(connect, monkeypatch):
    sealed = seal(TOKEN, connect())
    monkeypatch.delenv("AIRFLOW_CONN_CRM")

    with pytest.raises(AirflowNotFoundException, match="crm"):
        unseal(sealed)
