"""What people do about calls on the pages: it reaches the process, and the audit log tells who did it."""

from __future__ import annotations

import json
from typing import Any

import pytest

from airflow_provider_b24.robots import Property
from airflow_provider_b24.sandbox import AnswerStatus


def act(browser: Any, deed: str, *called: Any, **form: Any) -> Any:
    """Open the page that asks, and send its form."""
    ids = [one.call.id for one in called]
    query = "&".join([f"act?do={deed}", *(f"call={one}" for one in ids)])
    return browser.post("act", data={"do": deed, "call": ids, "token": browser.token(query)} | form)


class TestAnswerByHand:
    def test_is_shown_before_it_is_sent(self, olga, called, audit):
        page = act(olga, "answer", called, **{"value.score": "7.5", "message": "Asked the owner."})
        assert page.status_code == 200
        assert "It cannot be taken back" in page.text
        assert "7.5" in page.text
        assert (called.answers, audit()) == ([], [])

    def test_reaches_the_process(self, olga, called, audit):
        page = act(
            olga,
            "answer",
            called,
            **{"value.score": "7.5", "message": "Asked the owner.", "confirmed": "yes"},
        )
        assert "The portal has taken the answer." in page.text
        assert called.answers == [{"score": "7.5"}]
        assert (called.state, called.row.answered_by) == ("answered-by-hand", "hand:olga")
        assert "Asked the owner." in called.log
        assert called.mark["answered_by"] == "hand:olga"
        [entry] = audit()
        assert (entry.event, entry.owner) == ("bitrix24_call_answered_by_hand", "olga")
        assert (entry.dag_id, entry.run_id) == ("score_lead", called.call.run_id)
        assert json.loads(entry.extra)["values"] == {"score": 7.5}

    def test_is_checked_as_reply_checks(self, olga, called, audit):
        page = act(olga, "answer", called, **{"value.score": "much", "confirmed": "yes"})
        assert page.status_code == 400
        assert "Nothing was sent" in page.text
        assert 'value="much"' in page.text
        assert (called.answers, audit()) == ([], [])

    def test_can_be_changed_after_it_was_shown(self, olga, called):
        typed = {"value.score": "7.5", "message": "Asked the owner."}
        shown = act(olga, "answer", called, **typed).text
        assert 'name="confirmed" value="no">Change it' in shown
        page = act(olga, "answer", called, **typed, confirmed="no")
        assert 'value="7.5"' in page.text
        assert 'name="message" value="Asked the owner."' in page.text
        assert "Check the answer" in page.text
        assert called.answers == []

    def test_that_does_not_fit_says_which_properties(
        self, olga, publish_dag, connection, make_kinds, call_robot, work
    ):
        connection()
        called = call_robot(publish_dag(make_kinds()))
        work.start()
        page = act(olga, "answer", called, **{"value.left_out": "many", "value.yes": "perhaps"})
        assert "left_out&#39;: &#39;many&#39; is no whole number" in page.text
        assert "yes&#39;: &#39;perhaps&#39;" in page.text

    def test_has_a_field_for_each_kind_of_property(
        self, olga, publish_dag, connection, make_kinds, call_robot, work
    ):
        connection()
        robot = publish_dag(make_kinds())
        called = call_robot(robot)
        work.start()
        form = {
            "value.yes": "Y",
            "value.words": "one\r\ntwo\r\n",
            "value.pick": "b",
            "value.story": "first line\r\nsecond",
            "value.left_out": "",
            "confirmed": "yes",
        }
        asked = olga.get(f"act?do=answer&call={called.call.id}").text
        assert 'name="value.words" rows' in asked
        assert '<option value="b">Bee</option>' in asked
        assert "The portal has taken the answer." in act(olga, "answer", called, **form).text
        assert called.answers == [
            {"yes": "Y", "words": ["one", "two"], "pick": "b", "story": "first line\nsecond"}
        ]

    def test_that_the_portal_does_not_take_is_told(self, olga, called, bitrix):
        bitrix.faults.add(AnswerStatus(403, "insufficient_scope"))
        page = act(olga, "answer", called, **{"value.score": "1", "confirmed": "yes"})
        assert "The portal has not taken the answer yet; the dispatcher goes on trying." in page.text
        assert "insufficient_scope" in page.text

    def test_that_comes_after_a_lost_one_of_reply_says_how_the_call_ended(self, olga, called, bitrix):
        called.note("sending", score=5.0)
        bitrix.faults.add(AnswerStatus(403, "ACCESS_DENIED", "Access denied!"))
        page = act(olga, "answer", called, **{"value.score": "1", "confirmed": "yes"})
        assert called.state == "answered"
        assert (
            "The answer was not taken: the process has been answered by its run&#39;s task reply" in page.text
        )
        assert "it counts as delivered" in page.text
        assert "goes on trying" not in page.text

    def test_that_comes_after_one_of_somebody_else_is_not_taken(self, olga, called, bitrix):
        called.change(maybe_sent_at=called.row.received_at, maybe_sent_by="hand:bob", answering_by="hand:bob")
        bitrix.faults.add(AnswerStatus(403, "ACCESS_DENIED", "Access denied!"))
        page = act(olga, "answer", called, **{"value.score": "1", "confirmed": "yes"})
        assert called.state == "answered-by-hand"
        assert "The answer was not taken: the process has been answered by hand, by bob" in page.text

    def test_of_a_settled_call_is_refused(self, olga, called):
        called.change(state="answered", answered_by="reply", answered_at=called.row.received_at)
        page = act(olga, "answer", called, **{"value.score": "1", "confirmed": "yes"})
        assert "Nothing was sent: the process has been answered by its run&#39;s task reply" in page.text
        assert called.answers == []

    def test_without_its_dag_says_what_to_do(self, olga, call_robot, connection, airflow_session):
        connection()
        called = call_robot(dag_id="gone")
        page = olga.get(f"act?do=answer&call={called.call.id}")
        assert "Put its file back into the DAG folder" in page.text

    def test_with_on_failure_without_its_dag_cannot_be_sent(
        self, olga, call_robot, connection, airflow_session
    ):
        connection()
        called = call_robot(dag_id="gone")
        assert 'value="yes" disabled' in olga.get(f"act?do=on_failure&call={called.call.id}").text
        page = act(olga, "on_failure", called)
        assert "Put its file back into the DAG folder" in page.text
        assert called.answers == []


class TestSelection:
    def test_gets_on_failure(self, olga, robot, call_robot, work, audit):
        some = [call_robot(robot) for _ in range(3)]
        work.start()
        asked = olga.get("act?do=on_failure&" + "&".join(f"call={one.call.id}" for one in some)).text
        assert asked.count("score = -1.0") == 3
        page = act(olga, "on_failure", *some, message="All of them.")
        assert page.text.count("The portal has taken the answer.") == 3
        assert [one.answers for one in some] == [[{"score": "-1.0"}]] * 3
        assert {entry.event for entry in audit()} == {"bitrix24_call_answered_on_failure"}
        assert {entry.run_id for entry in audit()} == {one.call.run_id for one in some}

    def test_gets_the_same_answer_by_hand(self, olga, robot, call_robot, work):
        some = [call_robot(robot) for _ in range(2)]
        work.start()
        act(olga, "answer", *some, **{"value.score": "3", "confirmed": "yes"})
        assert [one.answers for one in some] == [[{"score": "3.0"}]] * 2

    def test_of_several_robots_has_no_answer_in_common(self, olga, robot, call_robot, work):
        some = [call_robot(robot), call_robot(dag_id="other")]
        page = olga.get("act?do=answer&" + "&".join(f"call={one.call.id}" for one in some))
        assert "choose those of one robot" in page.text

    def test_leaves_out_what_is_settled_when_it_asks(self, olga, robot, call_robot, work):
        first, second, settled = (call_robot(robot) for _ in range(3))
        other = call_robot(dag_id="other")
        work.start()
        for one in (settled, other):
            one.change(state="too-late", reason="the limit")
        chosen = "&".join(f"call={one.call.id}" for one in (first, second, settled, other))
        for deed, button in (("on_failure", "Send 2 answers"), ("answer", "Check the answer")):
            asked = olga.get(f"act?do={deed}&{chosen}").text
            assert "2 of the 4 calls are settled already" in asked
            assert button in asked
            assert "several robots" not in asked
            assert asked.count('name="call"') == 2
        asked = olga.get(f"act?do=on_failure&call={settled.call.id}").text
        assert "The call is settled already" in asked
        assert 'danger" name="confirmed" value="yes" disabled' in asked

    def test_with_one_that_is_settled_answers_the_others(self, olga, robot, call_robot, work):
        first, second = call_robot(robot), call_robot(robot)
        work.start()
        first.change(state="too-late", reason="the limit")
        page = act(olga, "on_failure", first, second)
        assert "nobody waits any more: the limit" in page.text
        assert (first.answers, second.answers) == ([], [{"score": "-1.0"}])


class TestTryAgain:
    def test_makes_what_waits_due_now(self, olga, called, work, bitrix, audit):
        bitrix.faults.add(AnswerStatus(403, "insufficient_scope"))
        called.set_run("failed")
        work.turn()
        assert called.answers == []
        page = act(olga, "retry", called)
        assert "It is tried again now." in page.text
        work.send()
        assert called.answers == [{"score": "-1.0"}]
        assert [entry.event for entry in audit()] == ["bitrix24_call_tried_again"]

    def test_says_when_nothing_waits(self, olga, called):
        assert "Nothing is tried again" in act(olga, "retry", called).text


@pytest.mark.parametrize(
    ("query", "status"),
    [
        ("do=answer", 400),
        ("do=destroy&call=" + "0" * 32, 400),
        ("do=retry&call=" + "0" * 32, 404),
        ("do=retry&" + "&".join(f"call={number:032x}" for number in range(51)), 400),
    ],
)
def test_what_makes_no_sense_is_refused(olga, airflow_session, query, status):
    assert olga.get(f"act?{query}").status_code == status


@pytest.fixture
def make_kinds(make_robot: Any) -> Any:
    """Write a robot whose answer has properties of many kinds."""
    from airflow.sdk.bases.operator import BaseOperator

    from airflow_provider_b24.robots import robot_dag

    def make() -> Any:
        @robot_dag(
            dag_id="kinds",
            code="kinds",
            name="Kinds",
            schedule=None,
            properties={"model": Property.string("Model")},
            return_properties={
                "yes": Property.bool("Yes or no"),
                "words": Property.string("Words", multiple=True),
                "pick": Property.select("Pick", {"a": "Ay", "b": "Bee"}),
                "story": Property.text("Story"),
                "left_out": Property.int("Left out"),
            },
        )
        def build():
            BaseOperator(task_id="work")
            return {"yes": True}

        return build()

    return make
