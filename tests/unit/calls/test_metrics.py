"""What Airflow's metrics are told about calls: every name and tag of the documentation."""

from __future__ import annotations

import datetime as dt
import re
from pathlib import Path

from airflow_provider_b24.calls import metrics

DOCUMENTATION = Path(__file__).parents[3] / "docs" / "reference" / "metrics.md"
ROW = re.compile(r"^\| `(bitrix24\.robot_calls\.\w+)` \| (\w+) \| (.*) \|$", re.MULTILINE)
TAG = re.compile(r"(?:tags?|and|,) `(\w+)`")


def test_every_documented_metric_is_reported_with_its_tags(told):
    metrics.count_spooled()
    metrics.count_started("score_dag", dt.timedelta(seconds=2))
    metrics.count_held()
    metrics.count_settled("score_dag", "answered")
    metrics.count_repeated()
    metrics.show_open(7)
    metrics.show_waiting(3)

    assert {(name, kind, frozenset(tags)) for kind, name, _, tags in told} == {
        (name, kind, frozenset(TAG.findall(meaning)))
        for name, kind, meaning in ROW.findall(DOCUMENTATION.read_text())
    }
    assert ("timer", "bitrix24.robot_calls.start_delay", 2.0, {"dag_id": "score_dag"}) in told
    assert ("gauge", "bitrix24.robot_calls.open", 7, {}) in told
