"""The task that answers: :class:`RobotReplyOperator`."""

from __future__ import annotations

import datetime as dt
import json
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import AirflowFailException

from airflow_provider_b24.exceptions import Bitrix24Error, EventTokenError
from airflow_provider_b24.operators._values import parse_return_values
from airflow_provider_b24.operators.bizproc import BizprocEventSendOperator
from airflow_provider_b24.robots.answers import AnswerNotes
from airflow_provider_b24.robots.call import RobotCall
from airflow_provider_b24.robots.definition import FAILURE_REPLY_TASK_ID, REPLY_TASK_ID, RobotDefinition

if TYPE_CHECKING:
    from airflow.sdk import Context


_EVENT_TOKEN_TEMPLATE = "{{ (dag_run.conf or {}).get('event_token', '') }}"  # noqa: S105 - empty without a call

PERSISTENTLY: Mapping[str, Any] = {
    "retries": 100,
    "retry_delay": dt.timedelta(seconds=30),
    "retry_exponential_backoff": True,
    "max_retry_delay": dt.timedelta(minutes=15),
}
"""How the tasks that answer are repeated: for about a day, which a portal may be down. Refusals end them at once."""

_TRIES_TO_RENDER = 5
SECONDS_TO_SETTLE = 3.0
"""How long to wait for another answerer whose answer is on its way."""


class RobotReplyOperator(BizprocEventSendOperator):
    """Answer the process with what the DAG returns, checked against the robot's return properties.

    The serialized task carries the robot's definition as its ``doc_json``, where the receiver finds it: template
    fields are cut off at ``[core] max_templated_field_length``, documentation is not.

    An answer that the portal cannot take at the moment is tried again for about a day. When it has been delivered, the
    task ``reply_on_failure`` is skipped without having been started.

    :param robot: the definition of the robot.
    :param return_values: key of a return property to value. (templated)
    """

    def __init__(self, *, robot: RobotDefinition, return_values: Any = None, **kwargs: Any) -> None:
        super().__init__(
            task_id=REPLY_TASK_ID,
            event_token=_EVENT_TOKEN_TEMPLATE,
            return_values=return_values,
            bitrix24_conn_id=robot.bitrix24_conn_id,
            doc_json=json.dumps(robot.to_json()),
            **PERSISTENTLY,
            **kwargs,
        )
        self._robot = robot

    def render_template_fields(self, context: Context, jinja_env: Any = None) -> None:
        """Read the results that the answer consists of.

        :raises AirflowFailException: when that has failed too often to be a passing fault.
        """
        try:
            super().render_template_fields(context, jinja_env)
        except Exception as error:
            if context["ti"].try_number < _TRIES_TO_RENDER:
                raise
            raise AirflowFailException(
                f"Nothing was sent. The answer cannot be put together: {type(error).__name__}: {error}"
            ) from error

    def execute(self, context: Context) -> bool:
        """Answer, if somebody waits.

        :return: whether an answer was sent.
        :raises AirflowFailException: when the values do not fit the return properties, and nothing is sent; or when
            the process got another answer before.
        """
        call = RobotCall.from_context(context)
        values = self.values_to_send()
        if call.started_by_hand:
            self.log.info("This run was started by hand: no process waits. The answer would be: %s", values)
            return False
        if not (call.use_subscription and self._robot.use_subscription):
            self.log.info("The process does not wait for an answer. It would be: %s", values)
            if self._robot.use_subscription:
                notes_of(context).write(REPLY_TASK_ID, "not wanted")
            return False
        attempts = notes_of(context).begin(REPLY_TASK_ID)
        super().execute(context)
        notes_of(context).write(REPLY_TASK_ID, "delivered", attempts=attempts)
        return True

    def execute_complete(self, context: Context, event: Mapping[str, Any]) -> bool:
        """Finish after the triggerer has sent the answer, or could not."""
        super().execute_complete(context, event)
        notes_of(context).write(REPLY_TASK_ID, "delivered", attempts=self._attempts(context))
        return True

    def post_execute(self, context: Any, result: Any = None) -> None:
        """Skip the failure answer: nothing is left to be answered.

        The scheduler would otherwise start a worker only to find that out.
        """
        if self._robot.use_subscription:
            from airflow.providers.common.compat.sdk import DownstreamTasksSkipped

            raise DownstreamTasksSkipped(tasks=[FAILURE_REPLY_TASK_ID])

    def values_to_send(self) -> dict[str, Any]:
        """Read the rendered ``return_values`` and check them.

        :raises AirflowFailException: when they do not fit; nothing has been sent.
        """
        try:
            return self._robot.answer(parse_return_values(self.return_values))
        except ValueError as error:
            raise AirflowFailException(f"Nothing was sent. {error}") from None

    def _attempts(self, context: Context) -> int:
        begun = notes_of(context).read(REPLY_TASK_ID)
        return begun.attempts if begun else 1

    def _not_accepted(self, error: Bitrix24Error, context: Context, *, repeated: bool = False) -> bool:
        if not isinstance(error, EventTokenError):
            if not (repeated or error.ambiguous):
                notes_of(context).take_back(REPLY_TASK_ID)
            return super()._not_accepted(error, context, repeated=repeated)
        notes = notes_of(context)
        if other := notes.answered(REPLY_TASK_ID, lambda: time.sleep(SECONDS_TO_SETTLE)):
            notes.write(REPLY_TASK_ID, "refused")
            raise AirflowFailException(f"Too late, nothing was sent: the process has been answered {other}.")
        if repeated or self._attempts(context) > 1:
            self.log.warning(
                "The portal refused the event token, and this is not the first attempt of this task to answer: "
                "an earlier one counts as delivered."
            )
            return True
        notes.write(REPLY_TASK_ID, "refused")
        deadline = RobotCall.from_context(context).deadline
        if deadline is not None and deadline.timestamp() < time.time():
            raise AirflowFailException(f"Too late: the process has stopped waiting at {deadline}. {error}")
        raise AirflowFailException(
            f"The portal does not take the answer: the process has been answered from elsewhere, or has ended. {error}"
        )


def notes_of(context: Context) -> AnswerNotes:
    """Give the notes of the current DAG run."""
    ti = context["ti"]
    return AnswerNotes(ti.dag_id, ti.run_id)


def refuse_unfit_call(context: Mapping[str, Any]) -> None:
    """Keep a task from working on a call that does not fit its robot; runs before each task of a robot.

    :raises AirflowFailException: naming the properties and what is wrong with their values.
    """
    if unfit := (context["dag_run"].conf or {}).get("unfit"):
        reasons = "; ".join(f"{key}: {reason}" for key, reason in unfit.items())
        raise AirflowFailException(
            f"The call does not fit the robot's properties, nothing was done. {reasons}"
        )
