"""Which connection a request concerns, and when that is unknown rather than answered with no."""

import pytest
from airflow.secrets.base_secrets import BaseSecretsBackend
from airflow.secrets.metastore import MetastoreBackend
from sqlalchemy.exc import OperationalError

from airflow_provider_b24.receiver.answers import RefusedError
from airflow_provider_b24.receiver.portals import Portals, find_connection


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


@pytest.mark.anyio
class TestKept:
    """What the receiver knows of connections."""

    @staticmethod
    def auth(call_fields, **changes):
        fields = {"application_token", "member_id"}
        return {name: call_fields[f"auth[{name}]"] for name in fields} | changes

    async def test_a_connection_is_believed_while_the_database_is_away(
        self, portal_connection, call_fields, database_away
    ):
        portal_connection()
        portals = Portals(seconds_kept=0, seconds_between=0)
        await portals.authenticated("bitrix24_default", self.auth(call_fields))
        with database_away():
            found = await portals.authenticated("bitrix24_default", self.auth(call_fields))
            with pytest.raises(RefusedError) as refusal:
                await portals.authenticated("bitrix24_default", self.auth(call_fields, member_id="other"))
        assert (found.conn_id, refusal.value.status) == ("bitrix24_default", 403)

    async def test_names_that_do_not_exist_are_kept_as_well_but_not_without_end(
        self, metadata_database, vault, monkeypatch
    ):
        monkeypatch.setattr("airflow_provider_b24.receiver.portals._MOST_UNKNOWN", 3)
        portals = Portals(seconds_between=0)
        for number in range(5):
            with pytest.raises(RefusedError) as refusal:
                await portals.authenticated(f"invented_{number}", {})
            assert refusal.value.error == "unknown_connection"
        assert len(portals._unknown) == 3
        assert not portals.knows("invented_4")

    async def test_one_that_was_changed_can_be_forgotten(
        self, portal_connection, call_fields, airflow_session
    ):
        connection = portal_connection()
        portals = Portals()
        await portals.authenticated("bitrix24_default", self.auth(call_fields))
        connection.set_extra("{}")
        airflow_session.commit()
        await portals.authenticated("bitrix24_default", self.auth(call_fields))
        portals.forget("bitrix24_default")
        with pytest.raises(RefusedError):
            await portals.authenticated("bitrix24_default", self.auth(call_fields))
