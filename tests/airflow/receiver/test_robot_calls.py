"""Robot calls: verified, deduplicated, committed, then answered."""

from __future__ import annotations

import hashlib
import logging
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import urlencode

import pytest
from airflow.sdk import DAG
from airflow.sdk.bases.operator import BaseOperator
from airflow.utils.state import DagRunState
from sqlalchemy import func, select

ROUTE = "/bitrix24_default/robots/score_lead"


class TestAccepted:
    def test_a_call_starts_a_run_named_after_its_event_token(
        self, receiver, robot, call_fields, runs, secrets_of_the_portal
    ):
        answer = receiver.post(ROUTE, data=call_fields)
        run_id = f"bitrix24__{hashlib.sha256(secrets_of_the_portal.event_token.encode()).hexdigest()[:32]}"
        assert (answer.status_code, answer.json()) == (202, {"run_id": run_id})
        [run] = runs()
        assert (run.dag_id, run.run_id, run.state) == ("score_lead", run_id, DagRunState.QUEUED)
        assert {ti.task_id for ti in run.get_task_instances()} >= {"score", "reply"}

    def test_its_conf_holds_the_call_and_no_credential(
        self, receiver, robot, call_fields, runs, secrets_of_the_portal
    ):
        receiver.post(ROUTE, data=call_fields)
        [run] = runs()
        assert run.conf["document_id"] == ["crm", "CCrmDocumentLead", "LEAD_77"]
        assert run.conf["event_token"] == secrets_of_the_portal.event_token
        assert run.conf["properties"] == {"model": "deep", "limit": 3}
        assert (run.conf["model"], run.conf["limit"]) == ("deep", 3)
        for secret in ("the-access-token", "the-refresh-token", secrets_of_the_portal.application_token):
            assert secret not in repr(run.conf)

    def test_a_value_that_does_not_fit_is_no_lost_call(self, receiver, robot, call_fields, runs):
        assert receiver.post(ROUTE, data=call_fields | {"properties[model]": "huge"}).status_code == 202
        assert len(runs()) == 1

    def test_a_call_to_a_paused_dag_waits(self, receiver, robot, call_fields, runs, airflow_session):
        from airflow.models.dag import DagModel

        airflow_session.get(DagModel, "score_lead").is_paused = True
        airflow_session.commit()
        assert receiver.post(ROUTE, data=call_fields).status_code == 202
        assert [run.state for run in runs()] == [DagRunState.QUEUED]

    def test_a_newer_version_of_the_dag_is_used_after_it_was_published(
        self, receiver, robot, call_fields, runs, publish_dag, make_robot
    ):
        receiver.post(ROUTE, data=call_fields)
        publish_dag(make_robot(code="renamed"))
        assert receiver.post(ROUTE, data=call_fields | {"event_token": "2"}).status_code == 404
        answer = receiver.post(ROUTE, data=call_fields | {"event_token": "2", "code": "renamed"})
        assert answer.status_code == 202
        first, second = sorted(runs(), key=lambda run: run.id)
        assert first.created_dag_version_id != second.created_dag_version_id


class TestDuplicates:
    def test_the_same_call_again_starts_nothing(self, receiver, robot, call_fields, runs):
        first = receiver.post(ROUTE, data=call_fields)
        again = receiver.post(ROUTE, data=call_fields | {"properties[model]": "fast"})
        assert (again.status_code, again.json()) == (200, first.json() | {"duplicate": True})
        [run] = runs()
        assert run.conf["model"] == "deep"

    def test_the_same_call_many_times_at_once_starts_one_run(self, receiver, robot, call_fields, runs):
        with ThreadPoolExecutor(12) as pool:
            answers = list(pool.map(lambda _: receiver.post(ROUTE, data=call_fields).status_code, range(24)))
        assert sorted(answers) == [200] * 23 + [202]
        assert len(runs()) == 1

    def test_different_calls_at_once_start_a_run_each(self, receiver, robot, call_fields, runs):
        with ThreadPoolExecutor(12) as pool:
            answers = list(
                pool.map(
                    lambda n: receiver.post(ROUTE, data=call_fields | {"event_token": f"t{n}"}).status_code,
                    range(24),
                )
            )
        assert answers == [202] * 24
        assert len(runs()) == 24


class TestRefused:
    @pytest.mark.parametrize("name", ["auth[application_token]", "auth[member_id]"])
    @pytest.mark.parametrize("value", ["", "wrong", "\u00fcnic\u00f6de", None])
    def test_a_call_that_is_not_from_the_portal(self, receiver, robot, call_fields, runs, name, value):
        fields = {key: text for key, text in call_fields.items() if key != name}
        if value is not None:
            fields[name] = value
        answer = receiver.post(ROUTE, data=fields)
        assert (answer.status_code, answer.json()["error"]) == (403, "forbidden")
        assert runs() == []

    @pytest.mark.parametrize(
        "auth", [{}, {"auth": "text"}, {"auth[]": "list"}, {"auth[application_token][]": "x"}]
    )
    def test_a_call_without_proper_auth(self, receiver, robot, call_fields, runs, auth):
        fields = {key: text for key, text in call_fields.items() if not key.startswith("auth")}
        assert receiver.post(ROUTE, data=fields | auth).status_code == 403
        assert runs() == []

    def test_nothing_about_dags_is_told_to_strangers(self, receiver, robot, call_fields, runs):
        stranger = call_fields | {"auth[application_token]": "wrong"}
        known = receiver.post(ROUTE, data=stranger)
        unknown = receiver.post("/bitrix24_default/robots/no_such_dag", data=stranger)
        broken = receiver.post(ROUTE, data={"auth[application_token]": "wrong"})
        assert known.status_code == unknown.status_code == broken.status_code == 403
        assert known.content == unknown.content == broken.content

    def test_every_call_while_the_connection_has_no_application_token(
        self, receiver, publish_dag, portal_connection, call_fields, runs, caplog, make_robot
    ):
        portal_connection(application_token=None)
        publish_dag(make_robot())
        for token in ("", "None", "anything"):
            assert (
                receiver.post(ROUTE, data=call_fields | {"auth[application_token]": token}).status_code == 403
            )
        assert runs() == []
        assert "Set application_token" in caplog.text

    def test_without_a_configured_member_id_the_token_decides(
        self, receiver, publish_dag, portal_connection, call_fields, make_robot
    ):
        portal_connection(member_id=None)
        publish_dag(make_robot())
        assert (
            receiver.post(ROUTE, data=call_fields | {"auth[application_token]": "wrong"}).status_code == 403
        )
        assert receiver.post(ROUTE, data=call_fields | {"auth[member_id]": "whoever"}).status_code == 202

    def test_an_unknown_connection(self, receiver, robot, call_fields, runs):
        answer = receiver.post("/no_such_connection/robots/score_lead", data=call_fields)
        assert (answer.status_code, answer.json()["error"]) == (404, "unknown_connection")
        assert runs() == []

    def test_a_connection_without_credentials(
        self, receiver, publish_dag, portal_connection, call_fields, runs, caplog, make_robot
    ):
        portal_connection(password=None)
        publish_dag(make_robot())
        answer = receiver.post(ROUTE, data=call_fields)
        assert (answer.status_code, answer.json()["error"]) == (404, "unknown_connection")
        assert "no credentials" in caplog.text
        assert runs() == []

    def test_an_unknown_dag(self, receiver, robot, call_fields):
        answer = receiver.post("/bitrix24_default/robots/no_such_dag", data=call_fields)
        assert (answer.status_code, answer.json()["error"]) == (404, "unknown_robot")

    def test_a_dag_that_is_no_robot(self, receiver, robot, publish_dag, call_fields, runs):
        with DAG("plain", schedule=None) as dag:
            BaseOperator(task_id="reply")
        publish_dag(dag)
        assert receiver.post("/bitrix24_default/robots/plain", data=call_fields).status_code == 404
        assert runs() == []

    def test_a_dag_that_is_no_longer_in_the_dag_folder(
        self, receiver, robot, call_fields, runs, airflow_session
    ):
        from airflow.models.dag import DagModel

        airflow_session.get(DagModel, "score_lead").is_stale = True
        airflow_session.commit()
        assert receiver.post(ROUTE, data=call_fields).status_code == 404
        assert runs() == []

    def test_a_dag_that_allows_no_manual_runs(
        self, receiver, robot, call_fields, runs, airflow_session, caplog
    ):
        from airflow.models.dag import DagModel

        airflow_session.get(DagModel, "score_lead").allowed_run_types = ["asset_triggered"]
        airflow_session.commit()
        assert receiver.post(ROUTE, data=call_fields).status_code == 404
        assert "allowed_run_types" in caplog.text
        assert runs() == []

    def test_a_robot_of_another_connection(
        self, receiver, robot, portal_connection, call_fields, runs, publish_dag, make_robot
    ):
        portal_connection("other_portal")
        publish_dag(make_robot("others_robot", conn_id="other_portal"))
        assert receiver.post("/other_portal/robots/score_lead", data=call_fields).status_code == 404
        assert receiver.post("/bitrix24_default/robots/others_robot", data=call_fields).status_code == 404
        assert runs() == []
        assert receiver.post("/other_portal/robots/others_robot", data=call_fields).status_code == 202

    def test_a_call_of_another_robot(self, receiver, robot, call_fields, runs):
        assert receiver.post(ROUTE, data=call_fields | {"code": "other_robot"}).status_code == 404
        assert runs() == []

    @pytest.mark.parametrize("name", ["event_token", "workflow_id", "code", "document_id[2]"])
    def test_a_call_with_a_missing_field(self, receiver, robot, call_fields, runs, name):
        del call_fields[name]
        answer = receiver.post(ROUTE, data=call_fields)
        assert (answer.status_code, answer.json()["error"]) == (400, "malformed")
        assert name.partition("[")[0] in answer.json()["message"]
        assert runs() == []

    @pytest.mark.parametrize(
        "body",
        [
            b"a" + b"[x]" * 50 + b"=1",
            b"&".join(b"a%d=1" % n for n in range(5000)),
            b"event_token=%FF",
            b"event_token=%00",
            b"event_token[=1",
            b"code=1&code=2",
        ],
    )
    def test_a_malformed_form(self, receiver, robot, runs, body):
        answer = receiver.post(ROUTE, content=body)
        assert (answer.status_code, answer.json()["error"]) == (400, "malformed")
        assert runs() == []

    def test_a_body_that_is_too_long(self, receiver, robot, call_fields, runs):
        body = urlencode(call_fields | {"properties[x]": "x" * 1024 * 1024}).encode()
        assert receiver.post(ROUTE, content=body).status_code == 413
        assert receiver.post(ROUTE, content=iter([body[:500_000], body[500_000:]])).status_code == 413
        assert runs() == []

    def test_other_methods_and_routes(self, receiver):
        assert receiver.get(ROUTE).status_code == 405
        assert receiver.post("/").status_code == 404
        for path in ("/docs", "/redoc", "/openapi.json"):
            assert receiver.get(path).status_code == 404


def test_a_call_that_fails_unforeseen_is_kept_without_details_and_done_later(
    receiver, robot, call_fields, runs, caplog, monkeypatch, secrets_of_the_portal
):
    def breaks(*_args, **_kwargs):
        raise RuntimeError(f"something with {secrets_of_the_portal.event_token}")

    caplog.set_level(logging.DEBUG)
    with monkeypatch.context() as patch:
        patch.setattr("airflow_provider_b24.receiver.dag_runs._create", breaks)
        answer = receiver.post(ROUTE, data=call_fields)
    assert (answer.status_code, answer.json()["spooled"]) == (202, True)
    assert secrets_of_the_portal.event_token not in answer.text + caplog.text
    assert "RuntimeError" in caplog.text
    assert runs() == []
    receiver.app.state.replay.turn()
    assert [run.run_id for run in runs()] == [answer.json()["run_id"]]


def test_a_call_that_fails_unforeseen_is_still_authenticated(receiver, robot, call_fields, monkeypatch):
    def breaks(*_args, **_kwargs):
        raise RuntimeError

    receiver.app.state.replay.portals.learn()
    monkeypatch.setattr("airflow_provider_b24.receiver.portals.find_portal", breaks)
    wrong = receiver.post(ROUTE, data=call_fields | {"auth[application_token]": "wrong"})
    assert wrong.status_code == 403
    assert receiver.post(ROUTE, data=call_fields).status_code == 202


def test_an_unforeseen_error_of_another_request_is_answered_without_details(
    receiver, caplog, monkeypatch, secrets_of_the_portal
):
    def breaks(*_args, **_kwargs):
        raise RuntimeError(f"something with {secrets_of_the_portal.event_token}")

    monkeypatch.setattr("airflow_provider_b24.receiver.results._verified", breaks)
    caplog.set_level(logging.DEBUG)
    answer = receiver.post("/results/reference", json={})
    assert (answer.status_code, answer.json()["error"]) == (500, "internal")
    assert secrets_of_the_portal.event_token not in answer.text + caplog.text
    assert "RuntimeError" in caplog.text


def test_nothing_secret_shows_in_any_log(receiver, robot, call_fields, caplog, capsys, secrets_of_the_portal):
    caplog.set_level(logging.DEBUG)
    receiver.post(ROUTE, data=call_fields)
    receiver.post(ROUTE, data=call_fields)
    receiver.post(
        ROUTE, data=call_fields | {"auth[application_token]": "nearly-" + secrets_of_the_portal.event_token}
    )
    receiver.post(ROUTE, data=call_fields | {"code": "other"})
    receiver.post(ROUTE, data=call_fields | {"ts": "never"})
    shown = capsys.readouterr()
    text = caplog.text + shown.out + shown.err
    for secret in vars(secrets_of_the_portal).values():
        assert secret not in text


def test_health_is_told_without_a_database(receiver, monkeypatch):
    monkeypatch.setattr("airflow.utils.session.create_session", None)
    answer = receiver.get("/health")
    assert (answer.status_code, answer.json()) == (
        200,
        {"status": "healthy", "spool": {"waiting": 0, "refused": 0, "replayed": 0}},
    )


def test_the_number_of_runs_is_the_number_of_different_tokens(receiver, robot, call_fields, airflow_session):
    from airflow.models.dagrun import DagRun

    for token in ("a", "b", "a", "c", "b"):
        receiver.post(ROUTE, data=call_fields | {"event_token": token})
    airflow_session.rollback()
    assert airflow_session.scalar(select(func.count()).select_from(DagRun)) == 3
