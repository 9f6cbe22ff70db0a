"""What the pages' script does by itself: a real browser, and the pages without the rest of Airflow."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import pytest
import uvicorn
from starlette.applications import Starlette

from ...browser import Page


@pytest.fixture
def page(auth_manager: Any, chromium: Any) -> Iterator[Page]:
    """A browser in which Olga is signed in, at the list of calls."""
    from airflow.api_fastapi.auth.managers.simple.user import SimpleAuthManagerUser

    from airflow_provider_b24.pages.app import create_app

    applications = Starlette()
    applications.mount("/bitrix24-pages", create_app())
    server = uvicorn.Server(uvicorn.Config(applications, port=0, log_level="error"))
    thread = threading.Thread(target=server.run)
    page = Page(chromium)
    thread.start()
    try:
        page.wait(lambda _: server.started, "the pages are not served")
        port = server.servers[0].sockets[0].getsockname()[1]
        url = f"http://127.0.0.1:{port}/bitrix24-pages"
        chromium.get(f"{url}/static/pages.css")
        olga = SimpleAuthManagerUser(username="olga", role="OP")
        chromium.add_cookie({"name": "_token", "value": auth_manager.generate_jwt(olga)})
        chromium.get(f"{url}/calls")
        yield page
    finally:
        server.should_exit = True
        thread.join()


def test_what_was_typed_and_chosen_stays_when_the_list_refreshes(
    called: Any, page: Page, chromium: Any
) -> None:
    chromium.refresh()
    page.click(f"//input[@value='{called.call.id}']")
    page.find("//input[@id='q']").send_keys("LEAD_7")
    chromium.execute_script(
        "document.activeElement.blur(); document.querySelector('h1').textContent = 'before'"
    )

    page.find("//h1[.='Calls']")

    assert page.find("//input[@id='q']").get_attribute("value") == "LEAD_7"
    assert page.find(f"//input[@value='{called.call.id}']").is_selected()
