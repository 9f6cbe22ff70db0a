"""Wait for a workflow to end, or for people to do what it asks of them."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from airflow_provider_b24.operators._failing import fail_at_once_unless_retryable
from airflow_provider_b24.operators._values import read_list
from airflow_provider_b24.operators.bizproc import workflow_id_of
from airflow_provider_b24.rest.lists import PAGE_SIZE
from airflow_provider_b24.sensors.rest import Bitrix24MethodSensor

if TYPE_CHECKING:
    from airflow.sdk import Context

_ALL_DONE = "result and not (result | map(attribute='STATUS') | map('int') | select('equalto', 0) | list)"
"""There are tasks, and none has the status 0, *running*."""

_FIELD = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


class BizprocWorkflowSensor(Bitrix24MethodSensor):
    """Wait until a workflow runs no more: it has finished, was terminated, or was deleted.

    The connection's user must be an administrator of the portal. All other parameters are those of
    :class:`~airflow_provider_b24.sensors.rest.Bitrix24MethodSensor`.

    :param workflow_id: id of the process, as ``BizprocWorkflowStartOperator`` returns it. (templated)

    Source: https://apidocs.bitrix24.com/api-reference/bizproc/bizproc-workflow-instances.html
    """

    template_fields: Sequence[str] = ("workflow_id", "bitrix24_conn_id")

    def __init__(self, *, workflow_id: str, **kwargs: Any) -> None:
        super().__init__(method="bizproc.workflow.instances", parameters={}, condition="not result", **kwargs)
        self.workflow_id = workflow_id

    def parameters_to_send(self) -> dict[str, Any]:
        """Ask for this workflow.

        :raises AirflowFailException: when ``workflow_id`` is empty.
        """
        return {"SELECT": ["ID"], "FILTER": {"ID": workflow_id_of(self.workflow_id)}}


class BizprocTaskSensor(Bitrix24MethodSensor):
    """Wait until people have done all the tasks that a workflow asks of them.

    A workflow without a task yet is waited for. In the cloud a task can be seen for one day after its workflow
    has ended, so poll more often than that. All other parameters are those of
    :class:`~airflow_provider_b24.sensors.rest.Bitrix24MethodSensor`.

    :param workflow_id: id of the process. (templated)
    :param select: fields of the tasks to return, besides ``ID``, ``NAME``, ``STATUS`` and ``USER_ID``: names, one name,
        or a template that gives them. (templated)
    :return: all the tasks, the newest first; their ``STATUS`` says what was decided (1 approved, 2 rejected, 3 done,
        4 cancelled ...).

    Source: https://apidocs.bitrix24.com/api-reference/bizproc/bizproc-task/bizproc-task-list.html
    """

    template_fields: Sequence[str] = ("workflow_id", "select", "bitrix24_conn_id")

    def __init__(self, *, workflow_id: str, select: Sequence[str] | str = (), **kwargs: Any) -> None:
        super().__init__(method="bizproc.task.list", parameters={}, condition=_ALL_DONE, **kwargs)
        self.workflow_id = workflow_id
        self.select = select

    def execute(self, context: Context) -> Any:
        """Wait; return the tasks."""
        return self._all(super().execute(context))

    def execute_complete(self, context: Context, event: Mapping[str, Any]) -> Any:
        """Judge what the triggerer saw, which is one page."""
        return self._all(super().execute_complete(context, event))

    def parameters_to_send(self) -> dict[str, Any]:
        """Ask for the tasks of this workflow.

        :raises AirflowFailException: when ``workflow_id`` is empty.
        :raises ValueError: when ``select`` is no list of names.
        """
        name = self.select.strip() if isinstance(self.select, str) else ""
        more = [name] if _FIELD.fullmatch(name) else read_list(self.select, "select")
        return {
            "SELECT": ["ID", "NAME", "STATUS", "USER_ID", *more],
            "FILTER": {"WORKFLOW_ID": workflow_id_of(self.workflow_id)},
            # The running ones first: one page is enough to judge. A task of many people comes once for each of them.
            "ORDER": {"STATUS": "ASC", "ID": "DESC", "USER_ID": "ASC"},
        }

    def _all(self, tasks: list[dict[str, Any]]) -> list[dict[str, Any]]:
        if len(tasks) >= PAGE_SIZE:
            with self._skip_if_soft(), fail_at_once_unless_retryable():
                # No id tells rows apart, see the order.
                tasks = list(self.hook.iterate(self.method, self.parameters_to_send(), id_field=""))
        return sorted(tasks, key=lambda task: int(task["ID"]), reverse=True)
