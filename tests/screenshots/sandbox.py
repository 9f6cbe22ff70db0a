"""The pictures of the sandbox portal's page; alone: ``python -m tests.screenshots.sandbox``."""

from __future__ import annotations

import base64
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import requests

from airflow_provider_b24.sandbox import AskPerson, CallRobot, SandboxPortal, SetField
from tests.browser import SECONDS, Page, start_chromium

IMAGES = Path(__file__).parents[2] / "docs" / "images"
PROPERTIES = {
    "title": {"Name": "Title", "Type": "string", "Required": "Y"},
    "budget": {"Name": "Budget", "Type": "double"},
    "model": {
        "Name": "Model",
        "Type": "select",
        "Options": {"fast": "Fast", "deep": "Deep"},
        "Default": "fast",
    },
}
RETURNED = {"score": {"Name": "Score", "Type": "int"}, "verdict": {"Name": "Verdict", "Type": "string"}}


def take() -> None:
    """Take them all."""
    with _handler() as url, SandboxPortal(port=8024) as portal:
        _fill(portal, url)
        browser = start_chromium()
        try:
            _take(browser, portal.url, "sandbox", dark=False, phone=False)
            _take(browser, portal.url, "sandbox-phone", dark=True, phone=True)
        finally:
            browser.quit()


def _fill(portal: SandboxPortal, url: str) -> None:
    def call(method: str, **parameters: Any) -> None:
        given = {**parameters, "auth": portal.application.access_token}
        requests.post(f"{portal.url}/rest/{method}", json=given, timeout=SECONDS)

    for code, name, handler in (
        ("score_lead", "Score the lead", f"{url}/bitrix24/bitrix24_default/robots/score_lead"),
        ("write_offer", "Write an offer", "http://127.0.0.1:9/bitrix24/bitrix24_default/robots/write_offer"),
    ):
        fields = {"CODE": code, "NAME": name, "HANDLER": handler, "USE_SUBSCRIPTION": "Y"}
        call("bizproc.robot.add", **fields, PROPERTIES=PROPERTIES, RETURN_PROPERTIES=RETURNED)
    portal.add_records(
        "deal",
        [
            {"TITLE": "Grand piano", "OPPORTUNITY": 41000},
            {"TITLE": "Two violins", "OPPORTUNITY": 5200},
            {"TITLE": "Harp for the opera", "OPPORTUNITY": 31000, "STAGE_ID": "PREPARATION"},
            {"TITLE": "Concert hall", "OPPORTUNITY": 90000, "STAGE_ID": "EXECUTING"},
        ],
    )
    asked = [CallRobot("score_lead", {"title": "Grand piano", "budget": 41000})]
    asked += [SetField("COMMENTS", "{=A1:verdict}"), AskPerson(2, "Call the customer?", "A big budget.")]
    first = portal.start_process(asked, _deal(1))
    portal.wait_for_call(SECONDS)
    values = {"score": 60, "verdict": "hot"}
    call("bizproc.event.send", event_token=first.waiting_for, return_values=values)
    portal.start_process([CallRobot("score_lead", {"title": "Harp"}, timeout_duration=900)], _deal(3))
    portal.start_process([CallRobot("write_offer", {"title": "Two violins"})], _deal(2))
    for _ in range(2):
        portal.wait_for_call(SECONDS)
    for method in ("crm.deal.list", "crm.item.lists", "user.current"):
        call(method)


def _deal(number: int) -> tuple[str, str, str]:
    return ("crm", "CCrmDocumentDeal", f"DEAL_{number}")


def _take(browser: Any, url: str, name: str, *, dark: bool, phone: bool) -> None:
    size = {"width": 390, "height": 760} if phone else {"width": 1100, "height": 820}
    scale = {"deviceScaleFactor": 1.5 if phone else 1, "mobile": phone}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size | scale)
    wanted = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [wanted]})
    browser.get(url)
    page = Page(browser)
    for title in ("Grand piano",) if phone else ("Two violins", "Grand piano"):
        page.click(f"//details[contains(@class, 'process')]/summary[contains(., '{title}')]")
    page.find("//*[@id='card-1']")
    taken = browser.execute_cdp_cmd("Page.captureScreenshot", {"format": "png"})
    (IMAGES / f"{name}.png").write_bytes(base64.b64decode(taken["data"]))


@contextmanager
def _handler() -> Iterator[str]:
    class Accepting(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(202)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Accepting)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


if __name__ == "__main__":
    take()
