"""What tests of a real Airflow share: one that runs, or a metadata database and a receiver in front of it."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import uvicorn

from airflow_provider_b24.demo import example_dags
from airflow_provider_b24.demo.appraiser import Appraiser
from airflow_provider_b24.hooks.connection import PortalConnection
from airflow_provider_b24.hooks.installations import Installation, InstallationStore
from airflow_provider_b24.hooks.tokens import VariableTokenStore
from airflow_provider_b24.receiver import create_app
from airflow_provider_b24.sandbox import Call, Process, SandboxPortal
from airflow_provider_b24.testing.local_airflow import LocalAirflow
from airflow_provider_b24.testing.sandbox_connection import oauth_connection

if TYPE_CHECKING:
    from airflow_provider_b24.rest import Tokens

CONN_ID = "bitrix24_default"
APPLICATION_CONN_ID = "crm"


@pytest.fixture(scope="session")
def live_portal() -> Iterator[SandboxPortal]:
    """The portal that the real Airflow is connected to."""
    with SandboxPortal() as portal:
        yield portal


@pytest.fixture(scope="session")
def appraiser() -> Iterator[Appraiser]:
    """The external worker of the example DAG."""
    with Appraiser() as appraiser:
        yield appraiser


@pytest.fixture(scope="session")
def live_airflow(
    live_portal: SandboxPortal, appraiser: Appraiser, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[LocalAirflow]:
    """A real scheduler, triggerer, DAG processor and API server with the example DAGs and those of the tests."""
    dags = tmp_path_factory.mktemp("dags")
    for folder in (example_dags(), Path(__file__).parent / "dags"):
        shutil.copytree(folder, dags, dirs_exist_ok=True, ignore=shutil.ignore_patterns("__pycache__"))
    home = tmp_path_factory.mktemp("airflow")
    with LocalAirflow(dags, home=home, env={"AIRFLOW_VAR_APPRAISER_URL": appraiser.url}) as airflow:
        airflow.add_connection(CONN_ID, oauth_connection(live_portal))
        command = [sys.executable, "-m", "airflow_provider_b24.cli", "robots", "apply", "--yes"]
        applied = subprocess.run(command, env=airflow.env, capture_output=True, text=True, check=False)
        assert applied.returncode == 0, applied.stdout + applied.stderr
        yield airflow


@pytest.fixture(scope="session")
def call_of(live_portal: SandboxPortal) -> Callable[[Process], Call]:
    """The robot call of a process, once it has been accepted: tests share the portal, and its calls."""

    def find(process: Process) -> Call:
        [call] = [call for call in live_portal.calls if call.fields["workflow_id"] == process.id]
        call.wait(30)
        assert call.status == 202, f"{call.error} {call.answer}"
        return call

    return find


def point_at_configured_database() -> None:
    from airflow import settings

    settings.dispose_orm()
    settings.configure_vars()
    settings.configure_orm()


@pytest.fixture(scope="module")
def open_metadata_database() -> Callable[[str], AbstractContextManager[None]]:
    """Point this process's Airflow at an empty database, given by its address, for the time of a ``with`` block."""
    from airflow.models.crypto import get_fernet
    from airflow.utils.db import initdb
    from cryptography.fernet import Fernet

    @contextmanager
    def opened(url: str) -> Iterator[None]:
        before = dict(os.environ)
        os.environ["AIRFLOW__DATABASE__SQL_ALCHEMY_CONN"] = url
        os.environ["AIRFLOW__API__BASE_URL"] = "http://testserver"
        os.environ["AIRFLOW__CORE__FERNET_KEY"] = Fernet.generate_key().decode()
        os.environ["_AIRFLOW_PROCESS_CONTEXT"] = "server"
        get_fernet.cache_clear()
        point_at_configured_database()
        try:
            initdb()
            yield
        finally:
            os.environ.clear()
            os.environ.update(before)
            get_fernet.cache_clear()
            point_at_configured_database()

    return opened


@pytest.fixture(scope="module")
def metadata_database(
    open_metadata_database: Callable[[str], AbstractContextManager[None]],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Path]:
    """Point this process's Airflow at a fresh SQLite database."""
    path = tmp_path_factory.mktemp("metadata") / "airflow.db"
    with open_metadata_database(f"sqlite:///{path}"):
        yield path


@pytest.fixture
def airflow_session(metadata_database: Path) -> Iterator[Any]:
    """Give a session of the test's own; what it writes must be committed to be seen by the receiver."""
    from airflow import settings

    session = settings.NonScopedSession()
    yield session
    session.rollback()
    session.close()


@pytest.fixture
def database_away(metadata_database: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[], Any]:
    """Take the metadata database away for the time of a ``with`` block."""

    @contextmanager
    def away() -> Iterator[None]:
        with monkeypatch.context() as patch:
            patch.setenv(
                "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN", f"sqlite:///{metadata_database.parent}/away/x.db"
            )
            point_at_configured_database()
            yield
        point_at_configured_database()

    return away


@pytest.fixture
def bitrix() -> Iterator[SandboxPortal]:
    with SandboxPortal(limits=False) as portal:
        yield portal


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
def stored_tokens() -> Callable[[], Tokens | None]:
    """Read the pair of tokens that is stored beside it."""

    def read() -> Tokens | None:
        record = VariableTokenStore(PortalConnection.load(APPLICATION_CONN_ID)).read()
        return record.tokens if record else None

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
