"""Codes that belong to one person's machine."""

import pytest

from airflow_provider_b24.robots.definition import RobotDefinition, RobotDefinitionError
from airflow_provider_b24.robots.dev_prefix import DevPrefix, is_dev_code


def test_a_robot_gets_the_prefix_and_loses_it_again():
    prefix = DevPrefix("ann")
    robot = prefix.applied(RobotDefinition(code="score_lead", name="Score the lead"))
    assert (robot.code, robot.name) == ("dev.ann.score_lead", "Score the lead (ann)")
    assert prefix.owns(robot.code)
    assert is_dev_code(robot.code)
    assert prefix.stripped(robot.code) == "score_lead"


@pytest.mark.parametrize("code", ["score_lead", "dev.anna.score_lead", "dev.bob.score_lead"])
def test_a_code_of_something_else_is_left_as_it_is(code):
    assert not DevPrefix("ann").owns(code)
    assert DevPrefix("ann").stripped(code) == code


@pytest.mark.parametrize("word", ["", "a.b", "a b", "ä", "a" * 41, "../x"])
def test_a_prefix_is_a_word(word):
    with pytest.raises(ValueError, match="A prefix has 1 to 40"):
        DevPrefix(word)


def test_a_code_that_becomes_too_long_is_refused():
    with pytest.raises(RobotDefinitionError, match="longer than 255"):
        DevPrefix("ann").applied(RobotDefinition(code="x" * 250, name="X"))


def test_no_dag_may_declare_such_a_code():
    with pytest.raises(ValueError, match="those of `airflow-b24 dev`"):
        RobotDefinition(code="dev.ann.score", name="Score").validate()
