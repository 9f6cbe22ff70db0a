"""Robot calls: verified, and put on record before they are answered."""

from __future__ import annotations

import hashlib
import logging
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from urllib.parse import urlencode

import pytest
from sqlalchemy.exc import OperationalError
from starlette.testclient import TestClient

from airflow_provider_b24.calls import intake
from airflow_provider_b24.calls.listing import list_refusals
from airflow_provider_b24.calls.new_call import NewCall
from airflow_provider_b24.receiver import create_app, portals

ROUTE = "/bitrix24_default/robots/score_lead"


def refusals(receiver):
    """How often was refused what: connection, reason, number."""
    receiver.app.state.intake.note_refusals()
    return {(one.conn_id, one.error): one.number for one in list_refusals()}


@pytest.fixture(autouse=True)
def connected(portal_connection):
    """Every test begins with a connection; none needs a DAG."""
    return portal_connection()


class TestAccepted:
    def test_a_call_is_on_record_under_the_name_of_its_event_token(
        self, receiver, call_fields, on_record, secrets_of_the_portal
    ):
        response = receiver.post(ROUTE, data=call_fields)
        name = hashlib.sha256(secrets_of_the_portal.event_token.encode()).hexdigest()[:32]
        assert (response.status_code, response.json()) == (
            202,
            {"call": name, "run_id": f"bitrix24__{name}"},
        )
        [row] = on_record()
        assert (row.id, row.conn_id, row.dag_id, row.code, row.process, row.document, row.state) == (
            name,
            "bitrix24_default",
            "score_lead",
            "score_lead",
            call_fields["workflow_id"],
            "crm/CCrmDocumentLead/LEAD_77",
            "received",
        )

    def test_a_robot_of_somebodys_machine_has_the_code_of_its_dag(self, receiver, call_fields, on_record):
        sent = call_fields | {"code": "dev.ann.score_lead"}
        assert receiver.post(f"{ROUTE}/ann", data=sent).status_code == 202
        [row] = on_record()
        assert (row.dag_id, row.code) == ("score_lead", "score_lead")
        assert NewCall.from_payload(row.payload).fields["code"] == "score_lead"

    def test_a_prefix_that_its_code_does_not_have_changes_nothing(self, receiver, call_fields, on_record):
        assert receiver.post(f"{ROUTE}/bob", data=call_fields | {"code": "dev.ann.x"}).status_code == 202
        assert [row.code for row in on_record()] == ["dev.ann.x"]

    def test_a_prefix_that_is_none_is_refused(self, receiver, call_fields):
        response = receiver.post(f"{ROUTE}/a.b", data=call_fields)
        assert (response.status_code, response.json()["error"]) == (400, "malformed")

    def test_what_it_said_is_kept_encrypted_and_without_credentials(
        self, receiver, call_fields, on_record, secrets_of_the_portal
    ):
        receiver.post(ROUTE, data=call_fields | {"properties[model]": "tief \U0001f600 \u0416"})
        [row] = on_record()
        for secret in vars(secrets_of_the_portal).values():
            assert secret not in repr(row)
        kept = NewCall.from_payload(row.payload).fields
        assert kept["properties"] == {"model": "tief \U0001f600 \u0416", "limit": "3"}
        assert kept["auth"] == {"member_id": call_fields["auth[member_id]"], "user_id": "1"}

    @pytest.mark.parametrize("dag_id", ["unknown", "caf\u00e9", "a.b-c_d", "%20", "x" * 250])
    def test_a_call_for_a_dag_that_nobody_knows(self, receiver, call_fields, on_record, dag_id):
        assert receiver.post(f"/bitrix24_default/robots/{dag_id}", data=call_fields).status_code == 202
        assert len(on_record()) == 1

    @pytest.mark.parametrize(
        "change",
        [
            {"code": "another"},
            {"properties[limit]": "9" * 300},
            {"properties[model]": "huge"},
        ],
    )
    def test_a_call_that_may_not_fit_its_robot(self, receiver, call_fields, change, on_record):
        assert receiver.post(ROUTE, data=call_fields | change).status_code == 202
        assert len(on_record()) == 1

    def test_no_dag_is_looked_up(self, receiver, call_fields, monkeypatch):
        def fails(*_args, **_kwargs):
            raise AssertionError

        monkeypatch.setattr("airflow_provider_b24.calls.robots_at_hand.dag_statuses", fails)
        monkeypatch.setattr("airflow_provider_b24.calls.robots_at_hand.parsed_dag", fails)
        assert receiver.post(ROUTE, data=call_fields).status_code == 202


class TestOnce:
    def test_the_same_call_again_is_known(self, receiver, call_fields, on_record):
        first = receiver.post(ROUTE, data=call_fields)
        again = receiver.post(ROUTE, data=call_fields | {"properties[model]": "fast"})
        assert (again.status_code, again.json()) == (200, first.json() | {"duplicate": True})
        [row] = on_record()
        assert NewCall.from_payload(row.payload).fields["properties"]["model"] == "deep"

    def test_after_it_was_settled_too(self, receiver, call_fields, on_record, airflow_session):
        from airflow_provider_b24.calls.table import call_table

        receiver.post(ROUTE, data=call_fields)
        airflow_session.execute(call_table.update().values(state="answered", payload=None))
        airflow_session.commit()
        assert receiver.post(ROUTE, data=call_fields).status_code == 200
        assert [row.state for row in on_record()] == ["answered"]

    def test_the_same_call_many_times_at_once_at_several_receivers_is_one_row(
        self, call_fields, on_record, tmp_path
    ):
        with ExitStack() as stack:
            apps = [create_app(spool_folder=tmp_path / "spool") for _ in range(3)]
            receivers = [stack.enter_context(TestClient(app)) for app in apps]
            pool = stack.enter_context(ThreadPoolExecutor(12))
            responses = list(
                pool.map(lambda n: receivers[n % 3].post(ROUTE, data=call_fields).status_code, range(24))
            )
        # One that finds SQLite busy keeps the call in its spool, and cannot know of the others.
        assert set(responses) == {200, 202}
        assert len(on_record()) == 1

    def test_different_calls_at_once_are_a_row_each(self, receiver, call_fields, on_record):
        def post(number):
            return receiver.post(ROUTE, data=call_fields | {"event_token": f"t{number}"}).status_code

        with receiver, ThreadPoolExecutor(12) as pool:
            assert list(pool.map(post, range(40))) == [202] * 40
        assert len({row.id for row in on_record()}) == 40


class TestRefused:
    @pytest.mark.parametrize("name", ["auth[application_token]", "auth[member_id]"])
    @pytest.mark.parametrize("value", ["", "wrong", "\u00fcnic\u00f6de", None])
    def test_a_call_that_is_not_from_the_portal(self, receiver, call_fields, on_record, name, value):
        fields = {key: text for key, text in call_fields.items() if key != name}
        if value is not None:
            fields[name] = value
        response = receiver.post(ROUTE, data=fields)
        assert (response.status_code, response.json()["error"]) == (403, "forbidden")
        assert (on_record(), refusals(receiver)) == ([], {("bitrix24_default", "forbidden"): 1})

    @pytest.mark.parametrize(
        "auth", [{}, {"auth": "text"}, {"auth[]": "list"}, {"auth[application_token][]": "x"}]
    )
    def test_a_call_without_proper_auth(self, receiver, call_fields, on_record, auth):
        fields = {key: text for key, text in call_fields.items() if not key.startswith("auth")}
        assert receiver.post(ROUTE, data=fields | auth).status_code == 403
        assert on_record() == []

    def test_nothing_about_dags_is_told_to_strangers(self, receiver, publish_dag, make_robot, call_fields):
        publish_dag(make_robot())
        stranger = call_fields | {"auth[application_token]": "wrong"}
        known = receiver.post(ROUTE, data=stranger)
        unknown = receiver.post("/bitrix24_default/robots/no_such_dag", data=stranger)
        broken = receiver.post(ROUTE, data={"auth[application_token]": "wrong"})
        assert known.status_code == unknown.status_code == broken.status_code == 403
        assert known.content == unknown.content == broken.content

    def test_every_call_while_the_connection_has_no_application_token(
        self, receiver, portal_connection, call_fields, on_record, caplog
    ):
        portal_connection("tokenless", application_token=None)
        for token in ("", "None", "anything"):
            fields = call_fields | {"auth[application_token]": token}
            assert receiver.post("/tokenless/robots/d", data=fields).status_code == 403
        assert on_record() == []
        assert "Set application_token" in caplog.text

    def test_without_a_configured_member_id_the_token_decides(self, receiver, portal_connection, call_fields):
        portal_connection("anybodys", member_id=None)
        wrong = call_fields | {"auth[application_token]": "wrong"}
        right = call_fields | {"auth[member_id]": "whoever"}
        assert receiver.post("/anybodys/robots/d", data=wrong).status_code == 403
        assert receiver.post("/anybodys/robots/d", data=right).status_code == 202

    @pytest.mark.parametrize("conn_id", ["no_such_connection", "..%2F..%2Fetc", "%00", "x" * 300])
    def test_an_unknown_connection(self, receiver, call_fields, on_record, conn_id):
        response = receiver.post(f"/{conn_id}/robots/score_lead", data=call_fields)
        assert response.status_code == 404
        assert on_record() == []
        assert {conn for conn, _ in refusals(receiver)} <= {""}

    def test_a_connection_without_credentials(
        self, receiver, portal_connection, call_fields, on_record, caplog
    ):
        portal_connection("bare", password=None)
        response = receiver.post("/bare/robots/score_lead", data=call_fields)
        assert (response.status_code, response.json()["error"]) == (404, "unknown_connection")
        assert "no credentials" in caplog.text
        assert on_record() == []

    @pytest.mark.parametrize("name", ["event_token", "workflow_id", "code", "document_id[2]"])
    def test_a_call_with_a_missing_field(self, receiver, call_fields, on_record, name):
        del call_fields[name]
        response = receiver.post(ROUTE, data=call_fields)
        assert (response.status_code, response.json()["error"]) == (400, "malformed")
        assert name.partition("[")[0] in response.json()["message"]
        assert (on_record(), refusals(receiver)) == ([], {("bitrix24_default", "malformed"): 1})

    @pytest.mark.parametrize("dag_id", ["x" * 251, "a%00b"])
    def test_a_name_that_no_dag_can_have(self, receiver, call_fields, on_record, dag_id):
        response = receiver.post(f"/bitrix24_default/robots/{dag_id}", data=call_fields)
        assert (response.status_code, response.json()["error"]) == (400, "malformed")
        assert on_record() == []

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
    def test_a_malformed_form(self, receiver, on_record, body):
        response = receiver.post(ROUTE, content=body)
        assert (response.status_code, response.json()["error"]) == (400, "malformed")
        assert on_record() == []

    def test_a_body_that_is_too_long(self, receiver, call_fields, on_record):
        body = urlencode(call_fields | {"properties[x]": "x" * 1024 * 1024}).encode()
        assert receiver.post(ROUTE, content=body).status_code == 413
        assert receiver.post(ROUTE, content=iter([body[:500_000], body[500_000:]])).status_code == 413
        assert on_record() == []

    def test_other_methods_and_routes(self, receiver):
        assert receiver.get(ROUTE).status_code == 405
        assert receiver.post("/").status_code == 404


class TestRefusalsOnRecord:
    def test_they_are_counted_by_reason_without_content(self, receiver, call_fields, airflow_session):
        from sqlalchemy import select

        from airflow_provider_b24.calls.table import refusal_table

        stranger = call_fields | {"auth[application_token]": "s3cr3t-guess", "properties[model]": "s3cr3t"}
        for _ in range(3):
            receiver.post(ROUTE, data=stranger)
        receiver.post(ROUTE, data=call_fields | {"ts": "s3cr3t"})
        receiver.post(ROUTE, content=b"s3cr3t[=1")
        assert refusals(receiver) == {
            ("bitrix24_default", "forbidden"): 3,
            ("bitrix24_default", "malformed"): 2,
        }
        receiver.post(ROUTE, data=stranger)
        assert refusals(receiver)["bitrix24_default", "forbidden"] == 4
        assert "s3cr3t" not in repr(airflow_session.execute(select(refusal_table)).all())

    def test_strangers_cannot_fill_the_table_with_names(self, receiver, call_fields):
        for number in range(20):
            receiver.post(f"/invented_{number}/robots/d", data=call_fields)
            receiver.post(f"/invented_{number}/robots/d", content=b"a[=1")
        receiver.post(f"/{'x' * 300}/robots/d", content=b"a[=1")
        receiver.post("/%00/robots/d", content=b"a[=1")
        assert refusals(receiver) == {("", "unknown_connection"): 20, ("", "malformed"): 22}

    def test_what_cannot_be_noted_now_is_noted_later(self, receiver, call_fields, database_away):
        receiver.post(ROUTE, data=call_fields | {"auth[application_token]": "wrong"})
        with database_away():
            with pytest.raises(OperationalError):
                receiver.app.state.intake.note_refusals()
            receiver.post(ROUTE, data=call_fields | {"auth[application_token]": "wrong"})
        assert refusals(receiver) == {("bitrix24_default", "forbidden"): 2}


class TestConnectionsAreKept:
    @pytest.fixture
    def looked_up(self, monkeypatch):
        """Which connections were looked up."""
        asked = []
        real = portals.find_portal

        def find(conn_id):
            asked.append(conn_id)
            return real(conn_id)

        monkeypatch.setattr(portals, "find_portal", find)
        return asked

    def test_genuine_calls_share_one_look_up(self, receiver, call_fields, looked_up):
        for number in range(10):
            receiver.post(ROUTE, data=call_fields | {"event_token": f"t{number}"})
        assert looked_up == ["bitrix24_default"]

    def test_a_strangers_posts_cost_no_look_up_each(self, receiver, call_fields, looked_up):
        with receiver, ThreadPoolExecutor(10) as pool:
            stranger = call_fields | {"auth[application_token]": "wrong"}
            responses = list(pool.map(lambda _: receiver.post(ROUTE, data=stranger).status_code, range(50)))
        assert responses == [403] * 50
        assert len(looked_up) < 20

    def test_an_application_token_that_changed_a_moment_ago_is_believed(
        self, receiver, call_fields, connected, airflow_session
    ):
        assert receiver.post(ROUTE, data=call_fields).status_code == 202
        connected.set_extra('{"application_token": "the-new-token"}')
        airflow_session.commit()
        fields = call_fields | {"event_token": "2", "auth[application_token]": "the-new-token"}
        assert receiver.post(ROUTE, data=fields).status_code == 202

    def test_a_connection_that_was_made_a_moment_ago_is_found(self, receiver, call_fields, portal_connection):
        assert receiver.post("/fresh/robots/d", data=call_fields).status_code == 404
        portal_connection("fresh")
        assert receiver.post("/fresh/robots/d", data=call_fields).status_code == 202

    @pytest.mark.anyio
    async def test_they_are_known_before_the_first_call(self, receiver, call_fields, looked_up):
        await receiver.app.state.portals.learn()
        assert (looked_up, receiver.app.state.portals.knows("bitrix24_default")) == (
            ["bitrix24_default"],
            True,
        )


def test_a_call_that_fails_unforeseen_is_kept_without_details(
    receiver, call_fields, on_record, caplog, monkeypatch, secrets_of_the_portal
):
    def breaks(*_args, **_kwargs):
        raise RuntimeError(f"something with {secrets_of_the_portal.event_token}")

    caplog.set_level(logging.DEBUG)
    with monkeypatch.context() as patch:
        patch.setattr(intake, "put_on_record", breaks)
        response = receiver.post(ROUTE, data=call_fields)
    assert (response.status_code, response.json()["spooled"]) == (202, True)
    assert secrets_of_the_portal.event_token not in response.text + caplog.text
    assert "RuntimeError" in caplog.text
    assert on_record() == []
    receiver.app.state.intake.spool.drain(intake.put_on_record)
    assert [row.id for row in on_record()] == [response.json()["call"]]


def test_an_unforeseen_error_of_another_request_is_answered_without_details(
    receiver, caplog, monkeypatch, secrets_of_the_portal
):
    def breaks(*_args, **_kwargs):
        raise RuntimeError(f"something with {secrets_of_the_portal.event_token}")

    monkeypatch.setattr("airflow_provider_b24.receiver.results._verified", breaks)
    caplog.set_level(logging.DEBUG)
    response = receiver.post("/results/reference", json={})
    assert (response.status_code, response.json()["error"]) == (500, "internal")
    assert secrets_of_the_portal.event_token not in response.text + caplog.text
    assert "RuntimeError" in caplog.text


def test_nothing_secret_shows_in_any_log(receiver, call_fields, caplog, capsys, secrets_of_the_portal):
    caplog.set_level(logging.DEBUG)
    receiver.post(ROUTE, data=call_fields)
    receiver.post(ROUTE, data=call_fields)
    receiver.post(
        ROUTE, data=call_fields | {"auth[application_token]": "nearly-" + secrets_of_the_portal.event_token}
    )
    receiver.post(ROUTE, data=call_fields | {"ts": "never"})
    shown = capsys.readouterr()
    text = caplog.text + shown.out + shown.err
    for secret in vars(secrets_of_the_portal).values():
        assert secret not in text
