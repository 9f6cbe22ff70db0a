"""What a waiting task makes of what it sees."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_b24.sensors.result_delivery import MAX_MESSAGE_LENGTH, Delivery, ExpectedResult, Outcome

EXPECTED = ExpectedResult(
    dag_id="d", run_id="r", source_task_id="hand_out", source_map_index=-1, started_at=1000, timeout_at=2000
)

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda children: st.lists(children) | st.dictionaries(st.text(), children),
    max_leaves=20,
)


class TestDelivery:
    @given(st.dictionaries(st.text(), json_values))
    def test_a_result_comes_back_as_it_was_stored(self, result):
        assert Delivery.from_xcom(Delivery(result=result).to_xcom()) == Delivery(result=result)

    def test_is_stored_as_text(self):
        stored = Delivery(result={"__classname__": "x"}).to_xcom()
        assert isinstance(stored, str)
        assert json.loads(stored) == {"status": "success", "result": {"__classname__": "x"}}

    def test_a_message_is_cut(self):
        delivery = Delivery.from_xcom(Delivery(message="m" * 10_000).to_xcom())
        assert delivery.result is None
        assert delivery.message.count("m") <= MAX_MESSAGE_LENGTH + 10

    def test_nothing_stored_is_nothing_delivered(self):
        assert Delivery.from_xcom(None) is None

    @pytest.mark.parametrize(
        "value",
        ["", "x", "{}", '{"status": "odd"}', '{"status": "success", "result": []}', 5, {"status": "success"}],
    )
    def test_something_else_is_a_failure_that_says_so(self, value):
        delivery = Delivery.from_xcom(value)
        assert delivery.result is None
        assert "holds no delivered result" in delivery.message


class TestDecision:
    def test_waits_until_the_timeout(self):
        decision = EXPECTED.decide(None, None, 1999)
        assert (decision.outcome, decision.look_again_by) == (Outcome.WAIT, 2000)
        assert EXPECTED.decide(None, None, 2000).outcome is Outcome.TIMED_OUT

    @pytest.mark.parametrize(("patience", "end"), [(1500, 1500), (2500, 2000), (None, 2000)])
    def test_the_earlier_deadline_counts(self, patience, end):
        expected = ExpectedResult(**{**_fields(EXPECTED), "patience_ends_at": patience})
        assert expected.decide(None, None, end - 1).outcome is Outcome.WAIT
        decision = expected.decide(None, None, end)
        assert decision.outcome is Outcome.TIMED_OUT
        assert ("does not wait any longer" in decision.message) == (end == 1500)

    @pytest.mark.parametrize("now", [1000, 2000, 9999])
    def test_a_delivery_counts_whenever_it_is_seen(self, now):
        decision = EXPECTED.decide(Delivery(result={}), None, now)
        assert (decision.outcome, decision.result) == (Outcome.DELIVERED, {})
        assert EXPECTED.decide(Delivery(message="no"), None, now).outcome is Outcome.FAILED

    def test_silence_is_measured_from_the_last_sign_of_life(self):
        expected = ExpectedResult(**{**_fields(EXPECTED), "heartbeat_timeout": 100})
        assert expected.decide(None, None, 1099).look_again_by == 1100
        assert expected.decide(None, None, 1100).outcome is Outcome.SILENT
        assert expected.decide(None, 900, 1100).outcome is Outcome.SILENT  # came before the wait began
        assert expected.decide(None, 1050, 1149).look_again_by == 1150
        assert expected.decide(None, 1050, 1150).outcome is Outcome.SILENT
        assert expected.decide(None, 1950, 1999).look_again_by == 2000
        assert expected.decide(None, 1999, 2000).outcome is Outcome.TIMED_OUT


def _fields(expected: ExpectedResult) -> dict:
    from dataclasses import asdict

    return asdict(expected)
