"""The task that answers: :class:`RobotReplyOperator`."""

from __future__ import annotations

import datetime as dt
import json
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NoReturn

from airflow.providers.common.compat.sdk import AirflowFailException, AirflowSkipException

from airflow_provider_b24.operators._answer_note import AnswerNotes
from airflow_provider_b24.operators._values import parse_return_values, shown
from airflow_provider_b24.operators.bizproc import BizprocEventSendOperator
from airflow_provider_b24.robots.answer_mark import NOBODY, AnswerMark
from airflow_provider_b24.robots.call import RobotCall
from airflow_provider_b24.robots.definition import REPLY_TASK_ID, RobotDefinition

if TYPE_CHECKING:
    from airflow.sdk import Context

    from airflow_provider_b24.exceptions import Bitrix24Error


_EVENT_TOKEN_TEMPLATE = "{{ (dag_run.conf or {}).get('event_token', '') }}"  # noqa: S105 - empty without a call
_PRIORITY = 1_000_000_000

_PERSISTENTLY: Mapping[str, Any] = {
    "retries": 1500,
    "retry_delay": dt.timedelta(seconds=10),
    "retry_exponential_backoff": True,
    "max_retry_delay": dt.timedelta(minutes=1),
}
"""How ``reply`` is repeated: for about a day, which a portal may be down, and soon after it is up again."""

_TRIES_TO_RENDER = 5


class RobotReplyOperator(BizprocEventSendOperator):
    """Answer the process with what the DAG returns, checked against the robot's return properties.

    The serialized task carries the robot's definition as its ``doc_json``, where the dispatcher finds it: template
    fields are cut off at ``[core] max_templated_field_length``, documentation is not.

    Only an event token that is no good, a process that has ended, and values that do not fit fail this task at once.
    What a person can fix (the portal, its tariff, permissions, credentials, the connection) is tried again for
    about a day. It answers until ``answer_by`` of the run's conf; from then on, and after the run, the dispatcher does.

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
            # A process waits for it, and it takes a second: before all work that has not begun.
            priority_weight=_PRIORITY,
            weight_rule="absolute",
            **_PERSISTENTLY,
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
        """Answer, if someone waits and nobody has answered.

        :return: whether an answer was sent.
        :raises AirflowFailException: when the values do not fit the return properties, and nothing is sent; or when
            it is too late.
        """
        call, values = RobotCall.from_context(context), self.values_to_send()
        if call.started_by_hand:
            self.log.info(
                "This run was started by hand: no process waits. The answer would be: %s", shown(values)
            )
            return False
        if not (call.use_subscription and self._robot.use_subscription):
            self.log.info("The process does not wait for an answer. It would be: %s", shown(values))
            AnswerNotes.of(context).write("unsent", dt.datetime.now(dt.UTC), values)
            return False
        if self.is_answered(context):
            return False
        left = self.seconds_left(context)
        if left is not None and left <= 0:
            raise AirflowFailException(
                f"Too late, nothing was sent: until {_utc(call.answer_by or 0)} this task could answer. From then on "
                "the dispatcher does, where the robot has on_failure values, or Bitrix24 goes on by itself."
            )
        return super().execute(context)

    def is_answered(self, context: Context) -> bool:
        """Tell whether the dispatcher says that this task has answered.

        :raises AirflowFailException: when someone else has, or nobody waits any more.
        :raises AirflowSkipException: when a person has.
        """
        mark = AnswerMark.from_conf(context["dag_run"].conf)
        if mark.answered_by == "reply":
            self.log.info("Nothing was sent: the process has been answered %s.", mark)
            return True
        if mark.answered_by is not None:
            self._too_late(mark)
        return False

    def seconds_left(self, context: Context) -> float | None:
        """Tell how long sending may take: until ``answer_by``."""
        answer_by = RobotCall.from_context(context).answer_by
        return None if answer_by is None else answer_by - time.time()

    def values_to_send(self) -> dict[str, Any]:
        """Read the rendered ``return_values`` and check them.

        :raises AirflowFailException: when they do not fit; nothing has been sent.
        """
        try:
            return self._robot.answer(parse_return_values(self.return_values))
        except ValueError as error:
            raise AirflowFailException(f"Nothing was sent. {error}") from None

    def earlier_try_may_have_sent(self, context: Context) -> bool:
        """Tell whether an earlier try may have delivered the answer: this Airflow knows, or the dispatcher does."""
        mark = AnswerMark.from_conf(context["dag_run"].conf)
        return mark.maybe_sent or super().earlier_try_may_have_sent(context)

    def give_up(self, error: Bitrix24Error) -> NoReturn:
        """Leave every error to the next try: a person may fix what trying again cannot.

        :raises Bitrix24Error: the error.
        """
        self.log.warning("Not answered yet, this task will be tried again. %s", error)
        raise error

    def _too_late(self, mark: AnswerMark) -> NoReturn:
        if mark.answered_by == NOBODY:
            raise AirflowFailException("Too late, nothing was sent: nobody waits for the answer any more.")
        text = f"Nothing was sent: the process has been answered {mark}."
        if str(mark.answered_by).startswith("hand:"):
            self.log.info(text)  # of a task that skips itself, Airflow does not log why
            raise AirflowSkipException(text)
        raise AirflowFailException(f"Too late. {text}")


def _utc(moment: float) -> str:
    return f"{dt.datetime.fromtimestamp(moment, dt.UTC):%Y-%m-%d %H:%M:%S} UTC"
