"""The deadline of a call: answered from the triggerer before the process loses its patience, or after a time-out.

Airflow's scheduler looks at the deadlines of all runs, whatever becomes of their tasks, and keeps in its database
that one has passed: the answer survives the death of every process. Airflow offers it to plugins since 3.2; without
it there is no answer before the end of the run, and only the DAG's failure callback answers after a
``dagrun_timeout``.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import logging
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from airflow_provider_b24.exceptions import Bitrix24Error, EventTokenError
from airflow_provider_b24.robots.answers import AnswerNotes
from airflow_provider_b24.robots.call import MalformedCallError, RobotCall, is_robot_call

if TYPE_CHECKING:
    from airflow.sdk.definitions.deadline import BaseDeadlineReference, DeadlineAlert
    from sqlalchemy.orm import Session

    from airflow_provider_b24.robots.definition import RobotDefinition
else:
    try:
        from airflow.sdk.definitions.deadline import BaseDeadlineReference
    except ImportError:
        BaseDeadlineReference = object

log = logging.getLogger(__name__)

_T = TypeVar("_T")

_LONGEST_PAUSE_BETWEEN_LOOKS = 10.0
_LOOKS_IN_VAIN = 360
"""How many looks in a row may fail, about an hour of them."""
_FIRST_PAUSE = 2.0
_LONGEST_PAUSE_BETWEEN_TRIES = 60.0
_SECONDS_TO_SEND = 24 * 3600.0


def is_supported() -> bool:
    """Tell whether this Airflow takes the deadline references of plugins."""
    from airflow.plugins_manager import AirflowPlugin

    return BaseDeadlineReference is not object and hasattr(AirflowPlugin, "deadline_references")


class CallDeadline(BaseDeadlineReference):
    """When somebody should look whether a call has been answered.

    That is shortly before the process loses its patience, or when the run may have timed out, whichever is earlier.

    :param dagrun_timeout: seconds that a run of the DAG may take, ``None`` for no limit.
    """

    required_kwargs = frozenset({"dag_id", "run_id"})

    def __init__(self, dagrun_timeout: float | None = None) -> None:
        self.dagrun_timeout = dagrun_timeout

    def serialize_reference(self) -> dict[str, Any]:
        """Write down what :meth:`deserialize_reference` reads."""
        return {"reference_type": self.reference_name, "dagrun_timeout": self.dagrun_timeout}

    @classmethod
    def deserialize_reference(cls, reference_data: Mapping[str, Any]) -> CallDeadline:
        """Read it again."""
        return cls(reference_data.get("dagrun_timeout"))

    def _evaluate_with(self, *, session: Session, dag_id: str, run_id: str) -> dt.datetime | None:
        """Find the time for a new run; ``None`` when nobody waits, or waits for ever."""
        try:
            from airflow.models.dagrun import DagRun
            from sqlalchemy import select

            conf = session.scalar(select(DagRun.conf).where(DagRun.dag_id == dag_id, DagRun.run_id == run_id))
            moment = look_at(conf, self.dagrun_timeout)
            return None if moment is None else dt.datetime.fromtimestamp(moment, dt.UTC)
        except Exception as error:  # a call without a deadline is better than a call that is lost
            log.warning("Run %s of %s gets no deadline: %s", run_id, dag_id, type(error).__name__)
            return None


def look_at(conf: Mapping[str, Any] | None, dagrun_timeout: float | None) -> float | None:
    """Tell when to look whether a new run's call has been answered.

    :param conf: the run's conf.
    :param dagrun_timeout: seconds that the run may take once it has started.
    :return: Unix time in seconds; ``None`` for never.
    """
    if not is_robot_call(conf) or (conf or {}).get("use_subscription") == "N":
        return None
    moments = [answer_by(conf), None if dagrun_timeout is None else time.time() + dagrun_timeout]
    return min((moment for moment in moments if moment is not None), default=None)


def answer_by(conf: Mapping[str, Any] | None) -> float | None:
    """Tell by when the process must be answered: a minute before its patience ends, or less if that is short.

    :return: Unix time in seconds; ``None`` when it waits without limit.
    """
    from airflow_provider_b24.sensors.result_reference import patience_ends_at

    end = patience_ends_at(conf)
    if end is None or conf is None:
        return None
    patience = float(conf["timeout_duration"])
    return end - min(60.0, max(20.0, patience / 10), patience / 2)


def deadline_of(definition: RobotDefinition, dagrun_timeout: dt.timedelta | None) -> DeadlineAlert:
    """Make the deadline of a robot's DAG."""
    from airflow.sdk.definitions.callback import AsyncCallback
    from airflow.sdk.definitions.deadline import DeadlineAlert

    return DeadlineAlert(
        reference=CallDeadline(dagrun_timeout.total_seconds() if dagrun_timeout else None),
        interval=dt.timedelta(0),
        callback=AsyncCallback(
            answer_unless_answered,
            kwargs={
                "bitrix24_conn_id": definition.bitrix24_conn_id,
                "return_values": definition.answer(definition.on_failure, complete=False),
            },
        ),
        name="Bitrix24 call",
    )


async def answer_unless_answered(
    *, bitrix24_conn_id: str, return_values: Mapping[str, Any], context: Mapping[str, Any]
) -> str:
    """Answer with the ``on_failure`` values when nobody else has, at the deadline or at the end of the run.

    Whatever goes wrong is logged here and not raised: Airflow would log the traceback with all that is in it.

    :param context: what Airflow knows of the run: ``dag_run``, with its conf.
    :return: what has come of it.
    """
    try:
        run = context["dag_run"]
        call = RobotCall.from_conf(run["conf"] or {})
        watch = _Watch(run["dag_id"], run["dag_run_id"], call, answer_by(run["conf"]))
        outcome = await watch.answer(bitrix24_conn_id, return_values)
    except MalformedCallError as error:
        outcome = f"The conf is that of no robot call: {error}"
    except Exception as error:
        outcome = f"The call could not be answered: {type(error).__name__}"
        log.error("Deadline of a robot call: %s", outcome)
    from airflow_provider_b24.triggers._events import portable

    return str(portable(outcome))  # it may quote the portal


class _Watch:
    """Waits until a call needs an answer from here, and gives it."""

    def __init__(self, dag_id: str, run_id: str, call: RobotCall, answer_by: float | None) -> None:
        self._dag_id = dag_id
        self._run_id = run_id
        self._call = call
        self._answer_by = answer_by
        self._notes = AnswerNotes(dag_id, run_id)
        self._looks_in_vain = 0

    async def answer(self, conn_id: str, return_values: Mapping[str, Any]) -> str:
        """Answer if nobody else does.

        :return: what has come of it.
        """
        pause = 1.0
        while (reason := await self._why_now()) is None:
            if self._looks_in_vain > _LOOKS_IN_VAIN:
                return "given up: the run cannot be found"
            if await self._answered():
                return "answered before"
            await asyncio.sleep(pause)
            pause = min(pause * 1.1, _LONGEST_PAUSE_BETWEEN_LOOKS)
        if await self._answered():
            return "answered before"
        outcome = await self._send(
            conn_id, return_values, f"Airflow DAG {self._dag_id}, run {self._run_id}: {reason}"
        )
        log.info("Deadline of the call of run %s of %s: %s", self._run_id, self._dag_id, outcome)
        return outcome

    async def _why_now(self) -> str | None:
        """Say why it is time to answer; ``None`` while it is not."""
        if self._answer_by is not None and time.time() >= self._answer_by:
            return "no answer yet, and the process does not wait much longer"
        from airflow.sdk.execution_time.task_runner import RuntimeTaskInstance

        try:
            state = await _in_thread(RuntimeTaskInstance.get_dagrun_state, self._dag_id, self._run_id)
        except Exception as error:  # the API may be away for a while, or the run deleted
            self._looks_in_vain += 1
            log.warning("The state of run %s is unknown: %s", self._run_id, type(error).__name__)
            return None
        self._looks_in_vain = 0
        return "ended without an answer" if state in ("success", "failed") else None

    async def _send(self, conn_id: str, return_values: Mapping[str, Any], log_message: str) -> str:
        from airflow_provider_b24.rest.client import answer_params
        from airflow_provider_b24.triggers._shared_portal import shared_portal

        params = answer_params(self._call.event_token, return_values, log_message)
        repeated = False
        give_up_at, pause = time.time() + _SECONDS_TO_SEND, _FIRST_PAUSE
        while True:
            attempts = await self._begin()
            repeated |= attempts > 1
            try:
                async with shared_portal(conn_id) as portal:
                    await portal.call("bizproc.event.send", params)
            except EventTokenError:
                if await self._answered():
                    return "answered before"
                return await self._end("delivered" if repeated else "refused", attempts)
            except Bitrix24Error as error:
                why, hopeless = str(error), not error.retryable
                repeated |= error.ambiguous
                if not error.ambiguous:
                    await self._take_back()
            except ValueError:
                raise
            except Exception as error:
                # Airflow's API cannot say at the moment which connection or tokens there are, for example.
                why, hopeless = type(error).__name__, False
                await self._take_back()
            else:
                return await self._end("delivered", attempts)
            log.warning("The call of run %s is not answered yet: %s", self._run_id, why)
            if hopeless or time.time() + pause > give_up_at:
                return f"not answered: {why}"
            await asyncio.sleep(pause)
            pause = min(pause * 2, _LONGEST_PAUSE_BETWEEN_TRIES)

    async def _answered(self) -> bool:
        try:
            return await _in_thread(self._notes.answered, "deadline") is not None
        except Exception as error:
            log.warning("It is unknown who has answered run %s: %s", self._run_id, type(error).__name__)
            return False

    async def _begin(self) -> int:
        try:
            return await _in_thread(self._notes.begin, "deadline")
        except Exception as error:  # a note is worth less than an answer
            log.warning("The answer of run %s cannot be noted: %s", self._run_id, type(error).__name__)
            return 1

    async def _take_back(self) -> None:
        try:
            await _in_thread(self._notes.take_back, "deadline")
        except Exception as error:
            log.warning(
                "What was noted about the answer of run %s is not right: %s",
                self._run_id,
                type(error).__name__,
            )

    async def _end(self, outcome: Literal["delivered", "refused"], attempts: int) -> str:
        try:
            await _in_thread(lambda: self._notes.write("deadline", outcome, attempts=attempts))
        except Exception as error:
            log.warning("The answer of run %s cannot be noted: %s", self._run_id, type(error).__name__)
        return outcome


async def _in_thread(function: Callable[..., _T], *arguments: Any) -> _T:
    from asgiref.sync import sync_to_async

    return await sync_to_async(function)(*arguments)
