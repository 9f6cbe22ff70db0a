"""A Bitrix24 portal for one machine: what tests, benchmarks and newcomers talk to instead of a real one.

It imports nothing of the rest of the package, so that a misunderstanding there cannot hide in its own mirror.
"""

from __future__ import annotations

from airflow_provider_b24.sandbox.callers import Application, TokenPair, User, Webhook
from airflow_provider_b24.sandbox.clock import Clock
from airflow_provider_b24.sandbox.core import Automation, Template
from airflow_provider_b24.sandbox.faults import (
    AnswerHtml,
    AnswerStatus,
    Delay,
    DropConnection,
    Faults,
    TruncateJson,
)
from airflow_provider_b24.sandbox.journal import Request
from airflow_provider_b24.sandbox.portal import SandboxPortal
from airflow_provider_b24.sandbox.processes import AcceptedAnswer, LogEntry, Process
from airflow_provider_b24.sandbox.queue_server import Call
from airflow_provider_b24.sandbox.robots import Robot
from airflow_provider_b24.sandbox.steps import Answer, AskPerson, CallActivity, CallRobot, Finish, SetField
from airflow_provider_b24.sandbox.tasks import Task

__all__ = [
    "AcceptedAnswer",
    "Answer",
    "AnswerHtml",
    "AnswerStatus",
    "Application",
    "AskPerson",
    "Automation",
    "Call",
    "CallActivity",
    "CallRobot",
    "Clock",
    "Delay",
    "DropConnection",
    "Faults",
    "Finish",
    "LogEntry",
    "Process",
    "Request",
    "Robot",
    "SandboxPortal",
    "SetField",
    "Task",
    "Template",
    "TokenPair",
    "TruncateJson",
    "User",
    "Webhook",
]
