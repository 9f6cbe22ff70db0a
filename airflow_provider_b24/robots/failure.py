"""The failure answer: what a process gets when its DAG run ends without an answer.

The task ``reply_on_failure`` gives it, a teardown: Airflow runs it whatever became of the other tasks, also when
somebody marks the run or a task failed, repeats it when its worker dies, and does not let it decide about the run. Only
``dagrun_timeout`` ends teardowns, too. The DAG's failure callback is the last resort for that, and for a task that
could not be run.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from airflow_provider_b24.exceptions import Bitrix24Error, EventTokenError
from airflow_provider_b24.notifications.bizproc import BizprocEventSendNotifier
from airflow_provider_b24.operators.bizproc import BizprocEventSendOperator
from airflow_provider_b24.robots.answers import AnswerNote, AnswerNotes
from airflow_provider_b24.robots.call import RobotCall, is_robot_call
from airflow_provider_b24.robots.definition import FAILURE_REPLY_TASK_ID, REPLY_TASK_ID, RobotDefinition
from airflow_provider_b24.robots.reply import PERSISTENTLY, SECONDS_TO_SETTLE, notes_of

if TYPE_CHECKING:
    from airflow.sdk import Context

_GRACE = 10.0
"""Seconds that the callback leaves to the triggerer, which can note that it has answered."""


class RobotFailureReplyOperator(BizprocEventSendOperator):
    """Answer the process with the robot's ``on_failure`` values when ``reply`` has not answered.

    It says in the log of the process which tasks failed, and nothing that a task has said: exceptions may hold secrets.

    :param robot: the definition of the robot.
    """

    template_fields: Sequence[str] = ()

    def __init__(self, *, robot: RobotDefinition, **kwargs: Any) -> None:
        super().__init__(
            task_id=FAILURE_REPLY_TASK_ID,
            event_token="",
            return_values=robot.answer(robot.on_failure, complete=False),
            bitrix24_conn_id=robot.bitrix24_conn_id,
            deferrable=False,
            **PERSISTENTLY,
            **kwargs,
        )

    def execute(self, context: Context) -> bool:
        """Answer, if somebody waits and nobody has answered.

        :return: whether an answer was sent.
        """
        if not is_robot_call(context["dag_run"].conf):
            self.log.info("This run was started by hand: no process waits for an answer.")
            return False
        call = RobotCall.from_context(context)
        if not call.use_subscription:
            self.log.info("The process does not wait for an answer.")
            return False
        notes = notes_of(context)
        if other := notes.answered(FAILURE_REPLY_TASK_ID):
            self.log.info("The process has been answered %s.", other)
            return False
        ti = context["ti"]
        attempts = notes.begin(FAILURE_REPLY_TASK_ID)
        states = _task_states(context, ti.dag_id, ti.run_id)
        self.event_token = call.event_token
        self.log_message = failure_line(ti.dag_id, ti.run_id, states, call)
        if sent := super().execute(context):
            notes.write(FAILURE_REPLY_TASK_ID, "delivered", attempts=attempts)
        return sent

    def _not_accepted(self, error: Bitrix24Error, context: Context, *, repeated: bool = False) -> bool:
        if not isinstance(error, EventTokenError):
            if not (repeated or error.ambiguous):
                notes_of(context).take_back(FAILURE_REPLY_TASK_ID)
            return super()._not_accepted(error, context, repeated=repeated)
        notes = notes_of(context)
        if other := notes.answered(FAILURE_REPLY_TASK_ID, lambda: time.sleep(SECONDS_TO_SETTLE)):
            self.log.info("The process has been answered %s.", other)
            return False
        begun = notes.read(FAILURE_REPLY_TASK_ID)
        if begun is not None and begun.attempts > 1:
            self.log.warning("The portal refused the event token: an earlier attempt counts as delivered.")
            return True
        notes.write(FAILURE_REPLY_TASK_ID, "refused")
        self.log.warning(
            "Nobody waits for an answer: the process has been answered from elsewhere, or has ended."
        )
        return False


class RobotFailureNotifier(BizprocEventSendNotifier):
    """Answer the process of a failed run from the DAG's failure callback, when nobody else has.

    It runs in Airflow's DAG processor, which can read notes but not write any.
    """

    template_fields: Sequence[str] = ()  # rendering would fail for a run without a call

    def notify(self, context: Context) -> None:
        """Answer, if somebody waits.

        :raises Bitrix24Error: when the portal refused, or could not be reached in time.
        """
        dag_id, run_id = context["dag"].dag_id, context["run_id"]
        dag_run = context.get("dag_run")
        if dag_run is None:
            self.log.error(
                "The process of run %s cannot be answered: Airflow did not hand its conf to the callback.",
                run_id,
            )
            return
        if not is_robot_call(dag_run.conf):
            self.log.info("Run %s was started by hand: no process waits for an answer.", run_id)
            return
        call = RobotCall.from_conf(dag_run.conf or {})
        if not call.use_subscription:
            self.log.info("The process of run %s does not wait for an answer.", run_id)
            return
        timed_out = context.get("reason") == "timed_out"
        if answer := self._answer(AnswerNotes(dag_id, run_id), _GRACE if timed_out else 0.0):
            self.log.info("The process of run %s has been answered %s.", run_id, answer)
            return
        states = _task_states(context, dag_id, run_id)
        self.send(
            call.event_token,
            self._values(),
            failure_line(dag_id, run_id, states, call, timed_out=timed_out),
        )

    async def async_notify(self, context: Context) -> None:
        """Answer from the triggerer."""
        from asgiref.sync import sync_to_async

        await sync_to_async(self.notify, thread_sensitive=False)(context)  # it may wait for long

    def _answer(self, notes: AnswerNotes, patience: float) -> AnswerNote | None:
        """Find out who has answered; an answer that is on its way, or about to be, is waited for."""
        from airflow_provider_b24.robots.deadline import is_supported

        give_up_at = time.monotonic() + (patience if is_supported() else 0.0)
        try:
            while (answer := notes.answered()) is None:
                if time.monotonic() >= give_up_at:
                    return None
                time.sleep(1)
        except Exception as error:  # whatever it is, the process must not wait for ever because of it
            self.log.warning("It is unknown who has answered (%s).", type(error).__name__)
            return None
        return answer


def failure_line(
    dag_id: str, run_id: str, states: Mapping[str, Any], call: RobotCall, *, timed_out: bool = False
) -> str:
    """Say in one line for the process's log what has happened.

    :param states: task id to state, as far as known.
    """
    failed = sorted(
        task for task, state in states.items() if state == "failed" and task != FAILURE_REPLY_TASK_ID
    )
    ended = (
        not failed
        and not timed_out
        and not call.unfit
        and states.get(REPLY_TASK_ID) in ("skipped", "success")
    )
    words = [f"Airflow DAG {dag_id}, run {run_id}: {'ended without an answer' if ended else 'failed'}"]
    if timed_out:
        words.append("it took longer than its dagrun_timeout")
    if failed:
        words.append(f"failed tasks: {', '.join(failed)}")
    if call.unfit:
        words.append(f"values that do not fit: {', '.join(call.unfit)}")
    return "; ".join(words)


def _task_states(context: Context, dag_id: str, run_id: str) -> Mapping[str, Any]:
    ti = context.get("ti")
    if ti is None:
        return {}
    try:
        states = ti.get_task_states(dag_id=dag_id, run_ids=[run_id])
    except Exception:  # whatever it is, the process must not wait for ever because of it
        return {}
    return dict(states.get(run_id) or {})
