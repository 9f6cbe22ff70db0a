"""What different people see in a browser: an API server with sign-in and users, and calls on record."""

from __future__ import annotations

import datetime as dt
import json
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import pytest
import requests
import sqlalchemy as sa

from airflow_provider_b24._airflow.versions import airflow_version
from airflow_provider_b24.calls.table import call_table
from airflow_provider_b24.testing.airflow_api import wait_until
from airflow_provider_b24.testing.local_airflow import LocalAirflow
from airflow_provider_b24.testing.process_tree import ProcessTree

from ...browser import SECONDS, Page
from .rows import NOW, row

pytestmark = [
    pytest.mark.live,
    pytest.mark.xdist_group("pages_of_people"),
    pytest.mark.skipif(airflow_version() < (3, 1), reason="Airflow 3.0 has no place for pages in its UI"),
]

ROLES = {"olga": "op", "vera": "viewer"}
WAITING = {
    "state": "running",
    "answering": "failure-answered",
    "attempts": 3,
    "answered_at": None,
    "answered_by": None,
    "last_error": "insufficient_scope: bizproc",
    "due_at": NOW + dt.timedelta(hours=1),
}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalAirflow]:
    """An API server with sign-in, and a database without calls."""
    home, dags = tmp_path_factory.mktemp("people"), tmp_path_factory.mktemp("dags")
    passwords = home / "passwords.json"
    passwords.write_text(json.dumps({name: name for name in ROLES}))
    options = {
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS": "False",
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS": ",".join(
            f"{name}:{role}" for name, role in ROLES.items()
        ),
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE": str(passwords),
        "AIRFLOW__BITRIX24__DISPATCHER": "command",
    }
    airflow = LocalAirflow(dags, home=home, env=options)
    command = [sys.executable, "-m", "airflow"]
    subprocess.run([*command, "db", "migrate"], env=airflow.env, check=True, capture_output=True)
    tree = ProcessTree([*command, "api-server"], env=airflow.env, output=airflow.output, cwd=home)

    def answers() -> bool:
        try:
            return requests.get(f"{airflow.url}/bitrix24-pages/calls", timeout=SECONDS).status_code == 401
        except requests.ConnectionError:
            assert tree.exit_code() is None, airflow.tail()
            return False

    try:
        assert wait_until(answers, 300), airflow.tail()
        yield airflow
    finally:
        tree.stop()


@pytest.fixture
def table(server: LocalAirflow) -> Iterator[sa.Engine]:
    """The table of calls, empty when the test begins."""
    engine = sa.create_engine(f"sqlite:///{server.home / 'airflow.db'}", connect_args={"timeout": SECONDS})
    with engine.begin() as connection:
        connection.execute(call_table.delete())
    yield engine
    engine.dispose()


@pytest.fixture
def put(table: sa.Engine) -> Callable[[Iterable[dict[str, Any]]], None]:
    """Put calls on record."""

    def put(rows: Iterable[dict[str, Any]]) -> None:
        with table.begin() as connection:
            connection.execute(call_table.insert(), list(rows))

    return put


@pytest.fixture
def visit(chromium: Any, server: LocalAirflow) -> Callable[..., Page]:
    """Open one of our views in Airflow's UI, sign in as Airflow asks for it, and go into its frame."""

    def visit(name: str, address: str = "/plugin/bitrix24_calls") -> Page:
        page = Page(chromium)
        chromium.get(server.url + address)
        page.find("//input[@name='username']").send_keys(name)
        page.find("//input[@name='password']").send_keys(name)
        page.click("//button[@type='submit']")
        page.wait(lambda browser: "_token" in {one["name"] for one in browser.get_cookies()}, "not signed in")
        chromium.get(server.url + address)
        chromium.switch_to.frame(page.find("//iframe[contains(@src, 'bitrix24-pages')]"))
        return page

    return visit


def test_nobody_sees_anything_before_signing_in(
    chromium: Any, server: LocalAirflow, put: Any, visit: Callable[..., Page]
) -> None:
    put([row(1)])
    page = Page(chromium)
    chromium.get(f"{server.url}/bitrix24-pages/calls")
    page.find("//a[contains(., 'Sign in')]")
    assert "LEAD_1" not in chromium.page_source
    page = visit("olga")
    page.find("//td[text()='LEAD_1']")


def test_a_list_without_calls_says_so(table: sa.Engine, visit: Callable[..., Page]) -> None:
    page = visit("olga")
    page.find("//h1[text()='Calls']")
    page.find("//p[starts-with(normalize-space(), 'No call has come yet')]")
    assert page.find_all("//table") == []


def test_who_may_not_edit_runs_sees_calls_and_can_do_nothing(
    put: Any, visit: Callable[..., Page], table: sa.Engine
) -> None:
    put([row(1, **WAITING)])
    page = visit("vera")
    page.find("//h2[normalize-space()='1 call waits for a person']")
    assert page.find_all("//input[@type='checkbox'] | //button[contains(., 'Answer')]") == []
    page.click(f"//a[contains(@href, '/calls/{row(1)['id']}')]")
    page.find("//h1[contains(., 'LEAD_1')]")
    assert page.find_all("//form[@method='post']") == []
    assert page.find_all("//button[contains(., 'Try again') or contains(., 'Answer')]") == []


def test_a_selection_is_tried_again_and_the_others_are_not(
    put: Any, visit: Callable[..., Page], table: sa.Engine
) -> None:
    put([row(number, **WAITING) for number in (1, 2, 3)])
    page = visit("olga")
    page.find("//h2[normalize-space()='3 calls wait for a person']")
    for number in (1, 3):
        page.click(
            f"//section[contains(@class, 'waiting')]//tr[@id='call-{number:032x}']//input[@type='checkbox']"
        )
    page.click("//button[normalize-space()='Try again now (2)']")
    page.find("//h2[normalize-space()='2 calls']")
    page.click("//button[normalize-space()='Try again now']")
    page.find("//h1[normalize-space()='Tried again']")
    with table.connect() as connection:
        due = dict(connection.execute(sa.select(call_table.c.id, call_table.c.due_at)).all())
    later = {int(call_id, 16) for call_id, at in due.items() if at > NOW + dt.timedelta(minutes=30)}
    assert later == {2}


def test_100_000_calls_are_paged_and_searched(put: Any, visit: Callable[..., Page]) -> None:
    put(row(number) for number in range(100_000))
    page = visit("olga")
    page.find("//h1[text()='Calls']")
    first = [one.get_attribute("id") for one in page.find_all("//tr[starts-with(@id, 'call-')]")]
    assert first == [f"call-{number:032x}" for number in range(50)]
    assert not page.is_too_wide
    page.click("//a[@rel='next']")
    page.find(f"//tr[@id='call-{50:032x}']")
    page.find("//input[@name='q']").send_keys("LEAD_99999")
    page.click("//button[text()='Show']")
    page.find(f"//tr[@id='call-{99_999:032x}']")
    assert len(page.find_all("//tr[starts-with(@id, 'call-')]")) == 1
