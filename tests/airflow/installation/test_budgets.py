"""A flood of junk keeps neither Bitrix24 nor an administrator from connecting the application."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

import httpx
import pytest

from airflow_provider_b24.installation import budgets

if TYPE_CHECKING:
    from airflow_provider_b24.sandbox import SandboxPortal

FORM = {"Content-Type": "application/x-www-form-urlencoded"}


@pytest.fixture
def post_from() -> Iterator[Any]:
    """Post from an address of this machine."""
    clients: dict[str, httpx.Client] = {}

    def post(address: str, url: str, form: Any) -> httpx.Response:
        if address not in clients:
            clients[address] = httpx.Client(
                transport=httpx.HTTPTransport(local_address=address), timeout=40, headers=FORM
            )
        return clients[address].post(url, content=form if isinstance(form, bytes) else urlencode(form))

    yield post
    for client in clients.values():
        client.close()


@pytest.fixture
def short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody in these tests has as much time as strangers have."""
    monkeypatch.setattr(budgets, "SECONDS_PER_ATTEMPT", 0.3)


def event(portal: SandboxPortal, **changes: str) -> dict[str, str]:
    pair = portal.application.issue_tokens()
    return {
        "event": "ONAPPINSTALL",
        "auth[access_token]": pair.access_token,
        "auth[refresh_token]": pair.refresh_token,
        "auth[member_id]": portal.member_id,
        "auth[application_token]": portal.application.application_token,
    } | changes


def junk(portal: SandboxPortal, number: int) -> dict[str, str]:
    """What nobody but the portal can tell from the genuine event."""
    return event(portal) | {"auth[access_token]": f"invented{number}", "auth[refresh_token]": "invented"}


def page(portal: SandboxPortal) -> bytes:
    return bytes(portal.open_application("http://127.0.0.1:9/unused").body)


def test_a_flood_of_junk_leaves_room_for_the_genuine(
    bitrix, connect, events, install_page, stored, post_from, short_waits
):
    connect()
    with ThreadPoolExecutor(25) as strangers:
        answers = list(
            strangers.map(lambda n: post_from("127.0.0.2", events, junk(bitrix, n)).status_code, range(100))
        )
    assert set(answers) == {403, 429}
    asked = len(bitrix.requests)
    assert Counter(answers)[403] == asked < 100
    # The same address: Bitrix24 and the stranger come through the same proxy. The event is posted once.
    assert post_from("127.0.0.2", events, event(bitrix)).status_code == 200
    assert stored().member_id == bitrix.member_id
    # Another address, and the page that a browser posts.
    assert post_from("127.0.0.3", events, event(bitrix)).status_code == 200
    assert post_from("127.0.0.2", install_page, page(bitrix)).status_code == 200


def test_a_genuine_event_is_taken_while_junk_of_the_same_address_waits(
    bitrix, connect, events, stored, post_from, short_waits
):
    connect()
    with ThreadPoolExecutor(18) as strangers:
        flood = [strangers.submit(post_from, "127.0.0.2", events, junk(bitrix, n)) for n in range(18)]
        bitrix.wait_until(lambda: len(bitrix.requests) >= budgets.AT_ONCE)
        assert post_from("127.0.0.2", events, event(bitrix)).status_code == 200
        assert {one.result().status_code for one in flood} == {403}


def test_a_flood_of_pages_keeps_no_event_away(bitrix, connect, events, install_page, post_from, monkeypatch):
    monkeypatch.setattr(budgets, "LONGEST_WAIT", -1.0)
    monkeypatch.setattr(budgets, "SECONDS_PER_ATTEMPT", 600.0)  # none comes back meanwhile
    connect()
    invented = {"AUTH_ID": "invented", "REFRESH_ID": "invented", "member_id": bitrix.member_id}
    answers = [post_from("127.0.0.2", install_page, invented).status_code for _ in range(15)]
    assert answers[0] == 403
    assert answers[-1] == 429
    assert post_from("127.0.0.2", install_page, page(bitrix)).status_code == 429
    assert post_from("127.0.0.2", events, event(bitrix)).status_code == 200
    assert post_from("127.0.0.3", install_page, page(bitrix)).status_code == 200


def test_what_can_be_refused_without_asking_costs_nothing(bitrix, connect, events, post_from, monkeypatch):
    monkeypatch.setattr(budgets, "LONGEST_WAIT", -1.0)
    connect(member_id=bitrix.member_id, application_token=bitrix.application.application_token)
    for changes, status in (
        ({"auth[member_id]": "another"}, 409),
        ({"auth[application_token]": "guessed"}, 403),
        ({"event": "ONAPPUNINSTALL", "auth[application_token]": "guessed"}, 403),
        ({"event": "ONAPPTEST", "data[QUERY][challenge]": "guessed"}, 403),
        ({"event": "ONCRMLEADADD"}, 400),
        ({"auth[access_token]": "two words"}, 400),
    ):
        answers = {post_from("127.0.0.2", events, event(bitrix, **changes)).status_code for _ in range(20)}
        assert answers == {status}, changes
    assert bitrix.requests == []
    assert post_from("127.0.0.2", events, event(bitrix)).status_code == 200
