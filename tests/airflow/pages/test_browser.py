"""The pages in a real Airflow's UI, in a real browser: Debian's Chromium."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest
import requests

from airflow_provider_b24._airflow.versions import airflow_version
from airflow_provider_b24.sandbox import CallRobot

from ...browser import SECONDS, Page

if TYPE_CHECKING:
    from airflow_provider_b24.sandbox import SandboxPortal
    from airflow_provider_b24.testing.local_airflow import LocalAirflow

pytestmark = pytest.mark.live


@pytest.fixture
def open_frame(chromium: Any, live_airflow: LocalAirflow) -> Any:
    """Open one of our views in Airflow's UI, and go into its frame."""

    def open_(address: str) -> Page:
        token = requests.get(f"{live_airflow.url}/auth/token", timeout=SECONDS).json()["access_token"]
        chromium.get(f"{live_airflow.url}/bitrix24-pages/static/pages.css")
        chromium.add_cookie({"name": "_token", "value": token})
        page = Page(chromium)
        if airflow_version() < (3, 1):
            chromium.get(f"{live_airflow.url}/bitrix24-pages/calls")
        else:
            chromium.get(live_airflow.url + address)
            chromium.switch_to.frame(page.find("//iframe[contains(@src, 'bitrix24-pages')]"))
        return page

    return open_


@pytest.fixture
def waiting(
    live_portal: SandboxPortal, call_of: Any, live_airflow: LocalAirflow
) -> Iterator[tuple[Any, str]]:
    """A process that waits for a run that takes long, and the id of the run; it is stopped after the test."""
    process = live_portal.start_process([CallRobot("one_answer", {"seconds": 3600}, name="Long")])
    run_id = json.loads(call_of(process).answer)["run_id"]
    yield process, run_id
    live_airflow.request("PATCH", f"dags/one_answer/dagRuns/{run_id}", {"state": "failed"})


def test_a_call_is_found_and_answered_by_hand(
    live_portal: SandboxPortal, chromium: Any, open_frame: Any, waiting: tuple[Any, str]
) -> None:
    process, _ = waiting
    page = open_frame("/plugin/bitrix24_calls")
    page.find("//input[@name='q']").send_keys(process.id)
    page.click("//button[text()='Show']")
    page.click(f"//tr[td[text()='{process.id}']]//a[contains(@href, '/calls/')]")
    page.click("//button[text()='Answer by hand']")
    page.find("//input[@name='value.verdict']").send_keys("by a person")
    page.click("//button[text()='Check the answer']")
    page.click("//button[text()='Send the answer']")
    page.find("//li[contains(., 'The portal has taken the answer.')]")
    [answer] = [one for one in live_portal.answers if dict(one.values) == {"verdict": "by a person"}]
    assert answer.token.startswith(process.id)
    page.click("//a[text()='To the call']")
    page.find("//h1//*[text()='answered-by-hand']")
    errors = [one for one in chromium.get_log("browser") if "bitrix24-pages" in one["message"]]
    assert not [one for one in errors if one["level"] == "SEVERE"], errors


@pytest.mark.skipif(airflow_version() < (3, 1), reason="Airflow 3.0 has no place for pages in its UI")
def test_a_link_to_a_run_leaves_the_frame_and_the_run_has_the_call_as_a_tab(
    live_airflow: LocalAirflow, chromium: Any, open_frame: Any, waiting: tuple[Any, str]
) -> None:
    process, run_id = waiting
    page = open_frame(f"/plugin/bitrix24_calls#/calls?q={process.id}")  # as somebody was sent it
    page.click(f"//tr[td[text()='{process.id}']]//a[@title='{run_id}']")
    chromium.switch_to.default_content()
    page.wait(
        lambda browser: f"/dags/one_answer/runs/{run_id}" in browser.current_url, "the run is not shown"
    )
    page = open_frame(f"/dags/one_answer/runs/{run_id}/plugin/bitrix24_call")
    page.find(f"//*[contains(text(), '{process.id}')]")
    chromium.switch_to.default_content()
    page.find("//a[contains(., 'Bitrix24 call')]")


@pytest.mark.skipif(airflow_version() < (3, 3), reason="the form is looked for as Airflow 3.3 has it")
def test_a_connection_made_with_the_form_passes_airflows_test(
    live_portal: SandboxPortal, chromium: Any, open_frame: Any, live_airflow: LocalAirflow
) -> None:
    from selenium.webdriver.common.keys import Keys

    page = open_frame("/plugin/bitrix24_connections")
    chromium.get(f"{live_airflow.url}/connections")
    page.click("//button[normalize-space()='Add Connection']")
    page.find("//input[@name='connection_id']").send_keys("made_with_the_form")
    kind = page.find("//*[@role='dialog']//input[@role='combobox']")
    kind.send_keys("bitrix24")
    page.find("//*[@role='option'][contains(., 'itrix24')]")
    kind.send_keys(Keys.ENTER)
    portal, webhook = urlsplit(live_portal.url), live_portal.webhook
    typed = {
        "host": f"{portal.scheme}://{portal.hostname}",
        "login": str(webhook.user_id),
        "password": webhook.code,
        # Without a port Airflow's own page asks for port 0, and its API refuses.
        "port": str(portal.port),
    }
    for name, text in typed.items():
        page.find(f"//*[@role='dialog']//input[@name='{name}']").send_keys(text)
    try:
        page.click("//*[@role='dialog']//button[normalize-space()='Save']")
        page.click("//tr[contains(., 'made_with_the_form')]//button[@aria-label='Test Connection']")
        page.find(f"//*[contains(text(), 'Connected to {portal.netloc} as user')]")
    finally:
        live_airflow.request("DELETE", "connections/made_with_the_form")


@pytest.mark.skipif(airflow_version() < (3, 1), reason="Airflow 3.0 has no place for pages in its UI")
def test_doctor_is_run_with_a_button(chromium: Any, open_frame: Any) -> None:
    page = open_frame("/plugin/bitrix24_connections")
    page.click("//section[@id='connection-bitrix24_default']//button[text()='Run doctor']")
    page.find("//td[contains(., 'Permitted: bizproc')]")
    assert not page.is_too_wide


def test_the_look_is_airflows(chromium: Any, open_frame: Any) -> None:
    page = open_frame("/plugin/bitrix24_calls")
    page.find("//h1[text()='Calls']")
    colours = set()
    for theme in ("light", "dark"):
        chromium.execute_script("localStorage.setItem('theme', arguments[0])", theme)
        page = open_frame("/plugin/bitrix24_calls")
        page.find("//h1[text()='Calls']")
        colours.add(chromium.execute_script("return getComputedStyle(document.body).backgroundColor"))
    assert colours == {"rgb(255, 255, 255)", "rgb(0, 0, 0)"}


def test_the_list_fits_on_a_phone(chromium: Any, open_frame: Any, waiting: tuple[Any, str]) -> None:
    chromium.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride",
        {"width": 360, "height": 740, "deviceScaleFactor": 2, "mobile": True},
    )
    page = open_frame("/plugin/bitrix24_calls")
    page.find("//h1[text()='Calls']")
    assert not page.is_too_wide
