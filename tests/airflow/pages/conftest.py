"""The pages as Airflow's API server mounts them, people who are signed in, and calls on record."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.testclient import TestClient

from ...browser import chromium
from ..calls.conftest import call_robot, called, connection, robot, work

__all__ = ["call_robot", "called", "chromium", "connection", "robot", "work"]


class Browser(TestClient):
    """A browser, at the pages' root."""

    def token(self, path: str) -> str:
        """Give the token of the form on a page."""
        found = re.search(r'name="token" value="([^"]+)"', self.get(path).text)
        assert found is not None
        return found[1]


@pytest.fixture
def browse(auth_manager: Any) -> Iterator[Callable[..., Browser]]:
    """Open a browser in which somebody is signed in.

    :param name: ``None`` for nobody.
    """
    from airflow.api_fastapi.auth.managers.simple.user import SimpleAuthManagerUser

    from airflow_provider_b24.pages.app import create_app

    server = Starlette()
    server.mount("/bitrix24-pages", create_app())

    def browse(name: str | None = "olga", role: str = "OP", seconds: int = 600) -> Browser:
        browser = Browser(server, base_url="http://testserver/bitrix24-pages/")
        if name is not None:
            user = SimpleAuthManagerUser(username=name, role=role)
            browser.cookies.set("_token", auth_manager.generate_jwt(user, expiration_time_in_seconds=seconds))
        return browser

    return browse


@pytest.fixture
def olga(browse: Callable[..., Browser]) -> Browser:
    """An operator: may see and edit runs and connections."""
    return browse()


@pytest.fixture
def vera(browse: Callable[..., Browser]) -> Browser:
    """A viewer: may see runs, and no more."""
    return browse("vera", "VIEWER")


@pytest.fixture
def audit(airflow_session: Any) -> Callable[[], list[Any]]:
    """Read what the audit log has of calls."""
    from airflow.models.log import Log
    from sqlalchemy import delete, select

    def read() -> list[Any]:
        airflow_session.rollback()
        query = select(Log).where(Log.event.startswith("bitrix24_")).order_by(Log.id)
        return list(airflow_session.scalars(query))

    airflow_session.execute(delete(Log))
    airflow_session.commit()
    return read
