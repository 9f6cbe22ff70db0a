"""An OAuth application of the sandbox portal, and a DAG folder."""

import logging
import sys
from pathlib import Path

import pytest

from airflow_provider_b24.hooks.bitrix24 import Bitrix24Hook
from airflow_provider_b24.robots.definition import definition_of
from airflow_provider_b24.sandbox import CallRobot, SetField

ROBOT = """
from airflow_provider_b24.robots import Property, robot_dag

@robot_dag(**{arguments!r}, dag_id={dag_id!r}, properties={properties})
def robot():
    pass

robot()
"""


@pytest.fixture
def application_connection(application_connection, monkeypatch):
    """The same connection, in an Airflow that knows where it can be reached."""
    monkeypatch.setenv("AIRFLOW__BITRIX24__RECEIVER_URL", "https://airflow.example.com/bitrix24")
    return application_connection


@pytest.fixture
def hook(application_connection):
    with Bitrix24Hook(application_connection) as hook:
        yield hook


class Folder:
    """A DAG folder that robots can be put into."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def declare(self, code, *, file=None, properties="{}", dag_id=None, **arguments):
        """Write the DAG file of a robot, instead of what it held before."""
        text = ROBOT.format(
            arguments={"code": code, "name": f"Robot {code}", **arguments},
            dag_id=dag_id or f"dag_{code}",
            properties=properties,
        )
        self.write(file or f"{code}.py", text)

    def write(self, name, text):
        (self.path / name).write_text(text)

    def remove(self, code):
        (self.path / f"{code}.py").unlink()


@pytest.fixture
def folder(tmp_path, monkeypatch):
    # Python would take the bytecode of a file that has changed within a second and kept its size.
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    (tmp_path / "dags").mkdir()
    return Folder(tmp_path / "dags")


@pytest.fixture
def waiting_call(portal):
    """Let a process call a robot that is declared with some DAG; returns the process and the form it posted."""

    def call(dag, *, handler="http://127.0.0.1:9/nobody", then=(), **properties):
        definition = definition_of(dag)
        portal.robot_registry.add("robot", portal.application.client_id, definition.to_registration(handler))
        process = portal.start_process(
            [
                CallRobot(definition.code, properties=properties, name="A1"),
                SetField("SCORE", "{=A1:score}"),
                *then,
            ]
        )
        return process, portal.wait_for_call().fields

    return call


@pytest.fixture
def logged(capfd, caplog):
    """Everything that has been logged, whichever way Airflow's logging was set up."""
    caplog.set_level(logging.DEBUG)

    def text():
        printed = capfd.readouterr()
        return printed.out + printed.err + caplog.text

    return text
