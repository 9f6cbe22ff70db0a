"""Tasks of a business process: answer it, write to its log, start one, stop one."""

from __future__ import annotations

import datetime as dt
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any, ClassVar

from airflow.providers.common.compat.sdk import AirflowFailException, AirflowSkipException, conf

from airflow_provider_b24._airflow.earlier_tries import TryMark
from airflow_provider_b24.exceptions import Bitrix24Error, EventTokenError
from airflow_provider_b24.hooks.connection import DEFAULT_CONN_ID
from airflow_provider_b24.operators._answer_note import MAYBE_SENT_KEY, AnswerNotes, check_time
from airflow_provider_b24.operators._base import Bitrix24BaseOperator
from airflow_provider_b24.operators._failing import fail_at_once_unless_retryable
from airflow_provider_b24.operators._values import (
    encode_return_values,
    parse_return_values,
    read_mapping,
    read_text,
    shown,
)
from airflow_provider_b24.operators.links import CallLink, PortalLink

if TYPE_CHECKING:
    from airflow.sdk import Context

EVENT_TOKEN_TEMPLATE = "{{ dag_run.conf['event_token'] }}"  # noqa: S105 - where the token is, not the token
"""Where the receiver puts the token of the call that started the run."""
DOCUMENT_ID_TEMPLATE = "{{ dag_run.conf['document_id'] }}"
"""Where it puts the three parts of the document's id."""

LINKS = (CallLink(), PortalLink())

_LONGEST_DEFERRAL = dt.timedelta(hours=1)
"""How long an answer may take that waits for a triggerer, and for its portal a minute."""


class BizprocEventSendOperator(Bitrix24BaseOperator):
    """Answer a robot or workflow action that waits for this DAG.

    A process takes the first answer; the portal ignores the next ones, and says the same to them. When an earlier try
    of this task may have delivered its answer and only then lost its worker, and now nobody waits any more, it counts
    as delivered, with a warning.

    An event token that is no good, a process that has ended and values that cannot be sent fail the task at once;
    so does every error that a repetition cannot help. The others are left to the task's ``retries``.

    :param event_token: the token that came with the call, sealed or plain. (templated)
    :param return_values: property name to value; as a mapping whose values may be templates and XComs, or as one
        template or XCom that gives the mapping. ``bool`` becomes ``Y`` or ``N``, dates become ISO 8601,
        ``None`` becomes empty, a list a multiple value. (templated)
    :param log_message: text for the process's log; empty means none. (templated)
    :param bitrix24_conn_id: the Airflow connection. (templated)
    :param deferrable: send from the triggerer, which packs the answers of many runs into one request. A try that no
        triggerer takes fails after an hour, or ``execution_timeout``.
    :param on_denied: ``fail`` or ``skip`` the task when the token is invalid, or the process has ended. (templated)
    :return: ``True``: the portal has the answer.

    Source: https://apidocs.bitrix24.com/api-reference/bizproc/bizproc-robot/bizproc-event-send.html
    """

    operator_extra_links = LINKS
    template_fields: Sequence[str] = (
        "event_token",
        "return_values",
        "log_message",
        "bitrix24_conn_id",
        "on_denied",
    )
    template_fields_renderers: ClassVar[dict[str, str]] = {"return_values": "json"}

    def __init__(
        self,
        *,
        event_token: str = EVENT_TOKEN_TEMPLATE,
        return_values: Any = None,
        log_message: str | None = None,
        bitrix24_conn_id: str = DEFAULT_CONN_ID,
        deferrable: bool = conf.getboolean("operators", "default_deferrable", fallback=False),
        on_denied: str = "fail",
        **kwargs: Any,
    ) -> None:
        super().__init__(bitrix24_conn_id=bitrix24_conn_id, **kwargs)
        self.event_token = event_token
        self.return_values = return_values
        self.log_message = log_message
        self.deferrable = deferrable
        self.on_denied = on_denied

    def execute(self, context: Context) -> bool:
        """Check everything, then send, or hand over to the triggerer."""
        self._check_on_denied()
        token = event_token_of(self.event_token)
        values = self.values_to_send()
        self._check_texts(token, values)
        mark = TryMark(MAYBE_SENT_KEY, context)
        maybe_sent = self.earlier_try_may_have_sent(context)
        mark.leave()
        if self.deferrable:
            self._defer(context, values, maybe_sent=maybe_sent)
        return self._send(context, token, values, maybe_sent=maybe_sent)

    def _send(self, context: Context, token: str, values: dict[str, Any], *, maybe_sent: bool) -> bool:
        notes, began = AnswerNotes.of(context), dt.datetime.now(dt.UTC)
        notes.write("sending", began, values)
        try:
            with self.hook as hook:
                client, left = hook.get_conn(), self.seconds_left(context)
                check_time(left)
                client.send_event(token, values, self.log_message, deadline=left)
        except Exception as error:
            if not isinstance(error, Bitrix24Error):
                # Airflow does not have the connection, for example.
                self._nothing_sent(context, maybe_sent=maybe_sent)
                raise
            return self._not_accepted(error, context, began, values, maybe_sent=maybe_sent)
        return self._delivered(context, began, values)

    def resume_execution(self, next_method: str, next_kwargs: dict[str, Any] | None, context: Context) -> Any:
        """Resume, or fail where the trigger has failed, or no triggerer has taken it in time."""
        if next_method != "execute_complete":
            note = AnswerNotes.of(context).read()
            if note is not None and note.outcome == "due":
                self._nothing_sent(context, maybe_sent=note.maybe_sent)
        return super().resume_execution(next_method, next_kwargs, context)

    def execute_complete(
        self, context: Context, event: Mapping[str, Any], *, maybe_sent: bool = False
    ) -> bool:
        """Finish after the triggerer has sent the answer, or could not.

        A triggerer that cannot use the connection leaves the sending to this task: it may be the team's, and triggers
        belong to no team, or its secrets may be the workers' alone.

        :param maybe_sent: whether an earlier try may have delivered the answer.
        """
        from airflow_provider_b24.triggers._events import error_of
        from airflow_provider_b24.triggers._shared_portal import NO_CONNECTION

        error = error_of(event)
        if error is not None and error.code == NO_CONNECTION and not event.get("repeated"):
            self.log.info("This task sends the answer itself. %s", error)
            return self._send_after_all(context, maybe_sent=maybe_sent)
        note = AnswerNotes.of(context).read()
        # Not those of this task, whose templates were rendered anew.
        values = None if note is None else note.values
        began = dt.datetime.fromtimestamp(event.get("began") or time.time(), dt.UTC)
        if error is None:
            return self._delivered(context, began, values)
        maybe_sent |= bool(event.get("repeated"))
        return self._not_accepted(error, context, began, values, maybe_sent=maybe_sent)

    def _send_after_all(self, context: Context, *, maybe_sent: bool) -> bool:
        """Send what the triggerer could not."""
        try:
            if self.is_answered(context):
                self._nothing_sent(context, maybe_sent=maybe_sent)
                return False
            token, values = event_token_of(self.event_token), self.values_to_send()
            self._check_texts(token, values)
        except Exception:
            self._nothing_sent(context, maybe_sent=maybe_sent)
            raise
        return self._send(context, token, values, maybe_sent=maybe_sent)

    def is_answered(self, context: Context) -> bool:
        """Tell whether this task has nothing to send, as the process has its answer already.

        :raises AirflowException: when that is no good end of this task; nothing was sent.
        """
        return False

    def seconds_left(self, context: Context) -> float | None:
        """Tell how long sending may take; ``None`` for as long as the client likes."""
        return None

    def values_to_send(self) -> dict[str, Any]:
        """Read and convert the rendered ``return_values``.

        :raises AirflowFailException: when they cannot be sent; nothing has been.
        """
        try:
            return encode_return_values(parse_return_values(self.return_values))
        except ValueError as error:
            raise AirflowFailException(f"Nothing was sent. {error}") from None

    def _check_on_denied(self) -> None:
        if self.on_denied not in ("fail", "skip"):
            raise AirflowFailException(
                f"Nothing was sent: on_denied is 'fail' or 'skip', not {self.on_denied!r}."
            )

    def _check_texts(self, token: str, values: Mapping[str, Any]) -> None:
        """Find out before anything is sent: trying again would not help, and a process is waiting."""
        from airflow_provider_b24.rest.call import answer_params
        from airflow_provider_b24.rest.encoding import plain

        try:
            plain(answer_params(token, values, self.log_message))
        except ValueError as error:
            raise AirflowFailException(f"Nothing was sent. {error}") from None

    def _defer(self, context: Context, values: dict[str, Any], *, maybe_sent: bool) -> None:
        from airflow_provider_b24.triggers.bizproc import BizprocEventSendTrigger

        notes, left = AnswerNotes.of(context), self.seconds_left(context)
        notes.write("due", dt.datetime.now(dt.UTC), values, maybe_sent=maybe_sent)
        self.defer(
            trigger=BizprocEventSendTrigger(
                event_token=self.event_token,
                return_values=values,
                log_message=self.log_message,
                bitrix24_conn_id=self.bitrix24_conn_id,
                answering_task=dict(notes.place),
                send_until=None if left is None else time.time() + left,
            ),
            method_name="execute_complete",
            kwargs={"maybe_sent": maybe_sent},
            # Where no triggerer lives, the scheduler ends the try.
            timeout=self.execution_timeout or _LONGEST_DEFERRAL,
        )

    def _delivered(self, context: Context, began: dt.datetime, values: Mapping[str, Any] | None) -> bool:
        AnswerNotes.of(context).write("delivered", began, values)
        what = "the note of its values was deleted" if values is None else shown(values)
        self.log.info("The portal has taken the answer%s: %s", self._addressee(context), what)
        return True

    def _addressee(self, context: Context) -> str:
        """Name the process and the portal, as far as they are known."""
        workflow_id = (context["dag_run"].conf or {}).get("workflow_id")
        portal = self.hook.connection.portal_url
        return f" for process {workflow_id} at {portal}" if workflow_id else f" at {portal}"

    def _not_accepted(
        self,
        error: Bitrix24Error,
        context: Context,
        began: dt.datetime,
        values: Mapping[str, Any] | None,
        *,
        maybe_sent: bool,
    ) -> bool:
        if isinstance(error, EventTokenError):
            if maybe_sent:
                self.log.warning(
                    "Nobody waits for the answer any more, and an earlier attempt of this task may have arrived: it "
                    "counts as delivered. %s",
                    error,
                )
                return self._delivered(context, began, values)
            AnswerNotes.of(context).write("refused", began, values, str(error))
            TryMark(MAYBE_SENT_KEY, context).take_back()
            if self.on_denied == "skip":
                self.log.warning("Nobody waits for this answer any more. %s", error)
                raise AirflowSkipException(f"Nobody waits for this answer any more. {error}")
            raise AirflowFailException(f"Nobody waits for this answer any more. {error}") from error
        if not error.ambiguous:
            self._nothing_sent(context, maybe_sent=maybe_sent)
        return self.give_up(error)

    @staticmethod
    def _nothing_sent(context: Context, *, maybe_sent: bool) -> None:
        """Forget this attempt, and no earlier one that may have arrived."""
        if not maybe_sent:
            AnswerNotes.of(context).take_back()
            TryMark(MAYBE_SENT_KEY, context).take_back()

    def earlier_try_may_have_sent(self, context: Context) -> bool:
        """Tell whether an earlier try of this task may have delivered the answer."""
        return TryMark(MAYBE_SENT_KEY, context).was_left()

    def give_up(self, error: Bitrix24Error) -> bool:
        """End this try after an error that says nothing about the event token.

        :raises AirflowFailException: when trying again cannot help.
        :raises Bitrix24Error: when one may.
        """
        with fail_at_once_unless_retryable():
            raise error


def event_token_of(rendered: object) -> str:
    """Read what ``event_token`` was rendered to.

    :return: the token itself, unsealed; it is masked in the task's log.
    :raises AirflowFailException: when there is none, or it cannot be read; nothing was sent.
    """
    from airflow_provider_b24.hooks.sealing import SealedTokenError, unseal

    if not isinstance(rendered, str) or rendered.strip() in ("", "None"):
        raise AirflowFailException(
            "Nothing was sent: event_token is empty. It comes with the robot's call; a run that was started "
            "by other means has none."
        )
    try:
        return unseal(rendered)
    except SealedTokenError as error:
        raise AirflowFailException(f"Nothing was sent. {error}") from None


class BizprocActivityLogOperator(Bitrix24BaseOperator):
    """Write a line to the log of the process that waits for this DAG; the process goes on waiting.

    :param log_message: the text. (templated)
    :param event_token: the token that came with the call; writing does not use it up. (templated)
    :param bitrix24_conn_id: the Airflow connection. (templated)

    Source: https://apidocs.bitrix24.com/api-reference/bizproc/bizproc-activity/bizproc-activity-log.html
    """

    operator_extra_links = LINKS
    template_fields: Sequence[str] = ("event_token", "log_message", "bitrix24_conn_id")

    def __init__(
        self,
        *,
        log_message: str,
        event_token: str = EVENT_TOKEN_TEMPLATE,
        bitrix24_conn_id: str = DEFAULT_CONN_ID,
        **kwargs: Any,
    ) -> None:
        super().__init__(bitrix24_conn_id=bitrix24_conn_id, **kwargs)
        self.event_token = event_token
        self.log_message = log_message

    def execute(self, context: Context) -> bool:
        """Write the line."""
        token = event_token_of(self.event_token)
        with fail_at_once_unless_retryable(), self.hook as hook:
            return hook.log_activity(token, self.log_message)


class BizprocWorkflowStartOperator(Bitrix24BaseOperator):
    """Start a workflow for a document.

    A start that may have happened (the connection broke before the answer came) is not repeated: the task
    fails, so that nobody gets two processes.

    :param template_id: id of the workflow template. (templated)
    :param document_id: module, entity class and id, such as ``["crm", "CCrmDocumentLead", "LEAD_77"]``; by default
        the document for which the run was called. (templated)
    :param parameters: the template's parameters, or a template that gives them. (templated)
    :param bitrix24_conn_id: the Airflow connection. (templated)
    :return: id of the process.

    Source: https://apidocs.bitrix24.com/api-reference/bizproc/bizproc-workflow-start.html
    """

    operator_extra_links = LINKS
    template_fields: Sequence[str] = ("template_id", "document_id", "parameters", "bitrix24_conn_id")
    template_fields_renderers: ClassVar[dict[str, str]] = {"parameters": "json"}

    def __init__(
        self,
        *,
        template_id: int | str,
        document_id: Sequence[str] | str = DOCUMENT_ID_TEMPLATE,
        parameters: Mapping[str, Any] | str | None = None,
        bitrix24_conn_id: str = DEFAULT_CONN_ID,
        **kwargs: Any,
    ) -> None:
        super().__init__(bitrix24_conn_id=bitrix24_conn_id, **kwargs)
        self.template_id = template_id
        self.document_id = document_id
        self.parameters = parameters

    def execute(self, context: Context) -> str:
        """Start the workflow."""
        params: dict[str, Any] = {"TEMPLATE_ID": self.template_id, "DOCUMENT_ID": self._document_parts()}
        try:
            if parameters := read_mapping(self.parameters, "parameters"):
                params["PARAMETERS"] = parameters
        except ValueError as error:
            raise AirflowFailException(f"Nothing was started: {error}") from None
        with fail_at_once_unless_retryable(), self.hook as hook:
            workflow_id = str(hook.call("bizproc.workflow.start", params))
        self.log.info("Started workflow %s.", workflow_id)
        return workflow_id

    def _document_parts(self) -> list[str]:
        parts: object = self.document_id
        if isinstance(parts, str):
            with suppress(ValueError):
                parts = read_text(parts)
        if (
            isinstance(parts, (list, tuple))
            and len(parts) == 3
            and all(isinstance(part, str) for part in parts)
        ):
            return list(parts)
        raise AirflowFailException(
            "Nothing was started: document_id has three parts, module, entity class and id, "
            f"not {self.document_id!r}."
        )


class BizprocWorkflowTerminateOperator(Bitrix24BaseOperator):
    """Stop a running workflow; its record stays.

    :param workflow_id: id of the process. (templated)
    :param status: text shown as the reason. (templated)
    :param bitrix24_conn_id: the Airflow connection. (templated)

    Source: https://apidocs.bitrix24.com/api-reference/bizproc/bizproc-workflow-terminate.html
    """

    operator_extra_links = LINKS
    template_fields: Sequence[str] = ("workflow_id", "status", "bitrix24_conn_id")

    def __init__(
        self,
        *,
        workflow_id: str,
        status: str | None = None,
        bitrix24_conn_id: str = DEFAULT_CONN_ID,
        **kwargs: Any,
    ) -> None:
        super().__init__(bitrix24_conn_id=bitrix24_conn_id, **kwargs)
        self.workflow_id = workflow_id
        self.status = status

    def execute(self, context: Context) -> None:
        """Stop the workflow."""
        params = {"ID": workflow_id_of(self.workflow_id)} | ({"STATUS": self.status} if self.status else {})
        with fail_at_once_unless_retryable(), self.hook as hook:
            hook.call("bizproc.workflow.terminate", params)


class BizprocWorkflowKillOperator(Bitrix24BaseOperator):
    """Delete a workflow with all that it has written down; one that is not there counts as deleted.

    :param workflow_id: id of the process. (templated)
    :param bitrix24_conn_id: the Airflow connection; its user must be an administrator. (templated)

    Source: https://apidocs.bitrix24.com/api-reference/bizproc/bizproc-workflow-kill.html
    """

    template_fields: Sequence[str] = ("workflow_id", "bitrix24_conn_id")

    def __init__(self, *, workflow_id: str, bitrix24_conn_id: str = DEFAULT_CONN_ID, **kwargs: Any) -> None:
        super().__init__(bitrix24_conn_id=bitrix24_conn_id, **kwargs)
        self.workflow_id = workflow_id

    def execute(self, context: Context) -> None:
        """Delete the workflow."""
        workflow_id = workflow_id_of(self.workflow_id)
        with fail_at_once_unless_retryable(), self.hook as hook:
            hook.call("bizproc.workflow.kill", {"ID": workflow_id})


def workflow_id_of(rendered: object) -> str:
    """Read what ``workflow_id`` was rendered to: a portal takes none for a process that is not there any more.

    :raises AirflowFailException: when there is none; nothing was sent.
    """
    workflow_id = str(rendered).strip()
    if workflow_id in ("", "None"):
        raise AirflowFailException(
            "Nothing was sent: workflow_id is empty. Its template found none, such as an XCom that is not there."
        )
    return workflow_id
