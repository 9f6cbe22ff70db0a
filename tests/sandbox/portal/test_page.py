"""The page of the portal, in a real browser, as a person uses it."""

from __future__ import annotations

from typing import Any

import pytest
from selenium.webdriver.common.action_chains import ActionChains

from airflow_provider_b24.sandbox import AnswerHtml, AskPerson, CallRobot, SandboxPortal, SetField

from ...browser import Page, chromium

__all__ = ["chromium"]

PROPERTIES = {
    "budget": {"Name": "Budget", "Type": "double", "Required": "Y"},
    "model": {
        "Name": "Model",
        "Type": "select",
        "Options": {"fast": "Fast", "deep": "Deep"},
        "Default": "fast",
    },
    "tags": {"Name": "Tags", "Type": "string", "Multiple": "Y"},
    "urgent": {"Name": "Urgent", "Type": "bool"},
}
DEAL = ("crm", "CCrmDocumentDeal", "DEAL_1")


@pytest.fixture
def page(chromium: Any, live_portal: SandboxPortal) -> Page:
    chromium.get(live_portal.url)
    page = Page(chromium)
    page.find("//*[@id='link'][.='live']")
    return page


def test_a_process_is_started_with_a_robots_own_properties_and_watched_to_its_end(
    page: Page, live_portal: SandboxPortal, rest: Any, register: Any
) -> None:
    register(PROPERTIES=PROPERTIES)
    page.click("//summary[.='Start a process']")
    page.find("//input[@name='property:budget']").send_keys("60000")
    page.find("//select[@name='property:model']").send_keys("Deep")
    page.find("//textarea[@name='property:tags']").send_keys("one\ntwo")
    page.click("//form[@id='start-form']//button")

    call = live_portal.wait_for_call(60)
    assert call.fields["properties"] == {"budget": "60000", "model": "deep", "tags": ["one", "two"]}
    page.find("//details[@open]//*[contains(., 'the handler has taken the call (200)')]")

    (process,) = live_portal.processes.values()
    values = {"event_token": process.waiting_for, "return_values": {"score": 60}}
    rest.application("bizproc.event.send", values)

    page.find("//li[contains(@class, 'answered')][contains(., 'answered: score=60')]")
    page.find("//details//*[contains(@class, 'pill')][.='completed']")


def test_a_call_that_is_lost_is_loud_and_is_sent_again(
    page: Page, live_portal: SandboxPortal, robot_handler: Any, register: Any
) -> None:
    register()
    robot_handler.status = 404
    live_portal.start_process([CallRobot("score")])
    page.find("//summary[contains(., '1 problem')]").click()
    page.find("//*[@class='why bad'][contains(., 'nobody is going to answer')]")
    robot_handler.status = 200
    page.click("//button[.='Send the last call again']")
    live_portal.wait_until(lambda: len(robot_handler.received) == 2, 60)
    (_, first), (_, second) = robot_handler.received
    assert first == second


def test_a_person_is_asked_and_decides(page: Page, live_portal: SandboxPortal) -> None:
    process = live_portal.start_process([AskPerson(2, "Call the <b>customer</b>?")], DEAL)
    page.find("//*[@id='tasks']//strong[.='Call the <b>customer</b>?']")
    page.find("//*[@id='processes']//summary[contains(., 'waits for Emil Employee')]")
    page.find("//input[@aria-label='Comment']").send_keys("too busy")
    page.click("//button[.='Reject']")
    process.wait(60)
    assert process.answers["A1"] == {"Status": 2, "Comment": "too busy"}
    page.find("//*[@id='tasks']//*[.='rejected']")


def test_a_card_is_dragged_to_another_stage_and_starts_what_belongs_there(
    chromium: Any, page: Page, live_portal: SandboxPortal
) -> None:
    live_portal.add_automation("deal", "PREPARATION", [SetField("COMMENTS", "prepared")])
    live_portal.add_records("deal", [{"TITLE": "Piano"}])
    page.find("//select[@aria-label='Records on the board']/option[starts-with(., 'deal')]").click()
    card = page.find("//*[@id='card-1'][contains(., 'Piano')]")
    ActionChains(chromium).drag_and_drop(card, page.find("//*[@data-stage='PREPARATION']")).perform()
    page.find("//*[@data-stage='PREPARATION']//*[@id='card-1']")
    assert live_portal.records("deal").rows()[0]["COMMENTS"] == "prepared"

    page.find("//select[@aria-label='Stage of Piano']/option[.='Won']").click()
    page.find("//*[@data-stage='WON']//*[@id='card-1']")
    assert live_portal.records("deal").rows()[0]["STAGE_ID"] == "WON"


def test_requests_are_shown_with_bodies_and_without_secrets(
    page: Page, live_portal: SandboxPortal, rest: Any
) -> None:
    rest.application("crm.deal.add", {"fields": {"TITLE": "<script>alert(1)</script>"}})
    page.click("//*[@id='activity']//button[.='crm.deal.add']")
    shown = page.find("//dialog[@open]").text
    assert "<script>alert(1)</script>" in shown
    assert '"result": 1' in shown
    assert live_portal.application.access_token not in shown


def test_faults_the_clock_and_switches_are_at_hand(page: Page, live_portal: SandboxPortal, rest: Any) -> None:
    page.find("//select[@aria-label='Fault']/option[.='503 with HTML']").click()
    page.find("//input[@aria-label='Method']").send_keys("profile")
    page.click("//button[.='Plan']")
    page.find("//*[@id='faults'][contains(., 'AnswerHtml')]")
    assert rest.http.get(live_portal.webhook.url + "profile").status_code == 503
    page.find("//*[@id='faults'][contains(., 'Nothing goes wrong')]")

    live_portal.faults.add(AnswerHtml(), times=None)
    page.click("//button[.='Clear all']")
    page.wait(lambda _: not live_portal.faults.planned(), "the faults are cleared")

    before = live_portal.clock.now()
    page.click("//button[.='+1 h']")
    page.wait(lambda _: live_portal.clock.now() >= before + 3600, "the clock is moved")

    page.click("//input[@name='closed']")
    page.wait(lambda _: live_portal.closed, "the portal is closed")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_phone_shows_it_all_without_scrolling_sideways(
    chromium: Any, page: Page, live_portal: SandboxPortal, register: Any, scheme: str
) -> None:
    register(PROPERTIES=PROPERTIES)
    live_portal.add_records("deal", 3)
    live_portal.start_process([CallRobot("score")])
    live_portal.wait_for_call()
    phone = {"width": 360, "height": 740, "deviceScaleFactor": 1, "mobile": True}
    chromium.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", phone)
    wanted = {"features": [{"name": "prefers-color-scheme", "value": scheme}]}
    chromium.execute_cdp_cmd("Emulation.setEmulatedMedia", wanted)
    page.click("//*[@id='processes']//summary")
    page.click("//summary[.='Start a process']")
    page.find("//li[contains(@class, 'called')]")
    assert not page.is_too_wide
    colours = [
        chromium.execute_script(f"return getComputedStyle(document.body).{name}")
        for name in ("backgroundColor", "color")
    ]
    back, text = (sum(int(part) for part in colour[4:-1].split(",")) for colour in colours)
    assert (back > text) == (scheme == "light")


def test_the_page_says_when_the_portal_is_gone_and_logs_no_error(
    chromium: Any, page: Page, live_portal: SandboxPortal
) -> None:
    page.find("//dd/code[contains(., '/rest/1/')]")
    assert [entry["message"] for entry in chromium.get_log("browser")] == []
    live_portal.stop()
    page.find("//*[@id='link'][.='the portal does not answer']")


def test_a_link_to_a_process_or_a_record_shows_it(
    chromium: Any, live_portal: SandboxPortal, register: Any
) -> None:
    register()
    processes = [live_portal.start_process([CallRobot("score")], DEAL) for _ in range(3)]
    wanted = processes[0].id
    page = Page(chromium)
    chromium.get(f"{live_portal.url}/company/personal/bizproc/{wanted}/")
    page.find(f"//details[@open][@id='process-{wanted}']")
    chromium.get(f"{live_portal.url}/crm/deal/details/1/")
    page.find("//*[@id='card-1']")
