"""Robots under a prefix of one's own, beside those of others, in one portal."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from airflow_provider_b24.dev import command
from airflow_provider_b24.dev import session as module
from airflow_provider_b24.dev.dag_files import AGAIN_SECONDS, DagFilesWatch
from airflow_provider_b24.dev.session import DevSession, PrefixTakenError
from airflow_provider_b24.hooks.bitrix24 import Bitrix24Hook
from airflow_provider_b24.robots.dags_folder import read_dags_folder
from airflow_provider_b24.robots.dev_prefix import DevPrefix
from airflow_provider_b24.robots.registry import RegistryError, apply, make_plan
from airflow_provider_b24.sandbox import AnswerStatus

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


@pytest.fixture
def session(hook):
    return lambda word="ann": DevSession(hook, DevPrefix(word))


@pytest.fixture
def on_machine(monkeypatch):
    """Be somebody else, on another machine."""
    return lambda name: monkeypatch.setattr(module, "_owner", lambda: name)


@pytest.fixture
def started(session, folder):
    def start(word="ann"):
        one = session(word)
        one.take()
        assert not [outcome.error for outcome in one.apply(str(folder.path)).outcomes if outcome.error]
        return one

    return start


def codes(portal):
    return sorted(robot.code for robot in portal.robots)


def test_they_have_the_prefix_in_code_name_and_address(portal, folder, started):
    folder.declare("score", name={"en": "Score", "de": "Bewerten"})
    started()
    (robot,) = portal.robots
    assert robot.code == "dev.ann.score"
    assert robot.fields["NAME"] == {"en": "Score (ann)", "de": "Bewerten (ann)"}
    assert robot.handler == "https://airflow.example.com/bitrix24/bitrix24_default/robots/dag_score/ann"


def test_each_removes_its_own_and_nothing_else(portal, hook, folder, started):
    folder.declare("score")
    apply(hook, make_plan(hook, read_dags_folder(folder.path)).steps)
    ann, bob = started("ann"), started("bob")
    assert codes(portal) == ["dev.ann.score", "dev.bob.score", "score"]
    ann.release()
    assert codes(portal) == ["dev.bob.score", "score"]
    bob.release()
    assert codes(portal) == ["score"]


def test_plan_and_apply_leave_them_alone(portal, hook, folder, started):
    folder.declare("score")
    started()
    plan = make_plan(hook, read_dags_folder(folder.path))
    assert [(step.action, step.code) for step in plan.steps] == [("add", "score")]


def test_a_changed_file_changes_and_a_removed_one_removes_its_robot(portal, folder, started):
    folder.declare("one")
    folder.declare("two")
    session = started()
    folder.declare("one", description="Changed since")
    folder.remove("two")
    session.apply(str(folder.path))
    (robot,) = portal.robots
    assert (robot.code, robot.fields["DESCRIPTION"]) == ("dev.ann.one", "Changed since")


def test_a_broken_file_removes_nothing(portal, folder, started):
    folder.declare("one")
    session = started()
    folder.write("one.py", "from airflow.sdk import dag, (")
    applied = session.apply(str(folder.path))
    assert (len(applied.plan.broken), codes(portal)) == (1, ["dev.ann.one"])


def test_the_next_session_of_the_same_machine_takes_over_what_is_left(portal, folder, started):
    folder.declare("one")
    first = started()
    folder.remove("one")
    folder.declare("two")
    second = started()
    assert codes(portal) == ["dev.ann.two"]
    assert first.release() == []
    assert codes(portal) == ["dev.ann.two"]
    second.release()
    assert codes(portal) == []


def test_a_session_that_another_has_replaced_registers_and_removes_nothing_more(portal, folder, started):
    folder.declare("one")
    first = started()
    folder.remove("one")
    folder.declare("two")
    second = started()
    folder.declare("three")
    with pytest.raises(
        PrefixTakenError, match=r"Another `airflow-b24 dev` has the prefix 'ann' at this portal"
    ):
        first.apply(str(folder.path))
    assert codes(portal) == ["dev.ann.two"]
    second.release()
    assert codes(portal) == []


def test_of_two_who_take_a_prefix_before_either_has_robots_one_is_told(
    portal, folder, session, started, on_machine
):
    folder.declare("one")
    on_machine("ann@laptop")
    ann = session()
    ann.take()
    on_machine("bob@desktop")
    started()
    on_machine("ann@laptop")
    with pytest.raises(PrefixTakenError, match="that of bob@desktop; this one registers no more"):
        ann.apply(str(folder.path))
    assert ann.release() == []
    assert codes(portal) == ["dev.ann.one"]


def test_who_takes_a_prefix_at_the_same_moment_as_another_is_told_at_once(session, monkeypatch, on_machine):
    note = DevSession._note

    def overtaken(ann, value):
        note(ann, value)
        monkeypatch.setattr(DevSession, "_note", note)
        on_machine("bob@desktop")
        session().take()

    on_machine("ann@laptop")
    monkeypatch.setattr(DevSession, "_note", overtaken)
    with pytest.raises(PrefixTakenError, match="that of bob@desktop"):
        session().take()


def test_a_prefix_of_somebody_else_is_refused(portal, folder, started, session, on_machine):
    folder.declare("one")
    on_machine("ann@laptop")
    started()
    on_machine("bob@desktop")
    for attempt in (session().take, session().clean):
        with pytest.raises(
            PrefixTakenError, match="taken at this portal by ann@laptop, and this is bob@desktop"
        ):
            attempt()
    assert codes(portal) == ["dev.ann.one"]


def test_a_webhook_is_refused_with_what_is_needed(webhook_connection, monkeypatch):
    monkeypatch.setenv("AIRFLOW__BITRIX24__RECEIVER_URL", "https://airflow.example.com/bitrix24")
    with (
        Bitrix24Hook(webhook_connection) as hook,
        pytest.raises(RegistryError, match="is an incoming webhook"),
    ):
        DevSession(hook, DevPrefix("ann")).take()


def test_a_prefix_without_robots_is_free(folder, started, on_machine):
    folder.declare("one")
    on_machine("ann@laptop")
    started().release()
    on_machine("bob@desktop")
    started()


def test_what_the_portal_does_not_remove_is_still_known_as_ones_own(portal, folder, started, session):
    folder.declare("one")
    first = started()
    portal.faults.add(AnswerStatus(403, "ACCESS_DENIED"), method="bizproc.robot.delete")
    assert [outcome.error is not None for outcome in first.release()] == [True]
    assert codes(portal) == ["dev.ann.one"]
    session().clean()
    assert codes(portal) == []


@pytest.fixture
def look(folder, monkeypatch):
    """Look after the DAG files as the command does each second; Airflow's database says nothing here."""
    now = [0.0]
    monkeypatch.setattr("airflow_provider_b24.robots.parsed_dags.robot_dags", lambda _: {})
    files = DagFilesWatch(str(folder.path), clock=lambda: now[0])

    def look(session):
        now[0] += AGAIN_SECONDS
        command._look(session, SimpleNamespace(news=list), files, str(folder.path))

    return look


@pytest.mark.usefixtures("impatient")
def test_a_change_that_the_portal_does_not_take_is_registered_when_it_does(
    portal, folder, started, look, capsys
):
    one = started()
    folder.declare("one")
    portal.faults.add(AnswerStatus(500, "INTERNAL_SERVER_ERROR"), times=None)
    look(one)
    assert "The robots were not registered again, which is tried again in a moment" in capsys.readouterr().err
    portal.faults.clear()
    look(one)
    assert codes(portal) == ["dev.ann.one"]
    assert "Added robot dev.ann.one" in capsys.readouterr().err
    asked = len(portal.requests)
    look(one)
    assert len(portal.requests) == asked


def test_a_folder_that_is_away_for_a_moment_ends_nothing(portal, folder, started, look, tmp_path):
    folder.declare("one")
    one = started()
    look(one)
    folder.path.rename(tmp_path / "away")
    look(one)
    (tmp_path / "away").rename(folder.path)
    look(one)
    assert codes(portal) == ["dev.ann.one"]


def test_files_that_contradict_each_other_are_told_once(folder, started, look, capsys):
    one = started()
    folder.declare("one")
    folder.declare("one", file="two.py", dag_id="another")
    for _ in range(3):
        look(one)
    assert (
        capsys.readouterr().err.count("The robots were not registered again: Two robots have the code") == 1
    )
