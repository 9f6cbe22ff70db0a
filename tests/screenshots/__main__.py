"""Take the pictures in `docs/images`: ``make screenshots``."""

from __future__ import annotations

import base64
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import requests

from airflow_provider_b24.sandbox import SandboxPortal
from airflow_provider_b24.testing.local_airflow import LocalAirflow
from airflow_provider_b24.testing.sandbox_connection import oauth_connection
from tests.browser import CHROMIUM, DRIVER, SECONDS, Page, start_chromium
from tests.screenshots import sandbox
from tests.screenshots.calls import CONN_ID, make_calls

IMAGES = Path(__file__).parents[2] / "docs" / "images"
MOST_BYTES = 150_000


def main() -> int:
    # Everything must end with this process.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    if CHROMIUM is None or DRIVER is None:
        print("There is no browser: apt-get install chromium chromium-driver", file=sys.stderr)
        return 2
    IMAGES.mkdir(exist_ok=True)
    sandbox.take()
    with tempfile.TemporaryDirectory() as folder, SandboxPortal() as portal:
        dags = Path(folder) / "dags"
        shutil.copytree(Path(__file__).parent / "dags", dags)
        env = {"AIRFLOW__WEBSERVER__INSTANCE_NAME": "Airflow"}
        with LocalAirflow(dags, home=Path(folder) / "home", env=env) as airflow:
            airflow.add_connection(CONN_ID, oauth_connection(portal))
            make_calls(portal, airflow, dags)
            with _camera(airflow) as camera:
                take_all(camera)
    return 0


class Camera:
    """A browser that is signed in, and takes pictures."""

    def __init__(self, browser: Any, airflow: LocalAirflow) -> None:
        self.browser, self.page, self._airflow = browser, Page(browser), airflow

    def sign_in(self) -> None:
        token = requests.get(f"{self._airflow.url}/auth/token", timeout=SECONDS).json()["access_token"]
        self.browser.get(f"{self._airflow.url}/bitrix24-pages/static/pages.css")
        self.browser.add_cookie({"name": "_token", "value": token})

    def look(self, *, dark: bool = False, phone: bool = False, height: int = 800) -> None:
        """Take Airflow's look and a size for what is opened next."""
        theme = "dark" if dark else "light"
        self.browser.execute_script("localStorage.setItem('theme', arguments[0])", theme)
        size = {"width": 390, "height": 760} if phone else {"width": 1280, "height": height}
        scale = {"deviceScaleFactor": 1.5 if phone else 1, "mobile": phone}
        self.browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size | scale)

    def open(self, address: str, *, framed: bool = True) -> Page:
        """Open a page of Airflow's UI, and go into the frame that has ours."""
        self.browser.switch_to.default_content()
        self.browser.get(self._airflow.url + address)
        if framed:
            frame = "//iframe[contains(@src, 'bitrix24-pages')]"
            self.browser.switch_to.frame(self.page.find(frame))
        return self.page

    def address_of(self, xpath: str) -> str:
        """Give where a link leads."""
        return str(self.page.find(xpath).get_attribute("href")).removeprefix(self._airflow.url)

    def take(self, name: str) -> None:
        """Write what is shown now."""
        _settle(self.browser)
        taken = self.browser.execute_cdp_cmd("Page.captureScreenshot", {"format": "png"})
        picture = base64.b64decode(taken["data"])
        if len(picture) > MOST_BYTES:
            print(f"{name}.png has {len(picture)} bytes, and {MOST_BYTES} are enough", file=sys.stderr)
        (IMAGES / f"{name}.png").write_bytes(picture)


@contextmanager
def _camera(airflow: LocalAirflow) -> Iterator[Camera]:
    browser = start_chromium()
    try:
        camera = Camera(browser, airflow)
        camera.sign_in()
        yield camera
    finally:
        browser.quit()


def take_all(camera: Camera) -> None:
    """Take one picture after the other; one that fails keeps nobody from taking the others."""
    failed = []
    for picture in PICTURES:
        try:
            camera.look()
            picture(camera)
        except Exception as error:
            failed.append(f"{picture.__name__}: {error}")
    if failed:
        raise SystemExit("\n".join(failed))


def calls(camera: Camera) -> None:
    camera.look(height=720)
    _list_of_calls(camera)
    camera.take("calls")


def calls_dark(camera: Camera) -> None:
    camera.look(dark=True, height=720)
    _list_of_calls(camera)
    camera.take("calls-dark")


def calls_on_a_phone(camera: Camera) -> None:
    camera.look(phone=True)
    _list_of_calls(camera)
    camera.take("calls-phone")


def one_call(camera: Camera) -> None:
    camera.look(height=900)
    page = _list_of_calls(camera)
    page.click("//tr[td[text()='LEAD_4211']]//a[contains(@href, '/calls/')]")
    page.find("//h2[text()='Timeline']")
    camera.take("call")


def answer_by_hand(camera: Camera) -> None:
    page = _list_of_calls(camera)
    page.click("//tr[td[text()='LEAD_4211']]//a[contains(@href, '/calls/')]")
    page.click("//button[text()='Answer by hand']")
    page.find("//textarea").send_keys("Dear Mayor Roth, we gladly offer you the grand piano at 41,000 euros.")
    camera.take("answer-by-hand")


def robots_with_a_plan(camera: Camera) -> None:
    page = camera.open("/plugin/bitrix24_robots")
    page.click("//a[contains(., 'Compare with the portal')]")
    page.find("//button[contains(., 'Apply')]")
    camera.take("robots")


def connections_with_doctor(camera: Camera) -> None:
    camera.look(height=640)
    page = camera.open("/plugin/bitrix24_connections")
    page.click("//button[text()='Run doctor']")
    page.find("//td[contains(., 'Permitted: bizproc')]")
    camera.take("connections")


def tab_of_a_run(camera: Camera) -> None:
    _list_of_calls(camera)
    run = camera.address_of("//tr[td[text()='LEAD_4205']]//a[@data-top]")
    page = camera.open(f"{run}/plugin/bitrix24_call")
    page.find("//h2[text()='Timeline']")
    camera.take("run")


def trigger_form(camera: Camera) -> None:
    page = camera.open("/dags/score_lead", framed=False)
    page.click("//button[contains(., 'Trigger')]")
    page.find("//*[@role='dialog']//input[contains(@name, 'title')]").send_keys("Opera Graz, harp")
    page.find("//*[@role='dialog']//input[@inputmode='decimal']").send_keys("31000")
    camera.take("trigger-form")


def connection_form(camera: Camera) -> None:
    from selenium.webdriver.common.keys import Keys

    camera.look(height=1000)
    page = camera.open("/connections", framed=False)
    page.click("//button[normalize-space()='Add Connection']")
    page.find("//input[@name='connection_id']").send_keys("crm")
    kind = page.find("//*[@role='dialog']//input[@role='combobox']")
    kind.send_keys("bitrix24")
    page.find("//*[@role='option'][contains(., 'itrix24')]")
    kind.send_keys(Keys.ENTER)
    page.find("//*[@role='dialog']//input[@name='host']").send_keys("example.bitrix24.com")
    page.click("//*[@role='dialog']//button[normalize-space()='Extra Fields']")
    page.find("//*[@role='dialog']//*[contains(text(), 'Client secret')]")
    camera.take("connection-form")


PICTURES: tuple[Callable[[Camera], None], ...] = (
    calls,
    calls_dark,
    calls_on_a_phone,
    one_call,
    answer_by_hand,
    robots_with_a_plan,
    connections_with_doctor,
    tab_of_a_run,
    trigger_form,
    connection_form,
)


def _list_of_calls(camera: Camera) -> Page:
    page = camera.open("/plugin/bitrix24_calls")
    page.find("//h1[text()='Calls']")
    return page


def _settle(browser: Any) -> None:
    """Wait until nothing moves: two pictures that are the same, or a few seconds."""
    before = None
    for _ in range(10):
        time.sleep(0.5)
        with suppress(Exception):
            now = browser.execute_cdp_cmd("Page.captureScreenshot", {"format": "png"})["data"]
            if now == before:
                return
            before = now


if __name__ == "__main__":
    sys.exit(main())
