"""Which connection a request concerns, and when that is unknown rather than answered with no."""

import pytest
from airflow.secrets.base_secrets import BaseSecretsBackend
from airflow.secrets.metastore import MetastoreBackend
from sqlalchemy.exc import OperationalError

from airflow_provider_b24.receiver.portals import find_connection


class Vault(BaseSecretsBackend):
    """A secrets backend that keeps nothing, and can be away."""

    def __init__(self):
        self.away = False
        self.asked = []

    def get_conn_value(self, conn_id, team_name=None):
        self.asked.append(conn_id)
        if self.away:
            raise PermissionError("sealed")


@pytest.fixture
def vault(monkeypatch):
    vault = Vault()
    backends = [vault, MetastoreBackend()]
    monkeypatch.setattr("airflow.configuration.ensure_secrets_loaded", lambda *_: backends)
    monkeypatch.setattr(
        "airflow.sdk.execution_time.supervisor.ensure_secrets_backend_loaded", lambda: backends
    )
    return vault


def test_a_connection_that_is_nowhere_is_none(metadata_database, vault):
    assert find_connection("nobodys") is None


def test_a_secrets_backend_that_is_away_does_not_mean_that_there_is_no_connection(metadata_database, vault):
    vault.away = True

    with pytest.raises(PermissionError):
        find_connection("in_the_vault")


def test_a_connection_is_found_although_a_secrets_backend_is_away(portal_connection, vault):
    portal_connection()
    vault.away = True

    assert find_connection("bitrix24_default") is not None


@pytest.mark.parametrize("times", [1, 2])
def test_a_database_that_is_away_for_a_moment_does_not_make_a_connection_unknown(
    portal_connection, vault, monkeypatch, times
):
    portal_connection()
    real, failures = MetastoreBackend.get_connection, [OperationalError("SELECT", {}, Exception())] * times

    def shaky(self, *args, **kwargs):
        if failures:
            raise failures.pop()
        return real(self, *args, **kwargs)

    monkeypatch.setattr(MetastoreBackend, "get_connection", shaky)

    if times == 1:
        assert find_connection("bitrix24_default") is not None
    else:
        with pytest.raises(OperationalError):
            find_connection("bitrix24_default")


@pytest.mark.parametrize(
    "conn_id", ["", "../variables/key", "..", "a\x00b", "a b", "a\n", "x" * 251, "é\u202e"]
)
def test_what_no_connection_can_be_called_is_not_looked_for(vault, conn_id):
    assert find_connection(conn_id) is None
    assert vault.asked == []
