"""A receiver in front of a real Airflow metadata database (SQLite), without scheduler."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from starlette.testclient import TestClient

from airflow_provider_b24.receiver import create_app

APPLICATION_TOKEN = "application-token-0123456789"
MEMBER_ID = "member-0123456789"
WEBHOOK_CODE = "webhook-code-0123456789"
EVENT_TOKEN = "67e3db8e581121.72266518|A1_2_3|1.the-signature"


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
    from airflow.serialization.definitions.dag import SerializedDAG
    from airflow.serialization.serialized_objects import LazyDeserializedDAG

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
def receiver(metadata_database: Path, tmp_path: Path) -> TestClient:
    """Give a client of the receiver."""

    return TestClient(create_app(spool_folder=tmp_path / "spool"))


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
def runs(metadata_database: Path) -> Callable[[], list[Any]]:
    """Look at all DAG runs there are, in the order of their creation."""

    def look() -> list[Any]:
        from airflow import settings
        from airflow.models.dagrun import DagRun
        from sqlalchemy import select

        with settings.NonScopedSession() as session:
            return list(session.scalars(select(DagRun).order_by(DagRun.id)))

    return look
