"""``airflow-b24 doctor``: each check finds what it is there for, and says what to do."""

from __future__ import annotations

import datetime as dt
import json
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from airflow_provider_b24 import cli
from airflow_provider_b24._airflow.database import writing
from airflow_provider_b24._airflow.jobs import DispatcherJob
from airflow_provider_b24.calls.database import make_tables
from airflow_provider_b24.calls.intake import Intake, put_on_record
from airflow_provider_b24.calls.new_call import NewCall
from airflow_provider_b24.calls.spool import Spool
from airflow_provider_b24.calls.table import VERSION_TABLE, call_table, refusal_table
from airflow_provider_b24.doctor.command import CHECKS, examine
from airflow_provider_b24.doctor.disks import file_system_of, why_it_does_not_last
from airflow_provider_b24.sandbox import AnswerHtml, SandboxPortal


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


def ago(**time: float) -> dt.datetime:
    return dt.datetime.now(dt.UTC) - dt.timedelta(**time)


@pytest.fixture
def findings(dags_folder):
    """Examine the connection ``crm``."""

    def look(**options: Any) -> dict[str, Any]:
        return {finding.check: finding for finding in examine("crm", dags_folder=dags_folder, **options)}

    return look


def parsed(folder: Any, dag_id: str) -> Any:
    """Parse DAG files as Airflow's DAG processor does."""
    try:
        from airflow.dag_processing.dagbag import DagBag
    except ImportError:  # Airflow 3.0 and 3.1
        from airflow.models.dagbag import DagBag
    return DagBag(str(folder)).dags[dag_id]


def verdicts(findings: dict[str, Any]) -> dict[str, str]:
    return {check: finding.verdict for check, finding in findings.items()}


def test_a_good_installation_is_found_good(installed, findings, nothing_leaks):
    installed()
    found = findings(round_trip=True)
    assert len(found) == len(CHECKS) + 7
    nothing_leaks(repr(found))
    # The tests' own: a SQLite database, and a spool among the temporary files.
    assert (found.pop("database").verdict, found.pop("spool").verdict) == ("warning", "warning")
    assert set(verdicts(found).values()) == {"ok"}, found
    assert all(not finding.advice for finding in found.values())


@pytest.mark.parametrize(
    ("job_type", "check", "verdict", "command"),
    [
        ("SchedulerJob", "scheduler", "failed", "airflow scheduler"),
        ("DagProcessorJob", "DAG processor", "failed", "airflow dag-processor"),
        ("TriggererJob", "triggerer", "warning", "airflow triggerer"),
    ],
)
def test_a_process_of_airflow_that_is_not_alive(
    connect, findings, processes, job_type, check, verdict, command
):
    connect()
    processes(job_type, latest_heartbeat=dt.datetime(2026, 1, 31, 12, tzinfo=dt.UTC))
    found = findings()[check]
    assert found.verdict == verdict
    assert "not since 2026-01-31 12:00:00 UTC" in found.what
    assert f"`{command}`" in found.advice
    processes(job_type, job_type="LocalTaskJob")
    found = findings()[check]
    assert (found.verdict, "never yet" in found.what) == (verdict, True)


def test_airflows_processes_are_looked_at_without_a_connection(findings, processes):
    processes("SchedulerJob", state="failed")
    found = findings()
    assert (found["scheduler"].verdict, found["connection"].verdict) == ("failed", "failed")


def test_examples_beside_the_robots(connect, findings, monkeypatch):
    connect()
    monkeypatch.setenv("AIRFLOW__CORE__LOAD_EXAMPLES", "True")
    found = findings()["examples"]
    assert (found.verdict, "[core] load_examples" in found.advice) == ("warning", True)


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"latest_heartbeat": dt.datetime(2026, 1, 31, 12, tzinfo=dt.UTC)}, "since 2026-01-31 12:00:00 UTC:"),
        ({"state": "success"}, "None has worked since "),
        ({"job_type": "LocalTaskJob"}, "None has worked yet:"),
    ],
    ids=["lost", "ended", "none"],
)
def test_no_dispatcher_works_although_no_call_waits(connect, findings, processes, values, said):
    connect()
    processes("Bitrix24DispatcherJob", **values)
    found = findings()["dispatcher"]
    assert found.verdict == "failed"
    assert said in found.what
    assert found.what.endswith("calls will wait.")


def test_a_spool_in_memory_or_in_a_container():
    mounts = (
        "22 1 0:21 / / rw,relatime shared:1 - overlay overlay rw\n"
        "23 22 0:22 / /run rw,nosuid - tmpfs tmpfs rw,size=1k\n"
        "24 22 8:1 / /opt/air\\040flow rw - ext4 /dev/sda1 rw\n"
        "25 22 8:2 / /data rw - tmpfs tmpfs rw\n26 25 8:3 / /data rw master:2 - xfs /dev/sdb rw\n"
        "a line of another kind\n"
    )
    kinds = {
        path: file_system_of(Path(path), mounts)
        for path in ("/var/calls", "/run/calls", "/runner", "/opt/air flow/spool", "/data/calls")
    }
    assert list(kinds.values()) == ["overlay", "tmpfs", "overlay", "ext4", "xfs"]
    assert file_system_of(Path("/x"), "") is None


@pytest.mark.parametrize(
    ("kind", "said"), [("tmpfs", "in memory"), ("overlay", "this container"), ("ext4", None)]
)
def test_a_spool_that_goes_with_a_restart(monkeypatch, tmp_path, kind, said):
    mounts = tmp_path / "mountinfo"
    mounts.write_text(f"22 1 0:21 / / rw - {kind} none rw\n")
    monkeypatch.setattr("airflow_provider_b24.doctor.disks._MOUNTS", mounts)
    why = why_it_does_not_last(Path("/srv/calls"))
    assert (why is None) if said is None else (said in why)


def test_a_margin_that_is_narrow(connect, findings, dags_folder):
    connect()
    robot = "import datetime as dt\n" + ROBOT.replace(
        'conn_id="crm")', 'conn_id="crm", answer_before_limit=dt.timedelta(seconds=5))'
    )
    (dags_folder / "score.py").write_text(robot.format(code="score"))
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


def test_only_an_event_of_the_portal_shows_the_way_back(installed, findings, bitrix):
    installed()
    before = findings()["way back"]
    assert before.verdict == "unknown"
    assert "--round-trip" in before.advice
    assert findings(round_trip=True)["way back"].verdict == "ok"
    assert findings()["way back"].what.startswith("A test event of the portal arrived at")
    assert len(bitrix.event_calls) == 2


def test_a_way_back_that_is_closed(installed, findings, monkeypatch):
    installed()
    monkeypatch.setenv("AIRFLOW__BITRIX24__RECEIVER_URL", "http://127.0.0.1:9")
    found = findings(round_trip=True, patience=0.5)
    assert (found["receiver"].verdict, found["way back"].verdict) == ("failed", "failed")
    assert "Check from outside" in found["way back"].advice
    assert found["uninstall notice"].verdict == "warning"


def test_a_connection_without_tokens(connect, findings, served):
    connect()
    found = findings()
    assert verdicts(found) == {
        "Airflow": "ok",
        "database": "warning",
        "scheduler": "ok",
        "DAG processor": "ok",
        "triggerer": "ok",
        "examples": "ok",
        "connection": "ok",
        "address": "unknown",
        "credentials": "failed",
        "scopes": "unknown",
        "administrator": "unknown",
        "application": "unknown",
        "proof of origin": "failed",
        "uninstall notice": "unknown",
        "receiver address": "ok",
        "receiver": "ok",
        "way back": "unknown",
        "clock": "unknown",
        "limits": "unknown",
        "robots": "unknown",
        "robot DAGs": "ok",
        "tables": "ok",
        "dispatcher": "ok",
        "time limits": "ok",
        "waiting calls": "ok",
        "refused posts": "ok",
        "spool": "warning",
    }
    assert "airflow-b24 connect crm" in found["credentials"].advice
    assert "application_token" in found["proof of origin"].what


def test_an_uninstalled_application(installed, findings, bitrix, served):
    installed()
    bitrix.send_uninstall_event(f"{served}/crm/events").wait()
    found = findings()
    assert found["credentials"].verdict == "failed"
    assert "was uninstalled" in found["credentials"].what


def test_a_portal_that_does_not_answer(connect, findings):
    connect(host="http://127.0.0.1:9", access_token="a", refresh_token="r")
    found = findings()
    assert found["address"].verdict == "failed"
    assert "this machine can reach it" in found["address"].advice
    assert found["credentials"].verdict == "unknown"


def test_an_address_that_is_no_portals(installed, findings, bitrix):
    installed()
    bitrix.faults.add(AnswerHtml(404), times=None)
    assert findings()["address"].verdict == "failed"


def test_a_portal_that_has_moved(installed, findings, bitrix, airflow_session):
    installed(trusted_hosts="127.0.0.1")
    with SandboxPortal() as new:
        bitrix.move_to(new)
        found = findings()["address"]
        assert found.verdict == "warning"
        assert new.host in found.advice
        bitrix.move_to(None)


def test_credentials_that_are_not_accepted(installed, findings, bitrix):
    installed()
    bitrix.application.installed = False
    found = findings()
    assert found["address"].verdict == "ok"
    assert found["credentials"].verdict == "failed"


def test_a_missing_permission(installed, findings, bitrix):
    installed()
    bitrix.application.scope = ("crm", "user")
    found = findings()
    assert found["scopes"].verdict == "failed"
    assert "bizproc" in found["scopes"].what
    assert found["robots"].verdict == "failed"


def test_a_user_who_is_no_administrator(installed, findings, bitrix):
    installed()
    bitrix.callers.users[1].admin = False
    found = findings()
    assert found["administrator"].verdict == "failed"
    assert "administrator" in found["administrator"].advice


def test_a_period_that_is_over(installed, findings, bitrix):
    installed()
    bitrix.application.paid = False
    assert findings()["application"].verdict == "failed"


def test_an_installation_that_is_not_finished(installed, findings, bitrix):
    installed()
    bitrix.application.finished = False
    found = findings()["application"]
    assert found.verdict == "failed"
    assert "Open the application in Bitrix24" in found.advice


def test_a_webhook(connect, findings, bitrix, served):
    connect(host=bitrix.webhook.url, client_id=None)
    found = findings(round_trip=True)
    assert found["credentials"].verdict == "ok"
    assert found["application"].verdict == "warning"
    assert found["proof of origin"].verdict == "failed"
    assert [found[check].verdict for check in ("uninstall notice", "way back", "robots")] == ["unknown"] * 3
    assert bitrix.webhook.code not in repr(found)


def test_a_webhook_that_is_wrong(connect, findings, bitrix, served):
    connect(host=f"{bitrix.url}/rest/1/wrongcode/", client_id=None)
    found = findings()
    assert found["credentials"].verdict == "failed"
    assert "new incoming webhook" in found["credentials"].advice
    assert "wrongcode" not in repr(found)


def test_a_proof_of_origin_by_half(connect, findings, bitrix):
    pair = bitrix.application.issue_tokens()
    connect(
        access_token=pair.access_token,
        refresh_token=pair.refresh_token,
        application_token="the-application-token",
    )
    found = findings()["proof of origin"]
    assert found.verdict == "warning"
    assert "member_id" in found.what


@pytest.mark.parametrize(
    ("url", "verdict"),
    [
        ("http://airflow.example.com/bitrix24", "failed"),
        ("https://no-such-host.invalid/bitrix24", "failed"),
        ("https://10.0.0.1/bitrix24", "warning"),
        ("https://8.8.8.8/bitrix24", "ok"),
        ("http://localhost:1/bitrix24", "ok"),  # the portal is on this machine, too
    ],
)
def test_the_receivers_address(connect, findings, monkeypatch, url, verdict):
    connect()
    monkeypatch.setenv("AIRFLOW__BITRIX24__RECEIVER_URL", url)
    monkeypatch.setattr("airflow_provider_b24.doctor.receiver_checks._SECONDS", 0.2)
    assert findings()["receiver address"].verdict == verdict


def test_a_receiver_on_this_machine_for_a_portal_that_is_not(connect, findings, monkeypatch):
    connect(host="https://portal.invalid")
    monkeypatch.setenv("AIRFLOW__BITRIX24__RECEIVER_URL", "http://localhost:8080/bitrix24")
    assert findings()["receiver address"].verdict == "failed"


def test_an_airflow_that_does_not_know_its_address(connect, findings, monkeypatch):
    connect()
    monkeypatch.delenv("AIRFLOW__API__BASE_URL")
    found = findings()
    assert found["receiver address"].verdict == "failed"
    assert found["receiver"].verdict == "unknown"


def test_something_else_at_the_receivers_address(connect, findings, bitrix, monkeypatch):
    connect()
    monkeypatch.setenv("AIRFLOW__BITRIX24__RECEIVER_URL", bitrix.url)
    found = findings()["receiver"]
    assert found.verdict == "failed"
    assert "passes /bitrix24 on" in found.advice


@pytest.mark.parametrize(("seconds", "verdict"), [(0, "ok"), (30, "warning"), (300, "failed")])
def test_a_clock_that_is_wrong(installed, findings, bitrix, seconds, verdict):
    installed()
    bitrix.clock.advance(seconds)
    found = findings()["clock"]
    assert found.verdict == verdict
    assert ("NTP" in found.advice) == (verdict != "ok")


def test_a_method_that_will_be_closed(installed, findings, bitrix):
    installed()
    bitrix.operating_costs["scope"] = 400.0
    found = findings()["limits"]
    assert found.verdict == "warning"
    assert "scope" in found.what


@pytest.mark.parametrize("tariff", ["standard", "enterprise"])
def test_a_tariff_that_the_portal_does_not_have(bitrix, installed, findings, tariff):
    bitrix.tariff = "standard" if tariff == "enterprise" else "enterprise"
    installed(tariff=tariff)
    found = findings()["limits"]
    assert found.verdict == "warning"
    assert f"Set tariff to {bitrix.tariff}" in found.advice


ROBOT = """
from airflow_provider_b24.robots import robot_dag

@robot_dag(code="{code}", name="A robot", bitrix24_conn_id="crm")
def {code}():
    pass

{code}()
"""


def test_robots_that_are_not_registered(installed, findings, dags_folder, capsys):
    installed()
    (dags_folder / "score.py").write_text(ROBOT.format(code="score"))
    found = findings()["robots"]
    assert (found.verdict, found.what) == ("warning", "Robots: 0 as declared, 1 not registered.")
    assert cli.main(["robots", "apply", "--conn-id", "crm", "--dags-folder", str(dags_folder)]) == 0
    assert findings()["robots"].verdict == "ok"
    (dags_folder / "score.py").unlink()
    assert "1 without a DAG" in findings()["robots"].what


def test_dag_files_that_are_broken(installed, findings, dags_folder):
    installed()
    (dags_folder / "broken.py").write_text("from airflow.sdk import dag\n1 / 0\n")
    found = findings()["robots"]
    assert found.verdict == "failed"
    assert "broken.py" in found.what


def test_robots_whose_dags_airflow_does_not_run(installed, findings, dags_folder, publish_dag):
    installed()
    (dags_folder / "score.py").write_text(ROBOT.format(code="score"))
    found = findings()["robot DAGs"]
    assert (found.verdict, found.what) == (
        "warning",
        "score: Airflow has not parsed it yet: calls are held until then.",
    )
    assert "`airflow dags list-import-errors`" in found.advice
    publish_dag(parsed(dags_folder, "score"))
    found = findings()["robot DAGs"]
    assert (found.verdict, found.what) == ("ok", "Airflow has parsed the DAGs of all 1 robots.")


def test_robots_that_share_a_code_are_not_looked_for(installed, findings, dags_folder):
    installed()
    for dag_id in ("one", "two"):
        text = (
            ROBOT.format(code="score")
            .replace("def score", f"def {dag_id}")
            .replace("\nscore()", f"\n{dag_id}()")
        )
        (dags_folder / f"{dag_id}.py").write_text(text)
    found = findings()
    assert found["robots"].verdict == "failed"
    assert (found["robot DAGs"].verdict, "Two robots have the code" in found["robot DAGs"].what) == (
        "unknown",
        True,
    )


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
    call_on_record("t4", state="running", answering="failure-answered")  # its answer is on its way
    call_on_record("t5", state="too-late", reason="nobody waits any more")
    call_on_record("t6", conn_id="another", reason=held)
    found = findings()["waiting calls"]
    assert found.verdict == "failed"
    assert found.what.startswith("3 calls wait, the first since ")
    assert found.what.endswith(
        f"UTC. score: {held} (2). score: its run failed; insufficient_scope: add the scope bizproc (1)."
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


def test_a_connection_that_cannot_be_used(connect, findings):
    connect(client_secret=None)
    finding = list(findings().values())[-1]
    assert finding.check == "connection"
    assert finding.verdict == "failed"
    assert "client_secret is missing" in finding.what


def test_the_command_fails_when_something_failed(connect, dags_folder, capsys):
    connect()
    assert cli.main(["doctor", "crm", "--dags-folder", str(dags_folder)]) == 1
    printed = capsys.readouterr().out
    assert "failed" in printed
    assert "→ Install the application in Bitrix24" in printed
    assert cli.main(["doctor", "nobody"]) == 1


def test_the_command_succeeds_with_warnings(installed, dags_folder, capsys):
    installed()
    (dags_folder / "score.py").write_text(ROBOT.format(code="score"))
    assert cli.main(["doctor", "crm", "--dags-folder", str(dags_folder), "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert (report["connection"], report["healthy"]) == ("crm", True)
    assert [set(finding) for finding in report["findings"]] == [{"check", "verdict", "what", "advice"}] * len(
        report["findings"]
    )
    assert {finding["check"]: finding["verdict"] for finding in report["findings"]}["robots"] == "warning"
