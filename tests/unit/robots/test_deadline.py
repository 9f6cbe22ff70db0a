"""When a call must have been answered."""

import time

import pytest

from airflow_provider_b24.robots import deadline
from airflow_provider_b24.robots.deadline import CallDeadline, answer_by, look_at

CALL = {"event_token": "token", "ts": 1_000_000, "timeout_duration": 3600}


@pytest.mark.parametrize(
    ("patience", "margin"),
    [(10, 5), (40, 20), (60, 20), (200, 20), (300, 30), (600, 60), (86400, 60)],
)
def test_the_answer_comes_a_little_before_the_process_stops_waiting(patience, margin) -> None:
    assert answer_by(CALL | {"timeout_duration": patience}) == 1_000_000 + patience - margin


@pytest.mark.parametrize("conf", [None, {}, CALL | {"timeout_duration": 0}, CALL | {"use_subscription": "N"}])
def test_a_process_that_waits_for_ever_or_not_at_all_has_no_deadline(conf) -> None:
    assert answer_by(conf) is None
    assert look_at(conf, None) is None


def test_a_run_started_by_hand_has_no_deadline_whatever_its_dagrun_timeout() -> None:
    assert look_at({"model": "fast"}, 60.0) is None


def test_the_earlier_of_patience_and_dagrun_timeout_counts(monkeypatch) -> None:
    monkeypatch.setattr(time, "time", lambda: 1_000_010.0)

    assert look_at(CALL, None) == 1_003_540
    assert look_at(CALL, 100.0) == 1_000_110
    assert look_at(CALL, 100_000.0) == 1_003_540
    assert look_at(CALL | {"timeout_duration": 0}, 100.0) == 1_000_110


def test_a_deadline_is_read_as_it_was_written() -> None:
    written = CallDeadline(90.0).serialize_reference()

    assert CallDeadline.deserialize_reference(written).dagrun_timeout == 90.0
    assert CallDeadline().dagrun_timeout is None, "Airflow makes one without arguments when it loads plugins"


class _BrokenSession:
    def scalar(self, query):
        raise RuntimeError("no database")


def test_a_call_is_taken_without_a_deadline_rather_than_lost() -> None:
    assert CallDeadline()._evaluate_with(session=_BrokenSession(), dag_id="dag", run_id="run") is None


def test_airflow_finds_the_deadline_in_the_plugin() -> None:
    from airflow.plugins_manager import get_deadline_references_plugins

    assert deadline.is_supported()
    assert CallDeadline in get_deadline_references_plugins().values()


class _Session:
    def __init__(self, conf):
        self.conf = conf

    def scalar(self, query):
        return self.conf


def test_a_call_whose_deadline_no_calendar_knows_is_taken_without_one() -> None:
    endless = CALL | {"timeout_duration": 999_999_999_999}

    assert CallDeadline()._evaluate_with(session=_Session(endless), dag_id="dag", run_id="run") is None
