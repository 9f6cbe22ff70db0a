"""What the dispatcher tells a run about its answer."""

import datetime as dt
import json

import pytest

from airflow_provider_b24.robots.answer_mark import MARK_KEY, NOBODY, AnswerMark

NOON = dt.datetime(2026, 5, 4, 12, 0, tzinfo=dt.UTC)


@pytest.mark.parametrize("by", [None, "reply", "dispatcher", "hand:eve", NOBODY])
@pytest.mark.parametrize("at", [None, NOON])
@pytest.mark.parametrize("maybe_sent", [False, True])
def test_a_mark_is_read_as_it_was_written_and_leaves_the_rest_of_the_conf_alone(by, at, maybe_sent):
    mark = AnswerMark(by, at, maybe_sent)

    conf = json.loads(json.dumps(mark.put_into({"model": "fast"})))

    assert AnswerMark.from_conf(conf) == mark
    assert conf["model"] == "fast"


def test_the_last_mark_counts():
    conf = AnswerMark("dispatcher", NOON).put_into(AnswerMark(maybe_sent=True).put_into({}))

    assert AnswerMark.from_conf(conf) == AnswerMark("dispatcher", NOON)


@pytest.mark.parametrize(
    "conf",
    [
        None,
        {},
        {MARK_KEY: None},
        {MARK_KEY: "reply"},
        {MARK_KEY: []},
        {MARK_KEY: {}},
        {MARK_KEY: {"answered_by": 5, "answered_at": "noon"}},
    ],
)
def test_whatever_else_is_in_its_place_is_no_mark(conf):
    assert AnswerMark.from_conf(conf) == AnswerMark()


@pytest.mark.parametrize(
    ("mark", "words"),
    [
        (AnswerMark("reply", NOON), "by this run's task reply, at 2026-05-04 12:00:00 UTC"),
        (AnswerMark("dispatcher"), "with the on_failure values, by the dispatcher"),
        (AnswerMark("hand:eve", NOON), "by hand, by eve, at 2026-05-04 12:00:00 UTC"),
    ],
)
def test_it_tells_a_reader_who_has_answered_and_when(mark, words):
    assert str(mark) == words
