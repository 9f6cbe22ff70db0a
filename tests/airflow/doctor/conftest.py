"""What ``airflow-b24 doctor`` finds: an installation in good order, and ways to spoil it."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from airflow_provider_b24._airflow.database import writing
from airflow_provider_b24._airflow.jobs import DispatcherJob
from airflow_provider_b24.calls.database import make_tables
from airflow_provider_b24.calls.intake import put_on_record
from airflow_provider_b24.calls.new_call import NewCall
from airflow_provider_b24.calls.spool import Spool
from airflow_provider_b24.calls.table import call_table, refusal_table
from airflow_provider_b24.doctor.command import examine

ROBOT = """
import datetime as dt

from airflow_provider_b24.robots import robot_dag

@robot_dag(code="{code}", name="A robot", bitrix24_conn_id="crm"{more})
def {dag_id}():
    pass

{dag_id}()
"""


@pytest.fixture
def dags_folder(tmp_path):
    folder = tmp_path / "dags"
    folder.mkdir()
    return folder


@pytest.fixture
def installed(bitrix, connect, served):
    """An application that was installed by an event."""

    def install(**extra: Any) -> None:
        connect(**extra)
        assert bitrix.send_install_event(f"{served}/crm/events").wait().status == 200

    return install


@pytest.fixture(autouse=True)
def spool(tmp_path, monkeypatch):
    """A spool of the test's own."""
    monkeypatch.setenv("AIRFLOW__BITRIX24__SPOOL_FOLDER", str(tmp_path / "calls"))
    return Spool(tmp_path / "calls")


@pytest.fixture(autouse=True)
def tables(metadata_database):
    """The provider's tables, empty."""
    make_tables(tries=1)
    with writing() as session:
        session.execute(sa.delete(call_table))
        session.execute(sa.delete(refusal_table))


@pytest.fixture(autouse=True)
def processes(metadata_database):
    """Airflow's processes and a dispatcher, alive; a function that changes what is known of one."""
    from airflow.jobs.job import Job

    def change(known: str, /, **values: Any) -> None:
        with writing() as session:
            session.execute(
                sa.update(Job)
                .where(Job.job_type == known)
                .values(**values)
                .execution_options(synchronize_session=False)
            )

    now = dt.datetime.now(dt.UTC)
    types = ("SchedulerJob", "DagProcessorJob", "TriggererJob")
    rows = [{"job_type": job_type, "state": "running", "latest_heartbeat": now} for job_type in types]
    with writing() as session:
        session.execute(sa.insert(Job), rows)
    dispatcher = DispatcherJob()
    dispatcher.beat()
    yield change
    with writing() as session:
        session.execute(sa.delete(Job).execution_options(synchronize_session=False))


@pytest.fixture
def new_call():
    """A call that has been believed."""

    def make(token: str = "token-1", *, conn_id: str = "crm", code: str = "score") -> NewCall:
        document = {"0": "crm", "1": "CCrmDocumentLead", "2": "LEAD_77"}
        form = {
            "workflow_id": "process-1",
            "code": code,
            "document_id": document,
            "document_type": document | {"2": "LEAD"},
            "event_token": token,
            "properties": {},
            "use_subscription": "Y",
            "timeout_duration": "0",
            "ts": "1743000000",
        }
        return NewCall.from_form(conn_id, code, form, dt.datetime.now(dt.UTC))

    return make


@pytest.fixture
def call_on_record(new_call):
    """A row of the table, with some columns as the dispatcher leaves them."""

    def put(token: str = "token-1", *, conn_id: str = "crm", code: str = "score", **values: Any) -> None:
        call = new_call(token, conn_id=conn_id, code=code)
        put_on_record([call])
        if values:
            with writing() as session:
                session.execute(sa.update(call_table).where(call_table.c.id == call.id).values(**values))

    return put


@pytest.fixture
def findings(dags_folder):
    """Examine the connection ``crm``."""

    def look(**options: Any) -> dict[str, Any]:
        return {finding.check: finding for finding in examine("crm", dags_folder=dags_folder, **options)}

    return look


@pytest.fixture
def write_robot(dags_folder):
    """Write the DAG file of a robot, with more arguments in a text of Python."""

    def write(dag_id: str = "score", code: str = "score", more: str = "") -> Path:
        path = dags_folder / f"{dag_id}.py"
        path.write_text(ROBOT.format(code=code, dag_id=dag_id, more=more))
        return path

    return write
