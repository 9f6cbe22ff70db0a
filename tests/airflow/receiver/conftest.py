"""A receiver that is connected to a sandbox portal: the installation of an application."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import pytest
import uvicorn

from airflow_provider_b24.hooks.connection import PortalConnection
from airflow_provider_b24.hooks.installations import Installation, InstallationStore
from airflow_provider_b24.receiver import create_app

if TYPE_CHECKING:
    from airflow_provider_b24.sandbox import SandboxPortal

APPLICATION_CONN_ID = "crm"


@pytest.fixture
def connect(airflow_session: Any, bitrix: SandboxPortal) -> Iterator[Callable[..., None]]:
    """Create the connection ``crm`` to the portal's application, as somebody would who has just got its keys."""
    from airflow.models.connection import Connection
    from airflow.models.variable import Variable
    from sqlalchemy import delete

    def clear() -> None:
        airflow_session.rollback()
        airflow_session.execute(delete(Connection))
        airflow_session.execute(delete(Variable))
        airflow_session.commit()

    def create(host: str | None = None, **extra: Any) -> None:
        clear()
        given = {
            "client_id": bitrix.application.client_id,
            "client_secret": bitrix.application.client_secret,
            "oauth_server": bitrix.url,
        } | extra
        airflow_session.add(
            Connection(
                conn_id=APPLICATION_CONN_ID,
                conn_type="bitrix24",
                host=host or bitrix.url,
                extra={name: value for name, value in given.items() if value is not None},
            )
        )
        airflow_session.commit()

    yield create
    clear()


@pytest.fixture
def served(metadata_database: Any, tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Serve a receiver where a portal can reach it, and give its address."""
    app = create_app(spool_folder=tmp_path / "spool")
    sock = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(app, log_level="warning", lifespan="off"))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [sock]}, daemon=True)
    thread.start()
    url = f"http://127.0.0.1:{sock.getsockname()[1]}"
    monkeypatch.setenv("AIRFLOW__BITRIX24__RECEIVER_URL", url)
    yield url
    server.should_exit = True
    thread.join(10)


@pytest.fixture(scope="session")
def api_server_secrets() -> Iterator[None]:
    """Give the API server its secrets: one pair for all tests, because Airflow reads them once in a process."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(
            "AIRFLOW__API_AUTH__JWT_SECRET",
            "a-secret-that-is-long-enough-for-a-test-of-jwt-signatures-0123456789",
        )
        patch.setenv("AIRFLOW__API__SECRET_KEY", "the-api-servers-secret")
        yield


@pytest.fixture
def events(served: str) -> str:
    """Give the address for the events of the application."""
    return f"{served}/{APPLICATION_CONN_ID}/events"


@pytest.fixture
def install_page(served: str) -> str:
    """Give the address of the application's page."""
    return f"{served}/{APPLICATION_CONN_ID}/install"


@pytest.fixture
def tokens_asked(bitrix: SandboxPortal) -> Callable[[], int]:
    """Count the requests to the authorization server."""
    return lambda: sum(request.method == "oauth.token" for request in bitrix.requests)


@pytest.fixture
def stored() -> Callable[[], Installation | None]:
    """Read what is stored about the installation."""

    def read() -> Installation | None:
        return InstallationStore(PortalConnection.load(APPLICATION_CONN_ID)).read()

    return read


@pytest.fixture
def nothing_leaks(bitrix: SandboxPortal, caplog: pytest.LogCaptureFixture) -> Callable[..., None]:
    """Check that no secret of the portal is in a text, or in any log."""
    caplog.set_level("DEBUG")

    def check(*texts: str) -> None:
        secrets = {
            bitrix.application.client_secret,
            bitrix.application.application_token,
            bitrix.application.access_token,
            bitrix.application.refresh_token,
        }
        for pairs in (bitrix.callers.tokens._by_access, bitrix.callers.tokens._by_refresh):
            secrets |= set(pairs)
        for text in (*texts, caplog.text):
            assert not [secret for secret in secrets if secret in text]

    return check
