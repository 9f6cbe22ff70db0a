"""A distributed Airflow loses no call and answers every process once, whatever is killed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.cluster.__main__ import describe
from tests.cluster.run import Plan, Report, run

if TYPE_CHECKING:
    from tests.cluster.variants import Variant

SMALL = Plan(processes=40, minutes=2, seed=8, pause=8, crashes=1, patience=15)


@pytest.fixture(scope="module")
def under_fire() -> Report:
    report = run(SMALL)
    print(describe(report))
    return report


def test_parts_were_killed_and_the_database_crashed(under_fire: Report) -> None:
    assert sum(under_fire.kills.values()) >= 8
    assert under_fire.kills["postgresql"] == 1


def test_no_call_is_lost(under_fire: Report) -> None:
    assert not under_fire.books.lost


def test_nothing_is_stuck(under_fire: Report) -> None:
    assert not under_fire.books.stuck


def test_no_process_got_what_was_meant_for_another_or_was_told_two_things(under_fire: Report) -> None:
    assert not under_fire.books.wrong
    assert not under_fire.books.contradictory


def test_the_table_of_calls_says_what_happened_at_the_portal(under_fire: Report) -> None:
    assert not under_fire.books.untrue


def test_lost_workers_cost_no_process_its_answer(under_fire: Report) -> None:
    assert not under_fire.books.degraded


@pytest.mark.parametrize("variant", ["teams", "remote-xcoms", "slow-secrets"])
def test_another_deployment_answers_every_process_too(variant: Variant) -> None:
    report = run(Plan(processes=24, minutes=0.5, pause=0, number=1, variant=variant))
    print(describe(report))

    assert not report.books.complaints
    # On a busy machine a server may say `202` later than the balancer waits; its call is answered all the same.
    assert not report.books.degraded
