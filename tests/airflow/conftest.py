"""What tests need of Airflow: a metadata database and a receiver in this process, or one real Airflow for all."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import threading
import uuid
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
import uvicorn
from starlette.testclient import TestClient

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
APPLICATION_TOKEN = "application-token-0123456789"
MEMBER_ID = "member-0123456789"
WEBHOOK_CODE = "webhook-code-0123456789"
EVENT_TOKEN = "67e3db8e581121.72266518|A1_2_3|1.the-signature"


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


class SqliteDatabase:
    """A SQLite database of the tests' own."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.url = f"sqlite:///{path}"

    def create(self) -> None:
        """Do nothing: opening it makes it."""

    def drop(self) -> None:
        """Do nothing: its folder goes with the tests."""

    @contextmanager
    def away(self) -> Iterator[None]:
        """Take it away, as when its disk is gone."""
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("AIRFLOW__DATABASE__SQL_ALCHEMY_CONN", f"sqlite:///{self.path.parent}/away/x.db")
            point_at_configured_database()
            yield
        point_at_configured_database()


class PostgresqlDatabase:
    """A database of the tests' own on the PostgreSQL server of this machine.

    libpq's variables (``PGHOST``, ``PGPORT``, ``PGUSER``, ``PGPASSWORD``) name another one.
    """

    def __init__(self) -> None:
        self.host, self.port = os.environ.get("PGHOST", "127.0.0.1"), os.environ.get("PGPORT", "5432")
        self.user = os.environ.get("PGUSER", "postgres")
        self.name = f"airflow_b24_{uuid.uuid4().hex}"
        self.url = f"postgresql+psycopg2://{self.user}@{self.host}:{self.port}/{self.name}"

    def create(self) -> None:
        """Make it; without a server the tests are skipped, but fail where ``CI`` is set."""
        psycopg2 = pytest.importorskip("psycopg2")
        try:
            self.say("CREATE DATABASE {name}")
        except psycopg2.OperationalError as error:
            if os.environ.get("CI"):
                raise
            pytest.skip(f"no PostgreSQL at {self.host}:{self.port} for user {self.user}: {error}")

    def drop(self) -> None:
        self.say("DROP DATABASE {name} WITH (FORCE)")

    def say(self, statement: str) -> None:
        """Do something to the database from outside of it."""
        import psycopg2

        server = psycopg2.connect(
            host=self.host, port=self.port, user=self.user, dbname="postgres", connect_timeout=5
        )
        server.autocommit = True
        try:
            server.cursor().execute(statement.format(name=self.name))
        finally:
            server.close()

    def end_connections(self) -> None:
        """End them as a restart of the server does."""
        self.say("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'")

    @contextmanager
    def away(self) -> Iterator[None]:
        self.say("ALTER DATABASE {name} ALLOW_CONNECTIONS false")
        self.end_connections()
        yield
        self.say("ALTER DATABASE {name} ALLOW_CONNECTIONS true")

    @contextmanager
    def read_only(self) -> Iterator[None]:
        """Let it be what a standby is until it has been promoted."""
        self.say("ALTER DATABASE {name} SET default_transaction_read_only = on")
        self.end_connections()
        yield
        self.say("ALTER DATABASE {name} RESET default_transaction_read_only")
        self.end_connections()


def point_at_configured_database() -> None:
    from airflow import settings

    settings.dispose_orm()
    settings.configure_vars()
    settings.configure_orm()


@contextmanager
def environment_with(url: str) -> Iterator[None]:
    """Point this process's Airflow at a database for the time of a ``with`` block."""
    from airflow.models.crypto import get_fernet
    from cryptography.fernet import Fernet

    before = dict(os.environ)
    os.environ["AIRFLOW__DATABASE__SQL_ALCHEMY_CONN"] = url
    os.environ["AIRFLOW__API__BASE_URL"] = "http://testserver"
    os.environ["AIRFLOW__CORE__FERNET_KEY"] = Fernet.generate_key().decode()
    os.environ["_AIRFLOW_PROCESS_CONTEXT"] = "server"
    get_fernet.cache_clear()
    point_at_configured_database()
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)
        get_fernet.cache_clear()
        point_at_configured_database()


@pytest.fixture(scope="module")
def make_database(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], AbstractContextManager[Any]]:
    """Point this process's Airflow at an empty database of a kind for the time of a ``with`` block."""

    @contextmanager
    def made(kind: str) -> Iterator[SqliteDatabase | PostgresqlDatabase]:
        if kind == "sqlite":
            own: Any = SqliteDatabase(tmp_path_factory.mktemp("metadata") / "airflow.db")
        else:
            own = PostgresqlDatabase()
        own.create()
        try:
            with environment_with(own.url):
                yield own
        finally:
            own.drop()

    return made


@pytest.fixture(scope="module")
def metadata_database(
    make_database: Callable[[str], AbstractContextManager[Any]], request: pytest.FixtureRequest
) -> Iterator[Any]:
    """A database with Airflow's tables and those of calls, on SQLite if the test does not say otherwise."""
    from airflow.utils.db import initdb

    from airflow_provider_b24.calls.database import make_tables

    with make_database(getattr(request, "param", "sqlite")) as own:
        initdb()
        make_tables()  # before Airflow 3.2 a provider cannot tell Airflow of its tables
        yield own


@pytest.fixture
def airflow_session(metadata_database: Any) -> Iterator[Any]:
    """Give a session of the test's own; what it writes must be committed to be seen by the receiver."""
    from airflow import settings

    from airflow_provider_b24.calls.table import metadata

    session = settings.NonScopedSession()
    yield session
    session.rollback()
    for table in metadata.sorted_tables:
        session.execute(table.delete())
    session.commit()
    session.close()


@pytest.fixture
def portal_connection(airflow_session: Any) -> Iterator[Callable[..., Any]]:
    """Create connections in the database; they are gone after the test."""
    from airflow.models.connection import Connection
    from sqlalchemy import delete

    def create(
        conn_id: str = "bitrix24_default", *, password: str | None = WEBHOOK_CODE, **extra: Any
    ) -> Connection:
        given = {"application_token": APPLICATION_TOKEN, "member_id": MEMBER_ID} | extra
        connection = Connection(
            conn_id=conn_id,
            conn_type="bitrix24",
            host="example.bitrix24.com",
            login="1",
            password=password,
            extra={name: value for name, value in given.items() if value is not None},
        )
        airflow_session.add(connection)
        airflow_session.commit()
        return connection

    yield create
    airflow_session.rollback()
    airflow_session.execute(delete(Connection))
    airflow_session.commit()


@pytest.fixture
def publish_dag(airflow_session: Any) -> Iterator[Callable[[Any], Any]]:
    """Do with a DAG what Airflow's DAG processor does after parsing its file; the DAG is gone after the test."""
    from airflow.api.common.delete_dag import delete_dag
    from airflow.models.dagbundle import DagBundleModel
    from airflow.models.serialized_dag import SerializedDagModel
    from airflow.models.taskinstance import TaskInstance
    from airflow.serialization.definitions.dag import SerializedDAG
    from airflow.serialization.serialized_objects import LazyDeserializedDAG
    from sqlalchemy import update

    if airflow_session.get(DagBundleModel, "tests") is None:
        airflow_session.add(DagBundleModel(name="tests"))
        airflow_session.commit()
    published = set()

    def publish(dag: Any) -> Any:
        SerializedDAG.bulk_write_to_db("tests", None, [dag], session=airflow_session)
        SerializedDagModel.write_dag(LazyDeserializedDAG.from_dag(dag), "tests", session=airflow_session)
        airflow_session.commit()
        published.add(dag.dag_id)
        return dag

    yield publish
    airflow_session.rollback()
    airflow_session.execute(update(TaskInstance).values(state=None))  # what runs cannot be deleted
    airflow_session.commit()
    for dag_id in published:
        delete_dag(dag_id, keep_records_in_log=False)


@pytest.fixture
def start_run(airflow_session: Any) -> Callable[..., Any]:
    """Create a run of a published DAG, as Airflow's scheduler would find it."""

    def start(dag_id: str, run_id: str = "run_1", conf: dict[str, Any] | None = None) -> Any:
        from airflow.models.dagbag import DBDagBag
        from airflow.sdk import timezone
        from airflow.utils.state import DagRunState
        from airflow.utils.types import DagRunTriggeredByType, DagRunType

        dag = DBDagBag().get_latest_version_of_dag(dag_id, session=airflow_session)
        run = dag.create_dagrun(
            run_id=run_id,
            run_after=timezone.utcnow(),
            conf=conf,
            run_type=DagRunType.MANUAL,
            triggered_by=DagRunTriggeredByType.TEST,
            state=DagRunState.RUNNING,
            session=airflow_session,
        )
        airflow_session.commit()
        return run

    return start


@pytest.fixture
def receiver(metadata_database: Any, tmp_path: Path) -> TestClient:
    """Give a client of the receiver."""
    from airflow_provider_b24.receiver import create_app

    return TestClient(create_app(spool_folder=tmp_path / "spool"))


@pytest.fixture
def database_away(metadata_database: Any) -> Callable[[], AbstractContextManager[None]]:
    """Take the metadata database away for the time of a ``with`` block."""
    return metadata_database.away


@pytest.fixture
def secrets_of_the_portal() -> SimpleNamespace:
    """Give what must never show up anywhere."""
    return SimpleNamespace(
        application_token=APPLICATION_TOKEN,
        webhook_code=WEBHOOK_CODE,
        event_token=EVENT_TOKEN,
        access_token="the-access-token",
        refresh_token="the-refresh-token",
    )


@pytest.fixture
def make_robot() -> Callable[..., Any]:
    """Write a robot DAG."""
    from airflow.sdk.bases.operator import BaseOperator

    from airflow_provider_b24.robots import Property, robot_dag

    def make(
        dag_id: str = "score_lead", code: str = "score_lead", conn_id: str = "bitrix24_default", **kwargs: Any
    ):
        @robot_dag(
            dag_id=dag_id,
            code=code,
            name="Score the lead",
            bitrix24_conn_id=conn_id,
            schedule=None,
            properties={
                "model": Property.select("Model", {"fast": "Fast", "deep": "Deep"}, required=True),
                "limit": Property.int("Limit"),
            },
            return_properties={"score": Property.double("Score")},
            **kwargs,
        )
        def build():
            BaseOperator(task_id="score")
            return {"score": 5}

        return build()

    return make


@pytest.fixture
def robot(
    publish_dag: Callable[[Any], Any], portal_connection: Callable[..., Any], make_robot: Callable[..., Any]
) -> Any:
    """Publish a robot and its connection."""
    portal_connection()
    return publish_dag(make_robot())


@pytest.fixture
def call_fields(secrets_of_the_portal: Any) -> dict[str, str]:
    """What Bitrix24's queue server posts."""
    return {
        "workflow_id": "67e3db8e581121.72266518",
        "code": "score_lead",
        "document_id[0]": "crm",
        "document_id[1]": "CCrmDocumentLead",
        "document_id[2]": "LEAD_77",
        "document_type[0]": "crm",
        "document_type[1]": "CCrmDocumentLead",
        "document_type[2]": "LEAD",
        "event_token": EVENT_TOKEN,
        "properties[model]": "deep",
        "properties[limit]": "3",
        "use_subscription": "Y",
        "timeout_duration": "0",
        "ts": "1743000000",
        "auth[access_token]": "the-access-token",
        "auth[refresh_token]": "the-refresh-token",
        "auth[domain]": "example.bitrix24.com",
        "auth[member_id]": MEMBER_ID,
        "auth[user_id]": "1",
        "auth[application_token]": secrets_of_the_portal.application_token,
    }


@pytest.fixture
def on_record(metadata_database: Any) -> Callable[[], list[Any]]:
    """Look at all calls that are on record, in the order in which they came."""

    def look() -> list[Any]:
        from sqlalchemy import select

        from airflow_provider_b24._airflow.database import reading
        from airflow_provider_b24.calls.table import call_table

        with reading() as session:
            return list(session.execute(select(call_table).order_by(call_table.c.received_at)))

    return look


@pytest.fixture
def runs(metadata_database: Any) -> Callable[[], list[Any]]:
    """Look at all DAG runs there are, in the order of their creation."""

    def look() -> list[Any]:
        from airflow import settings
        from airflow.models.dagrun import DagRun
        from sqlalchemy import select

        with settings.NonScopedSession() as session:
            return list(session.scalars(select(DagRun).order_by(DagRun.id)))

    return look


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
