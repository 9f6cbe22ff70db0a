"""From a call on record to its DAG run."""

from __future__ import annotations

import datetime as dt
import logging
from typing import Any

import pytest
import sqlalchemy as sa
from airflow.sdk import DAG
from airflow.sdk.bases.operator import BaseOperator
from airflow.utils.state import DagRunState
from cryptography.fernet import Fernet

from airflow_provider_b24.calls import starting
from airflow_provider_b24.calls.starting import Starter
from airflow_provider_b24.hooks.sealing import unseal
from airflow_provider_b24.robots.call import RobotCall

SOON = dt.timedelta(seconds=5)


def now() -> dt.datetime:
    return dt.datetime.now(dt.UTC)


class TestStarted:
    def test_a_call_starts_its_run(self, robot, call_robot, work, caplog):
        caplog.set_level(logging.INFO)
        called = call_robot(robot, limit=3)
        assert work.start() == 1
        run, row = called.run, called.row
        assert (run.dag_id, run.state, row.state, row.reason) == (
            "score_lead",
            DagRunState.QUEUED,
            "running",
            None,
        )
        assert (run.conf["model"], run.conf["limit"], run.conf["workflow_id"]) == (
            "deep",
            3,
            called.process.id,
        )
        for name in (called.call.id, called.process.id, "bitrix24_default", called.call.run_id):
            assert name in caplog.text

    def test_the_event_token_is_sealed_wherever_people_see_it(self, robot, call_robot, work, caplog, capsys):
        caplog.set_level(logging.DEBUG)
        called = call_robot(robot)
        work.start()
        token = called.call.fields["event_token"]
        assert unseal(RobotCall.from_conf(called.run.conf).token) == token
        shown = capsys.readouterr()
        for text in (repr(called.run.conf), repr(called.row), caplog.text, shown.out, shown.err):
            assert token not in text

    def test_no_credential_of_the_portal_is_in_the_conf(self, robot, call_robot, work, bitrix):
        called = call_robot(robot)
        work.start()
        for secret in (
            bitrix.webhook.code,
            bitrix.application.application_token,
            bitrix.application.access_token,
        ):
            assert secret not in repr(called.run.conf)

    def test_the_run_knows_until_when_it_may_answer(self, robot, call_robot, work):
        called = call_robot(robot, timeout=600)
        work.start()
        row = called.row
        assert row.process_ends_at - row.answer_by == dt.timedelta(seconds=120)
        assert called.run.conf["answer_by"] == int(row.answer_by.timestamp())

    def test_without_values_for_failure_it_may_until_the_limit(
        self, publish_dag, make_robot, connection, call_robot, work
    ):
        connection()
        dag = publish_dag(make_robot())
        called = call_robot(dag, timeout=600)
        work.start()
        assert called.row.answer_by == called.row.process_ends_at

    def test_calls_start_in_the_order_in_which_they_came(self, robot, call_robot, work, runs):
        called = [call_robot(robot, sent=30 - number) for number in range(12)]
        while work.start():
            pass
        assert [run.run_id for run in runs()] == [one.call.run_id for one in called]

    def test_a_paused_dag_gets_its_run_and_the_row_says_why_it_waits(
        self, robot, call_robot, work, airflow_session
    ):
        from airflow.models.dag import DagModel

        airflow_session.get(DagModel, "score_lead").is_paused = True
        airflow_session.commit()
        called = call_robot(robot)
        work.turn()
        assert (called.state, called.row.reason) == ("running", "the DAG is paused")

    def test_a_process_that_does_not_wait_gets_its_run_and_no_answer(self, robot, call_robot, work):
        called = call_robot(robot, waits="N")
        work.turn()
        assert (called.state, called.run is not None, called.row.payload) == ("not-awaited", True, None)
        called.set_run("failed")
        work.turn()
        assert (called.state, called.answers) == ("not-awaited", [])

    def test_a_robot_that_never_answers_is_not_waited_for(
        self, publish_dag, make_robot, connection, call_robot, work
    ):
        connection()
        dag = publish_dag(make_robot(use_subscription=False))
        called = call_robot(dag)
        work.start()
        assert (called.state, called.run is not None) == ("not-awaited", True)

    def test_a_run_that_is_there_is_adopted_with_its_deadline(self, robot, call_robot, work, start_run):
        called = call_robot(robot, timeout=600)
        start_run("score_lead", called.call.run_id, {"model": "fast"})
        work.start()
        row = called.row
        assert (called.state, called.run.conf) == ("running", {"model": "fast"})
        assert row.process_ends_at - row.answer_by == dt.timedelta(seconds=120)
        assert called.answered_with == {"score": -1.0}

    def test_the_newest_version_of_the_dag_is_used(self, robot, call_robot, work, publish_dag, make_robot):
        first = call_robot(robot)
        work.start()
        newer = publish_dag(make_robot(on_failure={"score": -2.0}))
        second = call_robot(newer)
        work.start()
        assert first.run.created_dag_version_id != second.run.created_dag_version_id
        assert (first.answered_with, second.answered_with) == ({"score": -1.0}, {"score": -2.0})


class TestHeld:
    """Whatever stands in the way can be mended, and then the run starts."""

    @staticmethod
    def mended(work: Any, called: Any) -> None:
        called.change(due_at=now())
        Starter().start_some()
        assert called.state == "running"

    def test_a_dag_that_is_not_parsed_yet(
        self, connection, publish_dag, make_robot, call_robot, work, caplog
    ):
        connection()
        called = call_robot()
        work.start()
        row = called.row
        assert (row.state, row.reason) == ("received", "Airflow has not parsed the DAG yet")
        assert row.due_at > now()
        assert f"Call {called.call.id} of process {called.process.id}" in caplog.text
        publish_dag(make_robot())
        self.mended(work, called)

    @pytest.mark.parametrize("file", ["score.py", "/dags/score.py"])  # from Airflow 3.1 on, and before
    def test_a_file_that_cannot_be_imported(self, robot, call_robot, work, airflow_session, file):
        from airflow.models.dag import DagModel
        from airflow.models.errors import ParseImportError

        dag = airflow_session.get(DagModel, "score_lead")
        dag.relative_fileloc, dag.fileloc = "score.py", "/dags/score.py"
        error = ParseImportError(
            filename=file,
            bundle_name=dag.bundle_name,
            timestamp=now(),
            stacktrace='Traceback\n  File "score.py", line 1\nSyntaxError: invalid syntax\n',
        )
        airflow_session.add(error)
        airflow_session.commit()
        called = call_robot(robot)
        work.start()
        assert called.row.reason == "the DAG's file cannot be imported: SyntaxError: invalid syntax"
        airflow_session.delete(error)
        airflow_session.commit()
        self.mended(work, called)

    def test_a_dag_that_is_no_longer_in_the_folder(self, robot, call_robot, work, airflow_session):
        from airflow.models.dag import DagModel

        airflow_session.get(DagModel, "score_lead").is_stale = True
        airflow_session.commit()
        called = call_robot(robot)
        work.start()
        assert called.row.reason == "the DAG is no longer in Airflow's DAG folder"
        airflow_session.get(DagModel, "score_lead").is_stale = False
        airflow_session.commit()
        self.mended(work, called)

    def test_a_dag_that_may_not_be_started_from_outside(self, robot, call_robot, work, airflow_session):
        from airflow.models.dag import DagModel

        if not hasattr(DagModel, "allowed_run_types"):
            pytest.skip("DAGs have allowed_run_types since Airflow 3.2")
        airflow_session.get(DagModel, "score_lead").allowed_run_types = ["asset_triggered"]
        airflow_session.commit()
        called = call_robot(robot)
        work.start()
        assert "allowed_run_types" in called.row.reason
        airflow_session.get(DagModel, "score_lead").allowed_run_types = None
        airflow_session.commit()
        self.mended(work, called)

    def test_a_dag_that_is_no_robot(self, connection, publish_dag, make_robot, call_robot, work):
        with DAG("score_lead", schedule=None) as dag:
            BaseOperator(task_id="reply")
        connection()
        publish_dag(dag)
        called = call_robot()
        work.start()
        assert called.row.reason == "the DAG is no robot: it was not made with @robot_dag"
        publish_dag(make_robot())
        self.mended(work, called)

    def test_a_robot_of_another_connection(self, robot, connection, call_robot, work):
        connection("other_portal")
        called = call_robot(robot, conn_id="other_portal")
        work.start()
        assert "answers with the connection 'bitrix24_default', not with 'other_portal'" in called.row.reason
        assert called.run is None

    def test_another_robot(self, robot, make_robot, call_robot, work, publish_dag):
        called = call_robot(make_robot(code="renamed"))
        work.start()
        assert called.row.reason == "the DAG is the robot 'score_lead', not 'renamed'"
        publish_dag(make_robot(code="renamed"))
        self.mended(work, called)

    def test_a_connection_that_is_gone(self, publish_dag, make_robot, connection, call_robot, work):
        publish_dag(make_robot())
        called = call_robot()
        work.start()
        assert "the Airflow connection 'bitrix24_default' cannot be used" in called.row.reason
        connection()
        self.mended(work, called)

    def test_the_reason_is_said_once_and_the_pauses_grow(self, connection, call_robot, work, caplog):
        connection()
        called = call_robot(sent=100)
        for _ in range(3):
            called.change(due_at=now())
            work.start()
        assert caplog.text.count("is held") == 1
        assert called.row.due_at > now() + SOON


class TestTooLong:
    """Calls whose run could not be started in time."""

    def test_after_the_longest_time_the_process_gets_the_values_for_failure(
        self, robot, call_robot, work, airflow_session
    ):
        from airflow.models.dag import DagModel

        airflow_session.get(DagModel, "score_lead").is_stale = True
        airflow_session.commit()
        called = call_robot(robot, sent=73 * 3600)
        work.turn()
        work.send()
        assert (called.state, called.answers) == ("failure-answered", [{"score": "-1.0"}])
        assert "no longer in Airflow's DAG folder" in called.log

    def test_nobody_knows_the_values_of_a_robot_that_was_never_parsed(self, connection, call_robot, work):
        connection()
        called = call_robot(sent=73 * 3600)
        work.turn()
        work.send()
        assert (called.state, called.answers) == ("failure-answered", [{}])
        assert "Airflow has not parsed the DAG yet" in called.log

    def test_how_long_that_is_can_be_set(self, connection, call_robot, work, monkeypatch):
        monkeypatch.setenv("AIRFLOW__BITRIX24__HOLD_CALLS_HOURS", "1")
        connection()
        called = call_robot(sent=3700)
        work.turn()
        assert called.state == "failure-answered"

    def test_a_process_that_does_not_wait_is_settled_without_an_answer(self, connection, call_robot, work):
        connection()
        called = call_robot(sent=73 * 3600, waits="N")
        work.turn()
        assert (called.state, called.answers) == ("not-awaited", [])
        assert "no run could be started in time" in called.row.reason

    def test_shortly_before_the_limit_of_the_process_it_is_answered(
        self, robot, call_robot, work, airflow_session
    ):
        from airflow.models.dag import DagModel

        airflow_session.get(DagModel, "score_lead").is_stale = True
        airflow_session.commit()
        called = call_robot(robot, timeout=600, sent=500)
        work.turn()
        assert (called.state, called.answers) == ("failure-answered", [{"score": "-1.0"}])

    def test_after_the_limit_it_is_too_late(self, connection, call_robot, work):
        connection()
        called = call_robot(timeout=60, sent=70)
        work.turn()
        row = called.row
        assert (row.state, called.answers, row.payload) == ("too-late", [], None)
        assert row.reason == (
            "the process stopped waiting by its own limit; Airflow has not parsed the DAG yet"
        )


class TestUnfit:
    """A call that does not fit the robot starts no run: its process gets the values for failure, and the reason."""

    def test_a_value_that_does_not_fit_a_property(self, robot, call_robot, work):
        called = call_robot(robot, limit="many")
        work.turn()
        assert (called.run, called.state, called.answers) == (None, "failure-answered", [{"score": "-1.0"}])
        assert "limit: " in called.row.reason
        assert "limit: " in called.log

    def test_a_value_that_the_dags_own_params_do_not_take(
        self, publish_dag, make_robot, connection, call_robot, work
    ):
        connection()
        dag = make_robot(on_failure={"score": 0.5})
        reply = dag.task_dict["reply"]
        reply.doc_json = reply.doc_json.replace('"type": "int"', '"type": "string"')
        called = call_robot(publish_dag(dag), limit="many")
        work.turn()
        assert (called.run, called.state, called.answers) == (None, "failure-answered", [{"score": "0.5"}])
        assert "does not fit" in called.row.reason

    def test_a_definition_that_has_changed_since_the_call(
        self, robot, call_robot, work, publish_dag, make_robot
    ):
        called = call_robot(robot, model="fast")
        changed = make_robot(on_failure={"score": -3.0})
        changed.task_dict["reply"].doc_json = changed.task_dict["reply"].doc_json.replace('"fast"', '"slow"')
        publish_dag(changed)
        work.turn()
        assert (called.run, called.answers) == (None, [{"score": "-3.0"}])
        assert "does not fit" in called.row.reason

    def test_a_process_that_does_not_wait_gets_nothing(self, robot, call_robot, work):
        called = call_robot(robot, waits="N", limit="many")
        work.turn()
        assert (called.run, called.state, called.answers) == (None, "not-awaited", [])
        assert "no run was started" in called.row.reason


class TestOneOfMany:
    def test_a_row_that_cannot_be_read_says_what_to_do_and_holds_up_nobody(
        self, robot, call_robot, work, caplog
    ):
        lost, other = call_robot(robot, sent=9), call_robot(robot)
        lost.change(payload=Fernet(Fernet.generate_key()).encrypt(b"{}").decode())
        work.start()
        assert (lost.state, other.state) == ("received", "running")
        assert "Put the old key behind the new one in [core] fernet_key" in lost.row.last_error
        lost.change(payload=lost.call.to_payload(), due_at=now())
        work.start()
        assert (lost.state, lost.row.last_error) == ("running", None)

    def test_a_call_that_fails_unforeseen_holds_up_nobody(self, robot, call_robot, work, monkeypatch, caplog):
        bad, other = call_robot(robot, sent=9), call_robot(robot)
        real = starting.create_run

        def create_run(dag: Any, run_id: str, *args: Any) -> None:
            if run_id == bad.call.run_id:
                raise RuntimeError("something went wrong")
            real(dag, run_id, *args)

        with monkeypatch.context() as patch:
            patch.setattr(starting, "create_run", create_run)
            work.start()
        assert (bad.state, other.state) == ("received", "running")
        assert "RuntimeError" in bad.row.last_error
        assert bad.row.due_at > now() + SOON
        bad.change(due_at=now())
        work.start()
        assert bad.state == "running"

    def test_what_is_done_about_the_others_is_told_once(
        self, robot, call_robot, work, monkeypatch, caplog, told
    ):
        """All share a transaction, which the one that fails rolls back."""
        late, held = call_robot(robot, dag_id="nowhere", sent=9), call_robot(robot, dag_id="nowhere", sent=8)
        late.change(process_ends_at=now() - dt.timedelta(minutes=1))
        call_robot(robot)

        def create_run(*_args: Any) -> None:
            raise RuntimeError("something went wrong")

        monkeypatch.setattr(starting, "create_run", create_run)
        work.start()
        assert (late.state, held.state) == ("too-late", "received")
        names = [name for _, name, *_ in told]
        assert (names.count("bitrix24.robot_calls.settled"), names.count("bitrix24.robot_calls.held")) == (
            1,
            1,
        )
        assert caplog.text.count(f"{held.call.id} of process {held.process.id}") == 1

    def test_a_robot_whose_stored_form_cannot_be_read_holds_up_nobody(
        self, robot, call_robot, work, publish_dag, make_robot, airflow_session
    ):
        from airflow.models.serialized_dag import SerializedDagModel

        broken = publish_dag(make_robot("broken", code="broken"))
        stored = airflow_session.scalar(
            sa.select(SerializedDagModel).where(SerializedDagModel.dag_id == "broken")
        )
        stored._data, stored._data_compressed = {"__version": 99}, None
        airflow_session.commit()
        bad, other = call_robot(broken, sent=9), call_robot(robot)
        work.start()
        assert (bad.state, other.state) == ("received", "running")
        assert "its stored form cannot be read" in bad.row.reason

    def test_a_crash_in_the_middle_leaves_nothing_half_done(self, robot, call_robot, work, runs, monkeypatch):
        called = [call_robot(robot, sent=9 - number) for number in range(3)]
        real = starting.create_run

        def create_run(dag: Any, run_id: str, *args: Any) -> None:
            real(dag, run_id, *args)
            if run_id == called[1].call.run_id:
                raise KeyboardInterrupt

        with monkeypatch.context() as patch:
            patch.setattr(starting, "create_run", create_run)
            with pytest.raises(KeyboardInterrupt):
                work.start()
        assert (runs(), {one.state for one in called}) == ([], {"received"})
        work.start()
        assert (len(runs()), {one.state for one in called}) == (3, {"running"})


def test_many_starters_at_once_start_each_run_once(robot, call_robot, runs):
    from concurrent.futures import ThreadPoolExecutor

    called = [call_robot(robot) for _ in range(24)]

    def start_all(starter: Starter) -> None:
        while starter.start_some():
            pass

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(start_all, [Starter() for _ in range(4)]))
    assert sorted(run.run_id for run in runs()) == sorted(one.call.run_id for one in called)
    assert {one.state for one in called} == {"running"}


def test_what_was_changed_in_between_is_not_written_over(robot, call_robot, work):
    """Somebody has settled the call between the look at what is due and the transaction."""
    called = call_robot(robot)
    starter = Starter()
    due = starter._due()
    called.change(state="answered-by-hand")
    starter._start([call.id for call in due], {"bitrix24_default": "none"})
    assert (called.state, called.run) == ("answered-by-hand", None)
