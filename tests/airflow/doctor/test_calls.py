"""``airflow-b24 doctor`` on calls: the tables, what waits, what was refused, what came too late."""

from __future__ import annotations

import datetime as dt

import pytest
import sqlalchemy as sa

from airflow_provider_b24._airflow.database import writing
from airflow_provider_b24.calls.intake import Intake
from airflow_provider_b24.calls.table import VERSION_TABLE, refusal_table


def ago(**time: float) -> dt.datetime:
    return dt.datetime.now(dt.UTC) - dt.timedelta(**time)


@pytest.mark.parametrize(
    "statement",
    [f"DROP TABLE {VERSION_TABLE}", f"UPDATE {VERSION_TABLE} SET version_num = 'another'"],
    ids=["missing", "of another version"],
)
def test_tables_that_are_not_there(connect, findings, statement, airflow_session):
    connect()
    columns = sa.text(f"SELECT version_num FROM {VERSION_TABLE}")
    version = airflow_session.scalar(columns)
    airflow_session.rollback()
    with writing() as session:
        session.execute(sa.text(statement))
    try:
        found = findings()
    finally:
        with writing() as session:
            session.execute(sa.text(f"CREATE TABLE IF NOT EXISTS {VERSION_TABLE} (version_num VARCHAR(32))"))
            session.execute(sa.text(f"DELETE FROM {VERSION_TABLE}"))
            session.execute(sa.text(f"INSERT INTO {VERSION_TABLE} VALUES (:version)"), {"version": version})
    assert found["tables"].verdict == "failed"
    assert "`airflow db migrate`" in found["tables"].advice
    unchecked = ("dispatcher", "time limits", "waiting calls", "refused posts")
    assert [found[check].verdict for check in unchecked] == ["unknown"] * 4


@pytest.mark.parametrize(
    "values",
    [
        {"due_at": ago(minutes=2)},
        {"due_at": ago(minutes=2), "state": "running", "answering": "failure-answered"},
        {
            "due_at": ago(minutes=9),
            "state": "running",
            "answering": "failure-answered",
            "leased_by": "a process that was killed",
            "leased_until": ago(minutes=2),
        },
    ],
    ids=["no run is started", "no answer is sent", "an answer was left half-way"],
)
@pytest.mark.parametrize(
    ("where", "advice"),
    [("api_server", "restart an API server"), ("command", "start `airflow-b24 dispatcher`")],
)
def test_calls_that_no_dispatcher_takes_up(
    connect, findings, call_on_record, monkeypatch, values, where, advice
):
    connect()
    monkeypatch.setenv("AIRFLOW__BITRIX24__DISPATCHER", where)
    call_on_record(conn_id="another", **values)
    found = findings()["dispatcher"]
    assert found.verdict == "failed"
    assert found.what.startswith("It works, but 1 call waits for it, since ")
    assert f"[bitrix24] dispatcher is {where} here" in found.advice
    assert advice in found.advice


@pytest.mark.parametrize(
    "values",
    [
        {},
        {"due_at": ago(minutes=2), "state": "running"},
        {"due_at": ago(minutes=2), "state": "answered"},
        {
            "due_at": ago(minutes=2),
            "state": "running",
            "answering": "failure-answered",
            "leased_until": ago(hours=-1),
        },
    ],
    ids=["just come", "its run goes on", "over", "being answered"],
)
def test_calls_that_need_no_dispatcher_now(connect, findings, call_on_record, values):
    connect()
    call_on_record(**values)
    assert findings()["dispatcher"].verdict == "ok"


def test_calls_that_wait_for_somebody_to_mend_something(connect, findings, call_on_record):
    connect()
    held, refused = "Airflow has not parsed the DAG yet", "insufficient_scope: add the scope bizproc."
    call_on_record("t1", reason=held)
    call_on_record("t2", reason=held)
    call_on_record(
        "t3",
        state="running",
        answering="failure-answered",
        attempts=1,
        reason="its run failed",
        last_error=refused,
    )
    call_on_record("t7", state="running", reason="the DAG is paused")
    call_on_record("t4", state="running", answering="failure-answered")  # its answer is on its way
    call_on_record("t5", state="too-late", reason="nobody waits any more")
    call_on_record("t6", conn_id="another", reason=held)
    found = findings()["waiting calls"]
    assert found.verdict == "failed"
    assert found.what.startswith("4 calls wait, the first since ")
    assert found.what.endswith(
        f"UTC. score: {held} (2). score: its run failed; insufficient_scope: add the scope bizproc (1)."
        " score: the DAG is paused (1)."
    )
    for command in ("airflow-b24 calls --conn-id crm", "airflow-b24 calls retry", "airflow-b24 calls answer"):
        assert command in found.advice


def test_many_reasons_are_not_all_told(connect, findings, call_on_record):
    connect()
    for number in range(5):
        call_on_record(f"t{number}", code=f"robot{number}", reason="no")
    assert findings()["waiting calls"].what.endswith(
        "robot0: no (1). robot1: no (1). robot2: no (1). 2 for other reasons."
    )


def test_posts_that_were_refused(connect, findings, spool):
    connect()
    intake = Intake(spool)
    for _ in range(3):
        intake.refuse("", "unknown_connection", "There is no such connection.")
    intake.refuse("another", "untrusted", "The application token is not the installation's.")
    intake.note_refusals()
    found = findings()["refused posts"]
    assert (found.verdict, found.advice) == ("ok", "")
    assert "3 posts named connections that do not exist" in found.what
    for _ in range(2):
        intake.refuse("crm", "untrusted", "The application token is not the installation's.")
    intake.note_refusals()
    found = findings()["refused posts"]
    assert found.verdict == "warning"
    assert ". 2 since" in found.what
    assert found.what.endswith("(untrusted): The application token is not the installation's.")
    assert "airflow-b24 connect crm" in found.advice
    with writing() as session:
        session.execute(sa.update(refusal_table).values(last_at=ago(hours=25)))
    assert findings()["refused posts"].verdict == "ok"


def test_calls_in_the_spool(connect, findings, spool, new_call):
    connect()
    assert spool.keep(new_call("t1"))
    found = findings()["spool"]
    assert (found.verdict, found.what.startswith(f"1 calls lie in {spool.folder}")) == ("warning", True)
    (spool.folder / "of-another-key.call").write_text("not to be decrypted")
    assert spool.drain(lambda calls: None) == 1
    found = findings()["spool"]
    assert (found.verdict, found.what.startswith(f"1 calls in {spool.folder} cannot be read")) == (
        "failed",
        True,
    )
    assert "[core] fernet_key" in found.advice


def test_a_spool_that_may_not_be_read(connect, findings, spool):
    connect()
    spool.folder.write_text("a file where a folder should be")
    assert findings()["spool"].verdict == "unknown"


def test_a_margin_that_is_narrow(connect, findings, write_robot):
    connect()
    write_robot(more=", answer_before_limit=dt.timedelta(seconds=5)")
    found = findings()["time limits"]
    assert (found.verdict, "score (5 s)" in found.what) == ("warning", True)


def test_time_limits_that_were_too_short(connect, findings, call_on_record):
    connect()
    limit = {"process_ends_at": ago(hours=1), "answer_by": ago(hours=2)}
    call_on_record("t1", state="answered", answered_at=ago(hours=3), **limit)
    call_on_record("t2", state="failure-answered", answered_at=ago(hours=3), **limit)  # its run failed
    call_on_record("t3", conn_id="another", state="too-late", **limit)
    call_on_record("t4", state="too-late")
    assert findings()["time limits"].verdict == "ok"
    call_on_record("t5", state="too-late", **limit)
    call_on_record("t6", state="failure-answered", answered_at=ago(hours=1.9), **limit)
    call_on_record("t7", code="other", state="too-late", **limit)
    found = findings()["time limits"]
    assert found.verdict == "warning"
    assert "score: 2 of 4 calls; other: 1 of 1 calls of the last week" in found.what
    assert "longer time limit" in found.advice
