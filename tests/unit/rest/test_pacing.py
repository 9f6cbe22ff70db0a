"""The portal's limits as one process sees them."""

import math
import os
import threading
import time
from itertools import cycle, pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_b24.rest.bucket import MARGIN, TARIFFS, Slot
from airflow_provider_b24.rest.pacing import Pacer, pacer_for, share_pacer


class PortalBucket:
    """The portal's side as its documentation tells it: the level falls by the whole rate once per second."""

    def __init__(self, threshold: int, rate: int, phase: float) -> None:
        self.threshold, self.rate, self.phase = threshold, rate, phase
        self.level, self.ticks = 0, 0

    def pour(self, now: float) -> bool:
        ticks = math.floor(now + self.phase)
        self.level = max(0, self.level - (ticks - self.ticks) * self.rate)
        self.ticks = ticks
        if self.level >= self.threshold:
            return False
        self.level += 1
        return True


@pytest.fixture
def pacer(hand_clock):
    return Pacer(TARIFFS["standard"], clock=hand_clock)


def send(pacer, clock):
    slot = pacer.reserve()
    clock.now += slot.wait
    return clock.now


@pytest.mark.parametrize(("tariff", "threshold", "leak"), [("standard", 50, 2), ("enterprise", 250, 5)])
def test_a_burst_as_long_as_there_is_room_then_what_leaks_each_second(hand_clock, tariff, threshold, leak):
    pacer = Pacer(TARIFFS[tariff], clock=hand_clock)
    started = hand_clock.now

    times = [send(pacer, hand_clock) - started for _ in range(threshold + 4 * leak)]

    assert times[: threshold - leak] == [0.0] * (threshold - leak)
    seconds = [MARGIN + second for second in range(5) for _ in range(leak)]
    assert times[threshold - leak :] == pytest.approx(seconds)


@given(
    phase=st.floats(0, 0.999),
    pauses=st.lists(st.floats(0, 30), max_size=8),
    delays=st.lists(st.floats(0, 0.24), min_size=1, max_size=30),
)
def test_a_portal_that_leaks_once_per_second_never_refuses(phase, pauses, delays):
    class Clock:
        now = 0.0

        def __call__(self):
            return self.now

    clock = Clock()
    pacer, portal = Pacer(TARIFFS["standard"], clock=clock), PortalBucket(50, 2, phase)
    sent = []
    for pause in [*pauses, 0.0]:
        clock.now += pause
        sent += [send(pacer, clock) for _ in range(60)]
    # A portal gets each request a moment after it was allowed, one sooner than another.
    arrivals = sorted(when + delay for when, delay in zip(sent, cycle(delays), strict=False))
    assert all(portal.pour(when) for when in arrivals)


def test_nearly_all_of_the_limit_is_used(hand_clock):
    pacer = Pacer(TARIFFS["standard"], clock=hand_clock)
    started = hand_clock.now

    for _ in range(200):
        send(pacer, hand_clock)

    assert (200 - 50) / 2 / (hand_clock.now - started) >= 0.99


def test_a_wait_that_is_too_long_reserves_nothing(pacer):
    for _ in range(48):
        assert pacer.reserve().wait == 0

    assert pacer.reserve(longest_wait=0.2) == pytest.approx(0.25)
    assert pacer.reserve(longest_wait=0.3).wait == pytest.approx(0.25)


def test_a_slot_can_be_given_back(pacer):
    for _ in range(48):
        pacer.reserve()
    slot = pacer.reserve()
    pacer.release(slot)

    assert pacer.reserve().wait == slot.wait


def test_a_refusal_corrects_the_model_and_voids_the_slots_that_wait(pacer, hand_clock):
    slots = [pacer.reserve() for _ in range(5)]
    pacer.overflow()

    assert not any(pacer.is_current(slot) for slot in slots)
    assert pacer.waiting_time() == pytest.approx(1.25)
    fresh = [pacer.reserve(), pacer.reserve()]
    pacer.release(slots[0])
    assert all(pacer.is_current(slot) for slot in fresh)
    assert pacer.waiting_time() == pytest.approx(2.25), "a void slot must not make room"


def test_a_refusal_by_chance_costs_a_moment_and_refusals_in_a_row_cost_a_share(pacer, hand_clock):
    def rate():
        before = hand_clock.now
        for _ in range(20):
            send(pacer, hand_clock)
        return 20 / (hand_clock.now - before)

    pacer.overflow(pacer.reserve())
    assert rate() == pytest.approx(2.0, rel=0.05)
    pacer.overflow(pacer.reserve())
    assert rate() < 1.5
    hand_clock.now += 60
    send(pacer, hand_clock)
    pacer.overflow(pacer.reserve())
    assert rate() == pytest.approx(2.0, rel=0.05)


def test_refusals_of_what_was_under_way_together_are_one_refusal(pacer):
    slots = [pacer.reserve() for _ in range(4)]
    pacer.overflow(slots[0])
    after = pacer.waiting_time()
    for slot in slots[1:]:
        pacer.overflow(slot)

    assert pacer.waiting_time() == after


def test_those_who_were_refused_together_come_back_one_by_one(hand_clock):
    returns = []
    for number in range(10):
        pacer = Pacer(TARIFFS["standard"], clock=hand_clock)
        for _ in range(4):
            pacer.overflow(pacer.reserve(), chance=number / 10)
        returns.append(pacer.waiting_time())

    gaps = [later - earlier for earlier, later in pairwise(returns)]
    assert min(gaps) > 1


def test_threads_share_the_bucket():
    pacer = Pacer(TARIFFS["standard"], clock=lambda: 0.0)
    slots: list[Slot] = []
    threads = [
        threading.Thread(target=lambda: slots.extend(pacer.reserve() for _ in range(25))) for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sorted(slot.wait for slot in slots) == pytest.approx(
        [0.0] * 48 + [MARGIN + index // 2 for index in range(52)]
    )


def test_one_pacer_per_portal(hand_clock):
    first = pacer_for("one.bitrix24.com", clock=hand_clock)

    assert pacer_for("ONE.bitrix24.com", clock=hand_clock) is first
    assert pacer_for("two.bitrix24.com", clock=hand_clock) is not first
    share_pacer(first, "moved.bitrix24.com", hand_clock)
    assert pacer_for("moved.bitrix24.com", clock=hand_clock) is first


def test_a_portal_whose_plan_has_changed_gets_its_new_limits(hand_clock):
    pacer = pacer_for("plan.bitrix24.com", clock=hand_clock)
    for _ in range(50):
        pacer.reserve()
    assert pacer.waiting_time() > 0

    assert pacer_for("plan.bitrix24.com", "enterprise", clock=hand_clock) is pacer
    assert sum(pacer.reserve().wait == 0 for _ in range(300)) == 245 - 50


def test_an_unknown_tariff_is_an_error():
    with pytest.raises(ValueError, match="enterprise, standard"):
        pacer_for("one.bitrix24.com", "gold")


def test_a_fork_while_a_lock_is_held_leaves_the_child_usable():
    pacer = pacer_for("fork.bitrix24.com")
    with pacer._lock:
        child = os.fork()
        if not child:
            pacer_for("fork.bitrix24.com").reserve()
            os._exit(0)
    deadline = time.monotonic() + 10
    done = (0, 0)
    while done[0] != child and time.monotonic() < deadline:
        done = os.waitpid(child, os.WNOHANG)
        time.sleep(0.01)
    if done[0] != child:
        os.kill(child, 9)
        os.waitpid(child, 0)
    assert done == (child, 0)


def test_a_method_that_was_never_called_is_open(pacer):
    assert pacer.closed("app", "crm.item.list") is None


def test_a_method_over_its_operating_time_is_closed_until_its_reset(pacer, hand_clock):
    portal_now = 5_000_000.0
    pacer.note_operating("app", "crm.item.list", 480.5, portal_now + 90, portal_now)

    closed = pacer.closed("app", "CRM.item.list")
    assert closed == (91.0, portal_now + 90)
    assert pacer.closed("app", "crm.deal.list") is None
    assert pacer.closed("other app", "crm.item.list") is None
    hand_clock.now += 91
    assert pacer.closed("app", "crm.item.list") is None


def test_a_portal_without_the_limit_is_believed_only_when_it_refuses(hand_clock):
    pacer = Pacer(TARIFFS["standard"], operating_limit=None, clock=hand_clock)
    pacer.note_operating("app", "m", 9999, 1500.0, 1000.0)
    assert pacer.closed("app", "m") is None

    pacer.close("app", "m")
    assert pacer.closed("app", "m") == (501.0, 1500.0)


@pytest.mark.parametrize("reset_at", [1_794_185_743_157.0, float("inf"), 1e300])
def test_no_reset_is_waited_for_longer_than_a_basket_is_kept(pacer, reset_at):
    pacer.note_operating("app", "m", 500, reset_at, 1_794_185_743.0)

    assert pacer.closed("app", "m") == (601.0, reset_at)


def test_a_refusal_without_a_known_reset_waits_for_a_basket(pacer, hand_clock):
    pacer.close("app", "m")

    assert pacer.closed("app", "m") == (60.0, None)


def test_a_second_refusal_waits_for_the_next_basket(pacer, hand_clock):
    pacer.note_operating("app", "m", 100, 1010.0, 1000.0)
    hand_clock.now += 11
    pacer.close("app", "m")

    assert pacer.closed("app", "m") == (60.0, 1070.0)


def test_a_good_reply_opens_the_method(pacer):
    pacer.close("app", "m")
    pacer.note_operating("app", "m", 10, 1600.0, 1000.0)

    assert pacer.closed("app", "m") is None
