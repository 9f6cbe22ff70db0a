"""What people are asked inside processes, done or handed on by a task of Airflow."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import AirflowFailException

from airflow_provider_b24.exceptions import Bitrix24Error
from airflow_provider_b24.hooks.connection import DEFAULT_CONN_ID
from airflow_provider_b24.operators._base import Bitrix24BaseOperator
from airflow_provider_b24.operators._failing import fail_at_once_unless_retryable
from airflow_provider_b24.operators._values import read_list, read_mapping, user_number

if TYPE_CHECKING:
    from airflow.sdk import Context

    from airflow_provider_b24.hooks.bitrix24 import Bitrix24Hook

_STATUSES = {"yes": 1, "no": 2, "ok": 3, "cancel": 4}


class BizprocTaskCompleteOperator(Bitrix24BaseOperator):
    """Do a task of the connection's user: approve, reject, confirm, or fill in what is asked for.

    A task that has this status already counts as done: an earlier try may have done it.

    :param task_id_in_process: number of the task, such as ``BizprocTaskSensor`` and ``bizproc.task.list`` give it.
        (templated)
    :param status: ``yes``, ``no``, ``ok`` or ``cancel``; which of them fit depends on the task. (templated)
    :param comment: text beside it. (templated)
    :param fields: what the task asks for, by the fields' ids, or a template that gives it. (templated)
    :param bitrix24_conn_id: the Airflow connection. (templated)

    Source: https://apidocs.bitrix24.com/api-reference/bizproc/bizproc-task/bizproc-task-complete.html
    """

    template_fields: Sequence[str] = (
        "task_id_in_process",
        "status",
        "comment",
        "fields",
        "bitrix24_conn_id",
    )

    def __init__(
        self,
        *,
        task_id_in_process: int | str,
        status: str,
        comment: str | None = None,
        fields: Any = None,
        bitrix24_conn_id: str = DEFAULT_CONN_ID,
        **kwargs: Any,
    ) -> None:
        super().__init__(bitrix24_conn_id=bitrix24_conn_id, **kwargs)
        self.task_id_in_process = task_id_in_process
        self.status = status
        self.comment = comment
        self.fields = fields

    def execute(self, context: Context) -> None:
        """Do the task."""
        status = _STATUSES.get(str(self.status).strip().lower())
        if status is None:
            raise AirflowFailException(
                f"Nothing was sent: status is one of {', '.join(_STATUSES)}, not {self.status!r}."
            )
        try:
            number = _task_number(self.task_id_in_process)
            fields = read_mapping(self.fields, "fields")
        except ValueError as error:
            raise AirflowFailException(f"Nothing was sent: {error}") from None
        params: dict[str, Any] = {"TASK_ID": number, "STATUS": status}
        params |= {"COMMENT": self.comment} if self.comment else {}
        params |= {"FIELDS": fields} if fields else {}
        with fail_at_once_unless_retryable(), self.hook as hook:
            try:
                hook.call("bizproc.task.complete", params)
            except Bitrix24Error as error:
                if error.code != "ERROR_TASK_COMPLETED" or not _are(hook, [number], "STATUS", status):
                    raise
                self.log.info("Task %d has been done before, as it is to be done now.", number)


class BizprocTaskDelegateOperator(Bitrix24BaseOperator):
    """Hand tasks over from one person to another.

    Tasks that are the other person's already count as handed over: an earlier try may have done it.

    :param task_ids_in_process: numbers of the tasks, or a template that gives them. (templated)
    :param from_user_id: who has the tasks, as ``14`` or ``user_14``. (templated)
    :param to_user_id: who gets them. (templated)
    :param bitrix24_conn_id: the Airflow connection. (templated)

    Source: https://apidocs.bitrix24.com/api-reference/bizproc/bizproc-task/bizproc-task-delegate.html
    """

    template_fields: Sequence[str] = (
        "task_ids_in_process",
        "from_user_id",
        "to_user_id",
        "bitrix24_conn_id",
    )

    def __init__(
        self,
        *,
        task_ids_in_process: Sequence[int | str] | str,
        from_user_id: int | str,
        to_user_id: int | str,
        bitrix24_conn_id: str = DEFAULT_CONN_ID,
        **kwargs: Any,
    ) -> None:
        super().__init__(bitrix24_conn_id=bitrix24_conn_id, **kwargs)
        self.task_ids_in_process = task_ids_in_process
        self.from_user_id = from_user_id
        self.to_user_id = to_user_id

    def execute(self, context: Context) -> None:
        """Hand them over; no tasks are nothing to do."""
        try:
            numbers = [
                _task_number(one) for one in read_list(self.task_ids_in_process, "task_ids_in_process")
            ]
            giver = user_number(self.from_user_id, "from_user_id")
            taker = user_number(self.to_user_id, "to_user_id")
        except ValueError as error:
            raise AirflowFailException(f"Nothing was sent: {error}") from None
        if not numbers:
            self.log.info("There are no tasks to hand over.")
            return
        params = {"TASK_IDS": numbers, "FROM_USER_ID": giver, "TO_USER_ID": taker}
        with fail_at_once_unless_retryable(), self.hook as hook:
            try:
                hook.call("bizproc.task.delegate", params)
            except Bitrix24Error as error:
                if error.code != "ERROR_DELEGATION_NOT_ALLOWED" or not _are(hook, numbers, "USER_ID", taker):
                    raise
                self.log.info("User %d has the tasks already.", taker)


def _task_number(value: object) -> int:
    text = str(value).strip()
    if isinstance(value, bool) or not (text.isascii() and text.isdecimal()):
        raise ValueError(f"the number of a task is digits, not {value!r}.")
    return int(text)


def _are(hook: Bitrix24Hook, numbers: Sequence[int], field: str, wanted: int) -> bool:
    """Tell whether all these tasks have this value in a field."""
    params = {"FILTER": {"ID": list(numbers)}, "SELECT": ["ID", field]}
    found = {str(task.get("ID")): str(task.get(field)) for task in hook.iterate("bizproc.task.list", params)}
    return all(found.get(str(number)) == str(wanted) for number in numbers)
