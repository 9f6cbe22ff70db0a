"""A real browser, Debian's Chromium, and what a person does in it."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from typing import Any

import pytest

SECONDS = 120
CHROMIUM, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")


@pytest.fixture
def chromium() -> Iterator[Any]:
    """A browser; without one the tests are skipped, but fail where ``CI`` is set."""
    if CHROMIUM is None or DRIVER is None:
        reason = "no browser: apt-get install chromium chromium-driver"
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)
    browser = start_chromium()
    yield browser
    browser.quit()


def start_chromium() -> Any:
    """Start a browser without a window."""
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service

    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    options.page_load_strategy = "eager"
    for argument in ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--window-size=1400,1000"):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    browser = webdriver.Chrome(options=options, service=Service(DRIVER))
    browser.set_page_load_timeout(SECONDS)
    return browser


class Page:
    """What a person sees and does, with patience."""

    def __init__(self, browser: Any) -> None:
        self._browser = browser

    def find(self, xpath: str) -> Any:
        """Wait for an element that is shown."""
        from selenium.common.exceptions import StaleElementReferenceException
        from selenium.webdriver.support.ui import WebDriverWait

        def shown(browser: Any) -> Any:
            return next((one for one in browser.find_elements("xpath", xpath) if one.is_displayed()), None)

        wait = WebDriverWait(self._browser, SECONDS, ignored_exceptions=[StaleElementReferenceException])
        return wait.until(shown, f"{xpath} is not there:\n{self._browser.page_source[:3000]}")

    def find_all(self, xpath: str) -> list[Any]:
        """Give the elements that are shown now."""
        return [one for one in self._browser.find_elements("xpath", xpath) if one.is_displayed()]

    def click(self, xpath: str) -> None:
        """Click an element, also when the page has just put another one in its place."""
        from selenium.common.exceptions import WebDriverException
        from selenium.webdriver.support.ui import WebDriverWait

        def clicked(_browser: Any) -> bool:
            self.find(xpath).click()
            return True

        WebDriverWait(self._browser, SECONDS, ignored_exceptions=[WebDriverException]).until(clicked)

    def wait(self, condition: Any, what: str) -> None:
        from selenium.webdriver.support.ui import WebDriverWait

        WebDriverWait(self._browser, SECONDS).until(condition, what)

    @property
    def is_too_wide(self) -> bool:
        """Whether a person has to scroll sideways."""
        script = "return document.documentElement.scrollWidth > innerWidth"
        return bool(self._browser.execute_script(script))
