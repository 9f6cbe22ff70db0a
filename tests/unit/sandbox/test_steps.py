"""Steps of a process and how they are written."""

from __future__ import annotations

from typing import Any

import pytest

from airflow_provider_b24.sandbox.steps import (
    Answer,
    AskPerson,
    CallActivity,
    CallRobot,
    Finish,
    SetField,
    resolve,
    steps_from_json,
)

_VALUES = {("A1", "score"): 0.5, ("A1", "tags"): ["x", "y"], ("Document", "TITLE"): "Lead"}


def _lookup(source: str, name: str) -> Any:
    return _VALUES.get((source, name))


@pytest.mark.parametrize(
    ("value", "resolved"),
    [
        (Answer("A1", "score"), 0.5),
        ("{=A1:score}", 0.5),
        ("{=A1:tags}", ["x", "y"]),
        ("{=Document:TITLE}: {=A1:score} ({=A1:tags})", "Lead: 0.5 (x, y)"),
        ("{=A1:nothing}", None),
        ("<{=A1:nothing}>", "<>"),
        (["{=A1:score}", {"k": Answer("A1", "score")}], [0.5, {"k": 0.5}]),
        ("plain {text}", "plain {text}"),
        (7, 7),
    ],
)
def test_a_reference_stands_for_an_earlier_answer(value: Any, resolved: Any) -> None:
    assert resolve(value, _lookup) == resolved


def test_steps_can_be_written_in_json() -> None:
    steps = steps_from_json(
        [
            {
                "type": "call_robot",
                "code": "score",
                "properties": {"m": 1},
                "timeout_duration": 60,
                "name": "S",
            },
            {"type": "call_activity", "code": "check"},
            {"type": "set_field", "field": "F", "value": "{=S:score}"},
            {"type": "ask_person", "user_id": 2, "title": "Well?"},
            {"type": "finish"},
        ]
    )
    assert steps == [
        CallRobot("score", {"m": 1}, timeout_duration=60, name="S"),
        CallActivity("check"),
        SetField("F", "{=S:score}"),
        AskPerson(2, "Well?"),
        Finish(),
    ]


@pytest.mark.parametrize(
    ("items", "complaint"),
    [
        (None, "at least one step"),
        ([], "at least one step"),
        ([{"type": "fly"}], "step 1 must be"),
        (["finish"], "step 1 must be"),
        ([{"type": "finish"}, {"type": "call_robot"}], r"step 2 \(call_robot\): code is missing"),
        ([{"type": "call_robot", "code": "r", "properties": []}], "step 1 .*properties of r"),
        ([{"type": "call_robot", "code": "r", "timeout_duration": -1}], "step 1 .*whole number of seconds"),
        ([{"type": "call_robot", "code": "r", "timeout_duration": "1"}], "step 1 .*whole number of seconds"),
        ([{"type": "ask_person", "user_id": 1, "activity": "Fly"}], "step 1 .*ApproveActivity"),
        ([{"type": "finish", "speed": 1}], r"step 1 \(finish\): no field speed"),
    ],
)
def test_a_step_that_cannot_be_read_is_named(items: Any, complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        steps_from_json(items)
