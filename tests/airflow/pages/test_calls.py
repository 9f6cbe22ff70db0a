"""The list of calls, and one call, as people see them."""

from __future__ import annotations

import datetime as dt
import re
from typing import Any

import pytest
import sqlalchemy as sa

from airflow_provider_b24._airflow.database import writing
from airflow_provider_b24.calls.table import call_table, refusal_table

from .rows import NOW, row


def shown(page: Any) -> list[str]:
    """The ids of the calls on a page, in their order."""
    assert page.status_code == 200, page.text
    return re.findall(r'<tr id="call-([0-9a-f]{32})">', page.text)


@pytest.fixture
def on_page(airflow_session: Any) -> Any:
    """Put rows on record."""

    def put(*rows: dict[str, Any]) -> None:
        with writing() as session:
            for one in rows:
                session.execute(call_table.insert().values(**one))

    return put


class TestCalls:
    def test_none_have_come(self, olga, airflow_session):
        page = olga.get("calls")
        assert shown(page) == []
        assert "No call has come yet" in page.text

    def test_the_newest_come_first(self, olga, on_page):
        on_page(*(row(number) for number in (3, 1, 2)))
        page = olga.get("calls")
        assert shown(page) == [f"{number:032x}" for number in (1, 2, 3)]
        assert "the run&#39;s task reply" in page.text
        assert "after 1 min 15 s" in page.text
        assert "LEAD_2" in page.text
        assert "process.2" in page.text

    def test_pages_follow_each_other_without_a_gap_while_calls_come(self, olga, on_page):
        same = {"received_at": NOW - dt.timedelta(hours=1)}
        on_page(*(row(number, **same) for number in range(1, 121)))
        seen: list[str] = []
        address = "calls"
        for new in range(3):
            page = olga.get(address)
            seen += shown(page)
            on_page(row(200 + new, received_at=NOW))
            following = re.search(r'href="(\?[^"]+)" rel="next"', page.text)
            address = f"calls{following[1].replace('&amp;', '&')}" if following else ""
        assert address == ""
        assert seen == sorted((f"{number:032x}" for number in range(1, 121)), reverse=True)

    @pytest.mark.parametrize(
        ("query", "found"),
        [
            ("state=too-late", [2]),
            ("state=open", [3, 4]),
            ("state=waiting", [4]),
            ("state=answered", [1, 5]),
            ("dag=appraise", [5]),
            ("conn=shop", [1]),
            ("q=process.2", [2]),
            ("q=LEAD_5", [5]),
            ("q=crm/CCrmDocumentLead/LEAD_5", [5]),
            ("q=" + f"{3:032x}", [3]),
            ("q=bitrix24__" + f"{3:032x}", [3]),
            ("q=INSUFFICIENT_scope", [4]),
            ("q=100%25", []),
            ("q=appraise", [5]),
            ("since=24h", [4, 1, 2, 3]),
            ("state=answered&q=appraise", [5]),
            ("state=too-late&q=appraise", []),
        ],
    )
    def test_filters_stand_in_the_address(self, olga, on_page, query, found):
        stuck = {"answering": "failure-answered", "attempts": 3, "last_error": "insufficient_scope: bizproc"}
        open_ = {"answered_at": None, "answered_by": None, "state": "running"}
        on_page(
            row(1, conn_id="shop"),
            row(2, state="too-late"),
            row(3, **open_),
            row(4, **open_, **stuck),
            row(5, code="appraise", dag_id="appraise", received_at=NOW - dt.timedelta(days=3)),
        )
        assert shown(olga.get(f"calls?{query}")) == [f"{number:032x}" for number in found]

    def test_what_waits_for_a_person_is_on_top(self, olga, on_page):
        open_ = {"answered_at": None, "answered_by": None}
        on_page(
            row(1),
            row(2, **open_, state="running", reason="the run is queued"),
            row(3, **open_, state="running", reason="the DAG is paused"),
            row(4, **open_, state="received", reason="Airflow has not parsed the DAG yet"),
            row(5, **open_, state="running", answering="failure-answered", attempts=1, last_error="locked"),
            row(6, **open_, state="received"),
        )
        page = olga.get("calls")
        assert shown(page) == [f"{number:032x}" for number in (3, 4, 5, 1, 2, 6)]
        assert "3 calls wait for a person" in page.text

    def test_calls_of_today_are_counted(self, olga, on_page):
        yesterday = NOW.replace(hour=0, minute=0, second=0, microsecond=0) - dt.timedelta(seconds=1)
        on_page(
            *(row(number, received_at=NOW) for number in (1, 2)),
            row(3, received_at=NOW, state="too-late"),
            row(4, received_at=yesterday),
        )
        counts = re.findall(r"<b>(\d+)</b> <span class=\"badge ([a-z-]+)\"", olga.get("calls").text)
        assert counts == [("2", "answered"), ("1", "too-late")]

    @pytest.mark.parametrize(
        "query",
        ["state=gone", "since=ever", "before=1", "q=" + "x" * 800],
    )
    def test_an_address_that_says_nothing_is_refused(self, olga, airflow_session, query):
        # In Airflow's frame there is no other way on.
        assert '<a href="/bitrix24-pages/calls">← All calls</a>' in olga.get(f"calls?{query}").text
        assert olga.get(f"calls?{query}").status_code == 400

    def test_a_call_whose_dag_is_missing_is_there(self, olga, airflow_session, call_robot, work):
        called = call_robot(dag_id="gone")
        work.start()
        page = olga.get("calls")
        assert shown(page) == [called.call.id]
        assert "Airflow has not parsed the DAG yet" in page.text

    def test_refused_posts_are_there_for_those_who_may_see_connections(self, olga, vera, airflow_session):
        refused = {
            "conn_id": "crm",
            "error": "forbidden",
            "number": 7,
            "first_at": NOW - dt.timedelta(days=60),
            "last_at": NOW,
            "message": "The application token is another one.",
        }
        with writing() as session:
            session.execute(refusal_table.insert().values(**refused))
        page = olga.get("calls").text
        assert "The application token is another one." in page
        assert re.search(rf"7 since <time[^>]*>{NOW - dt.timedelta(days=60):%Y-%m-%d}", page)
        assert "in all" not in page
        assert "The application token" not in vera.get("calls").text

    def test_nothing_that_was_posted_becomes_markup(self, olga, on_page):
        script = "<script>alert(1)</script>"
        on_page(
            row(1, code=script, process=script, document=f"crm/x/{script}", reason=script, last_error=script)
        )
        for path in ("calls", f"calls?q={script}", f"calls/{1:032x}"):
            assert "<script>alert" not in olga.get(path).text


class TestCall:
    def test_it_tells_what_has_happened(self, olga, called):
        page = olga.get(f"calls/{called.call.id}")
        assert page.status_code == 200
        for words in (
            "Sent by Bitrix24",
            "Received, and on record",
            "Run created",
            called.call.run_id,
            called.process.id,
            "model",
            "deep",
            "The process waits without a time limit.",
            f"{called.portal.url}/crm/lead/details/",
            f"{called.portal.url}/company/personal/bizproc/{called.process.id}/",
        ):
            assert words in page.text

    def test_it_never_shows_the_event_token(self, olga, called, call_robot, airflow_session):
        waiting = call_robot(dag_id="gone")
        for one in (called, waiting):
            page = olga.get(f"calls/{one.call.id}").text
            assert "deep" in page
            assert one.call.fields["event_token"] not in page
            assert one.call.fields["event_token"].rpartition("|")[2] not in page
        assert called.run.conf["event_token"] not in olga.get(f"calls/{called.call.id}").text

    def test_it_counts_down_to_its_deadline(self, olga, robot, call_robot, work):
        called = call_robot(robot, timeout=3600)
        work.start()
        page = olga.get(f"calls/{called.call.id}").text
        assert "data-countdown" in page
        assert "The dispatcher answers in the run&#39;s place" in page
        assert "The process stops waiting by its own limit" in page

    def test_it_says_who_has_answered_with_what(self, olga, called, work):
        called.answer_as_reply_does(score="5")
        called.note("delivered", score=5.0)
        work.watch()
        page = olga.get(f"calls/{called.call.id}").text
        assert "Answered by the run&#39;s task reply" in page
        assert re.search(r"<dt>score</dt><dd class=\"value\">5.0</dd>", page)
        assert "Answer by hand" not in page

    def test_it_masks_as_airflow_does(self, olga, on_page, called):
        from airflow.models.dagrun import DagRun

        with writing() as session:
            conf = dict(called.run.conf) | {"properties": {"api_key": "s3cr3t-value", "model": "deep"}}
            session.execute(sa.update(DagRun).where(DagRun.run_id == called.call.run_id).values(conf=conf))
        page = olga.get(f"calls/{called.call.id}").text
        assert "api_key" in page
        assert "s3cr3t-value" not in page

    def test_it_is_found_by_its_run(self, olga, called, on_page):
        page = olga.get(f"run?dag_id=score_lead&run_id={called.call.run_id}")
        assert called.process.id in page.text
        other = olga.get("run?dag_id=score_lead&run_id=manual__1")
        assert (other.status_code, "No call of Bitrix24 has started this run" in other.text) == (200, True)

    def test_its_document_is_found_by_its_run(self, olga, called, on_page):
        query = f"document?dag_id=score_lead&run_id={called.call.run_id}"
        found = olga.get(query, follow_redirects=False)
        assert (
            found.status_code,
            found.headers["location"].startswith(f"{called.portal.url}/crm/lead/details/"),
        ) == (
            302,
            True,
        )
        on_page(row(1, conn_id="nowhere"))
        assert olga.get(f"document?dag_id=score_lead&run_id=bitrix24__{1:032x}").status_code == 404

    def test_there_is_none(self, olga, airflow_session):
        assert olga.get(f"calls/{7:032x}").status_code == 404

    def test_without_its_connection_it_has_no_links_to_the_portal(self, olga, on_page):
        on_page(row(1, conn_id="nowhere"))
        page = olga.get(f"calls/{1:032x}")
        assert (page.status_code, "in Bitrix24" in page.text) == (200, False)


def test_the_database_is_away(olga, database_away):
    with database_away():
        page = olga.get("calls")
    assert page.status_code == 503
    assert "SELECT" not in page.text


class TestWaiting:
    def test_programs_are_told_what_waits(self, browse, auth_manager, called):
        from airflow.api_fastapi.auth.managers.simple.user import SimpleAuthManagerUser

        program = browse(None)
        token = auth_manager.generate_jwt(
            SimpleAuthManagerUser(username="alarm", role="VIEWER"), expiration_time_in_seconds=60
        )
        bearer = {"Authorization": f"Bearer {token}"}
        assert program.get("waiting", headers=bearer).json() == {"number": 0, "calls": []}
        called.change(answering="failure-answered", attempts=3, last_error="no scope")
        told = program.get("waiting", headers=bearer).json()
        assert told["number"] == 1
        [call] = told["calls"]
        assert (call["id"], call["dag_id"], call["last_error"]) == (called.call.id, "score_lead", "no scope")

    def test_not_of_dags_that_may_not_be_seen(self, olga, called, auth_manager, monkeypatch):
        called.change(answering="failure-answered", attempts=3)
        monkeypatch.setattr(auth_manager, "is_authorized_dag", lambda **_: False)
        assert olga.get("waiting").json() == {"number": 0, "calls": []}
