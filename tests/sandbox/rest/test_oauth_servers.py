"""Which authorization server is asked over the network, and that no other host ever is."""

from dataclasses import replace

import pytest

from airflow_provider_b24.exceptions import TransportError
from airflow_provider_b24.rest import MemoryTokenStore, OAuthApp, Patience, Tokens

INFO, TECH = "oauth.bitrix.info:443", "oauth.bitrix24.tech:443"


@pytest.fixture
def renewing(portal, make_any_client, portal_tokens, reached):
    """Calls with a token that has expired."""

    def renew(oauth_server="", granted_by=""):
        portal.expire_access_tokens()
        app = OAuthApp(
            portal.url, portal.application.client_id, portal.application.client_secret, oauth_server
        )
        store = MemoryTokenStore(replace(portal_tokens, oauth_server=granted_by))
        client = make_any_client(app, token_store=store, patience=Patience(timeout=5.0, attempts=1))
        return client.call("profile")

    return renew


@pytest.mark.parametrize(
    ("granted_by", "order"),
    [
        ("", [INFO, TECH]),
        ("https://oauth.bitrix.info", [INFO, TECH]),
        ("https://oauth.bitrix24.tech", [TECH, INFO]),
    ],
)
def test_the_one_that_granted_the_tokens_is_asked_first_and_the_other_where_it_cannot_be_reached(
    renewing, reached, granted_by, order
):
    with pytest.raises(TransportError, match=" and ".join(host.removesuffix(":443") for host in order)):
        renewing(granted_by=granted_by)
    assert reached == order


@pytest.mark.parametrize(("server", "host"), [("oauth.bitrix.info", INFO), ("oauth.bitrix24.tech", TECH)])
def test_the_one_that_somebody_has_chosen_is_asked_alone(renewing, reached, server, host):
    with pytest.raises(TransportError):
        renewing(oauth_server=server, granted_by="https://oauth.bitrix.info")
    assert reached == [host]


def test_a_portal_that_stands_in_for_bitrix24_on_this_machine_is_asked_alone(portal, renewing, reached):
    assert renewing(oauth_server=portal.url).result["ID"] == "1"
    assert reached == []


def test_what_tokens_say_of_another_server_is_not_believed(portal, reached, renewing):
    stored = {"access_token": "a", "refresh_token": "r"}
    for name in ("oauth_server", "server_endpoint"):
        tokens = Tokens.from_json(stored | {name: f"{portal.url}/rest/"})
        with pytest.raises(TransportError):
            renewing(granted_by=tokens.oauth_server)
    assert set(reached) == {INFO, TECH}
    assert not [request for request in portal.requests if request.method == "oauth.token"]
