"""What is kept of an installation, who may read it, and what wins over what."""

import dataclasses
import json

import pytest
from airflow.sdk import Connection

from airflow_provider_b24.exceptions import AuthError
from airflow_provider_b24.hooks.connection import PortalConnection
from airflow_provider_b24.hooks.installations import (
    Installation,
    InstallationStore,
    on_installation_changed,
    refuse_if_uninstalled,
    with_installation,
)
from airflow_provider_b24.hooks.tokens import TokenRecord, VariableTokenStore, seed_of
from airflow_provider_b24.rest import Tokens

PAIR = Tokens("access-1", "refresh-1", 1_800_000_000.0, "member-1", "1", "bizproc")
WHOLE = Installation(
    client_id="local.app",
    seed="0123456789abcdef",
    application_token="application-token-1",
    member_id="member-1",
    installed_at=1.5,
    event_time=2.0,
    uninstalled_at=3.0,
    challenge="digest",
    challenge_until=4.0,
    reached_at=5.0,
    user_id="7",
    user_name="Ada Admin",
    administrator=False,
)
TOKENS, INSTALLATION, OLD = (f"bitrix24_{name}_crm" for name in ("tokens", "installation", "oauth"))


@pytest.fixture
def variables(monkeypatch):
    """Airflow Variables in memory."""
    kept = {}

    def update(key, change, description):
        value = change(kept.get(key))
        if value is not None:
            kept[key] = value

    for module in ("installations", "tokens", "_old_record"):
        monkeypatch.setattr(f"airflow_provider_b24.hooks.{module}.read_variable", kept.get)
        monkeypatch.setattr(f"airflow_provider_b24.hooks.{module}.update_variable", update)
    monkeypatch.setattr("airflow_provider_b24.hooks._old_record.delete_variable", kept.pop)
    return kept


def write(installation, **extra):
    InstallationStore(connection(**extra)).update(lambda before: installation)


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
        ('{"client_id": "a", "user_name": 7}', "user_name is no text"),
        ('{"client_id": "a", "administrator": "yes"}', "administrator is neither true nor false"),
    ],
)
def test_what_is_no_record_is_refused_with_the_reason(text, complaint):
    with pytest.raises(ValueError, match=complaint):
        Installation.from_json(text)


def test_a_record_shows_no_secret():
    record = TokenRecord("local.app", 1, PAIR, "0123456789abcdef")
    for secret in ("access-1", "refresh-1", "application-token-1", "digest", "0123456789abcdef"):
        assert secret not in repr(WHOLE) + repr(record)


def test_a_broken_record_counts_as_none_and_is_reported_without_its_text(variables, caplog):
    variables[INSTALLATION] = (
        '{"client_id": "local.app", "application_token": "a-secret", "installed_at": "x"}'
    )
    variables[TOKENS] = '{"client_id": "local.app", "access_token": 5, "refresh_token": "r-secret"}'
    assert InstallationStore(connection()).read() is None
    assert VariableTokenStore(connection()).load() is None
    assert INSTALLATION in caplog.text
    assert TOKENS in caplog.text
    assert "-secret" not in caplog.text


def test_a_record_of_another_application_counts_as_none(variables):
    write(WHOLE)
    assert InstallationStore(connection(client_id="local.other")).read() is None
    assert InstallationStore(connection(client_id=None)).read() is None
    assert InstallationStore(connection()).read() == WHOLE


def test_its_secrets_are_masked_in_logs(variables, monkeypatch):
    masked = []
    monkeypatch.setattr("airflow.sdk.log.mask_secret", masked.append)
    write(WHOLE)
    VariableTokenStore(connection()).store(PAIR)
    assert set(masked) == {"access-1", "refresh-1", "application-token-1"}


def test_it_completes_the_connection(variables):
    write(Installation("local.app", application_token="t", member_id="m"))
    portal = with_installation(connection())
    assert (portal.application_token, portal.member_id, portal.uninstalled) == ("t", "m", False)


def test_who_changes_it_leaves_the_rest_alone(variables):
    write(WHOLE)
    after = InstallationStore(connection()).update(lambda before: dataclasses.replace(before, reached_at=6.0))
    assert after == dataclasses.replace(WHOLE, reached_at=6.0) == InstallationStore(connection()).read()


def test_those_who_want_to_know_are_told_of_a_change(variables):
    told = []
    end = on_installation_changed(told.append)
    write(WHOLE)
    InstallationStore(connection()).update(lambda before: None)
    VariableTokenStore(connection()).store(PAIR)
    assert told == ["crm"]
    end()
    write(WHOLE)
    assert told == ["crm"]


def test_what_the_connection_says_comes_first(variables):
    write(WHOLE)
    portal = with_installation(connection(application_token="own", member_id="own-member"))
    assert (portal.application_token, portal.member_id) == ("own", "own-member")


def test_without_one_the_connection_stays_as_it_is(variables):
    own = connection()
    assert with_installation(own) is own


def test_tokens_and_installation_do_not_touch_each_other(variables):
    write(WHOLE)
    before = variables[INSTALLATION]
    VariableTokenStore(connection()).store(PAIR)
    assert variables[INSTALLATION] == before
    tokens = variables[TOKENS]
    write(dataclasses.replace(WHOLE, reached_at=6.0))
    assert variables[TOKENS] == tokens
    assert "refresh-1" not in variables[INSTALLATION]
    assert "application-token-1" not in tokens


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
    write(Installation("local.app", uninstalled_at=1_700_000_000.0))
    assert with_installation(connection()).uninstalled
    assert VariableTokenStore(connection()).load() is None
    with pytest.raises(AuthError, match="uninstalled from the portal at 2023-11-14 22:13 UTC") as refusal:
        refuse_if_uninstalled(connection())
    assert not refusal.value.retryable


def test_tokens_put_into_the_connection_afterwards_bring_it_back(variables):
    before = connection(access_token="a", refresh_token="r")
    VariableTokenStore(before).store(PAIR)
    InstallationStore(before).update(
        lambda _: Installation("local.app", seed=seed_of(before.tokens), uninstalled_at=1.0)
    )
    VariableTokenStore(before).clear()
    assert VariableTokenStore(before).load() is None
    with pytest.raises(AuthError):
        refuse_if_uninstalled(before)
    after = connection(access_token="a2", refresh_token="r2")
    refuse_if_uninstalled(after)
    assert VariableTokenStore(after).load() == after.tokens
    assert not with_installation(after).uninstalled


def test_a_webhook_has_no_installation(variables):
    variables[INSTALLATION] = WHOLE.to_json()
    webhook = connection(client_id=None)
    assert with_installation(webhook) is webhook
    refuse_if_uninstalled(webhook)


def later(pair, seconds, number):
    return dataclasses.replace(
        pair,
        access_token=f"access-{number}",
        refresh_token=f"refresh-{number}",
        expires=pair.expires and pair.expires + seconds,
    )


class TestAnOlderPair:
    """A spent refresh token must not come back."""

    @pytest.mark.parametrize("pair", [PAIR, dataclasses.replace(PAIR, expires=None)])
    def test_that_was_overtaken_does_not_replace_the_newer_one(self, variables, caplog, pair):
        slow, quick = VariableTokenStore(connection()), VariableTokenStore(connection())
        slow.store(pair)
        slow.load()
        quick.load()
        newer = later(pair, 60, 3)
        quick.replace(newer)
        slow.store(later(pair, 30, 2))
        assert VariableTokenStore(connection()).load() == newer
        assert "came late" in caplog.text
        assert "refresh-2" not in caplog.text

    def test_is_known_by_the_time_it_expires(self, variables):
        VariableTokenStore(connection()).store(later(PAIR, 60, 3))
        VariableTokenStore(connection()).store(PAIR)
        assert VariableTokenStore(connection()).load() == later(PAIR, 60, 3)

    def test_of_an_uninstalled_application_does_not_come_back(self, variables):
        store = VariableTokenStore(connection())
        store.store(PAIR)
        store.load()
        VariableTokenStore(connection()).clear()
        store.store(later(PAIR, 60, 2))
        assert VariableTokenStore(connection()).load() is None

    def test_is_replaced_by_each_newer_one_whoever_stores_it(self, variables):
        stores = [VariableTokenStore(connection()) for _ in range(2)]
        for number in range(6):
            store = stores[number % 2]
            store.load()
            store.store(later(PAIR, number, number))
            assert stores[0].load() == stores[1].load() == later(PAIR, number, number)

    def test_that_was_stored_already_may_be_stored_again(self, variables):
        """The answer to the first writing was lost."""
        store = VariableTokenStore(connection())
        store.load()
        store.store(PAIR)
        store.store(PAIR)
        assert VariableTokenStore(connection()).load() == PAIR

    def test_is_replaced_by_one_that_was_verified_just_now(self, variables):
        VariableTokenStore(connection()).store(later(PAIR, 60, 3))
        VariableTokenStore(connection()).replace(PAIR)
        assert VariableTokenStore(connection()).load() == PAIR


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "not JSON"),
        ("[]", "no JSON object"),
        ("{}", "no client_id"),
        ('{"client_id": "a", "seed": 1}', "seed is no text"),
        ('{"client_id": "a", "generation": "1"}', "generation is no number"),
        ('{"client_id": "a", "refresh_token": "r"}', "no access_token"),
    ],
)
def test_what_is_no_pair_of_tokens_is_refused_with_the_reason(text, complaint):
    with pytest.raises(ValueError, match=complaint):
        TokenRecord.from_json(text)


@pytest.mark.parametrize("record", [TokenRecord("local.app", 3, PAIR, "s"), TokenRecord("local.app")])
def test_a_record_of_tokens_survives_being_written_and_read(record):
    assert TokenRecord.from_json(record.to_json()) == record


class TestTheVariableOfEarlierVersions:
    @pytest.fixture
    def old(self, variables):
        known = {
            "client_id": "local.app", "seed": seed_of(PAIR), "application_token": "t", "member_id": "member-1",
            "installed_at": 1.5,
        }  # fmt: skip
        variables[OLD] = json.dumps(PAIR.to_json() | known)
        return connection(access_token="access-1", refresh_token="refresh-1")

    @pytest.mark.parametrize("tokens_first", [True, False])
    def test_is_moved_at_the_first_look(self, variables, old, tokens_first):
        looks = [lambda: VariableTokenStore(old).read(), lambda: InstallationStore(old).read()]
        for look in looks if tokens_first else reversed(looks):
            look()
            assert set(variables) == {TOKENS, INSTALLATION}
        assert VariableTokenStore(old).load() == PAIR
        assert InstallationStore(old).read() == Installation(
            "local.app", seed_of(PAIR), application_token="t", member_id="member-1", installed_at=1.5
        )

    def test_is_moved_before_anything_is_written(self, variables, old):
        VariableTokenStore(old).store(later(PAIR, 60, 2))
        assert OLD not in variables
        assert InstallationStore(old).read().application_token == "t"
        assert VariableTokenStore(old).load() == later(PAIR, 60, 2)

    def test_does_not_come_back_over_what_is_newer(self, variables, old, monkeypatch):
        """One process moves it, and renews the tokens, while another one has read it and stands still."""
        newer = TokenRecord("local.app", 2, later(PAIR, 60, 2), seed_of(PAIR)).to_json()
        read = variables.get

        def overtaken(key):
            raw = read(key)
            if key == OLD:
                variables[TOKENS] = newer
            return raw

        monkeypatch.setattr("airflow_provider_b24.hooks._old_record.read_variable", overtaken)
        assert VariableTokenStore(old).load() == later(PAIR, 60, 2)
        assert variables[TOKENS] == newer

    def test_is_used_as_it_is_where_nothing_can_be_written(self, variables, old, monkeypatch, caplog):
        def refuse(*_):
            raise PermissionError("refresh-1")

        monkeypatch.setattr("airflow_provider_b24.hooks._old_record.update_variable", refuse)
        assert VariableTokenStore(old).load() == PAIR
        assert InstallationStore(old).read().application_token == "t"
        assert "was not moved yet (PermissionError)" in caplog.text
        assert "refresh-1" not in caplog.text

    def test_of_an_uninstalled_application_keeps_it_from_calling(self, variables, old):
        variables[OLD] = json.dumps(
            {"client_id": "local.app", "seed": seed_of(old.tokens), "uninstalled_at": 1.0}
        )
        assert VariableTokenStore(old).load() is None
        with pytest.raises(AuthError):
            refuse_if_uninstalled(old)

    @pytest.mark.parametrize("broken", ["{", "[]", "7"])
    def test_that_is_broken_counts_as_none(self, variables, old, broken, caplog):
        variables[OLD] = broken
        assert VariableTokenStore(old).load() == old.tokens
        assert OLD in caplog.text
