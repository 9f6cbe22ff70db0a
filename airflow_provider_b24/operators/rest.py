"""Any REST method as a task: one call, a batch of calls, or a whole list."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Any, ClassVar

from airflow.providers.common.compat.sdk import AirflowFailException

from airflow_provider_b24.exceptions import Bitrix24Error
from airflow_provider_b24.hooks.connection import DEFAULT_CONN_ID
from airflow_provider_b24.operators._base import Bitrix24BaseOperator
from airflow_provider_b24.operators._failing import fail_at_once_unless_retryable

if TYPE_CHECKING:
    from airflow.sdk import Context


class Bitrix24Operator(Bitrix24BaseOperator):
    """Call REST methods; what comes back goes to XCom.

    Give ``method`` for one call, ``method`` and ``limit`` for the rows of a list, or ``calls`` for a batch.

    :param method: a REST method, such as ``crm.lead.get``. (templated)
    :param parameters: its parameters; ``params`` is Airflow's own, here as everywhere. (templated)
    :param limit: read a list and return at most so many rows; whatever goes to XCom must fit there.
    :param id_field: the field a list is ordered by, for ``limit``.
    :param calls: pairs of a method and its parameters, or mappings ``{"method": ..., "params": ...}``; 50 of them
        travel in one request. (templated)
    :param halt: stop a batch at the first call that fails.
    :param bitrix24_conn_id: the Airflow connection. (templated)
    :return: the result; a list of rows; or a list of results in the order of ``calls``.
    :raises AirflowFailException: when an error cannot be mended by repeating. Any failed call fails the task and
        names all that failed.

    Source: https://apidocs.bitrix24.com/settings/how-to-call-rest-api/index.html
    """

    template_fields: Sequence[str] = ("method", "parameters", "calls", "bitrix24_conn_id")
    template_fields_renderers: ClassVar[dict[str, str]] = {"parameters": "json", "calls": "json"}

    def __init__(
        self,
        *,
        method: str | None = None,
        parameters: Mapping[str, Any] | None = None,
        limit: int | None = None,
        id_field: str = "ID",
        calls: Sequence[Any] | None = None,
        halt: bool = False,
        bitrix24_conn_id: str = DEFAULT_CONN_ID,
        **kwargs: Any,
    ) -> None:
        super().__init__(bitrix24_conn_id=bitrix24_conn_id, **kwargs)
        self.method = method
        self.parameters = parameters
        self.limit = limit
        self.id_field = id_field
        self.calls = calls
        self.halt = halt
        if (method is None) == (calls is None):
            raise ValueError(f"{self.task_id}: give either method or calls")
        if calls is not None and (parameters is not None or limit is not None):
            raise ValueError(f"{self.task_id}: parameters and limit belong to method, not to calls")
        if limit is not None and limit < 1:
            raise ValueError(f"{self.task_id}: limit is a number of rows, at least 1")

    def execute(self, context: Context) -> Any:
        """Make the calls."""
        with fail_at_once_unless_retryable(), self.hook as hook:
            if self.calls is not None:
                return self._results(hook.batch(self._pairs(self.calls), halt=self.halt))
            method = str(self.method)
            if self.limit is not None:
                return list(islice(hook.iterate(method, self.parameters, id_field=self.id_field), self.limit))
            return hook.call(method, self.parameters)

    @staticmethod
    def _pairs(calls: Sequence[Any]) -> list[tuple[str, Mapping[str, Any]]]:
        pairs = []
        for number, call in enumerate(calls):
            if isinstance(call, Mapping):
                method, params = call.get("method"), call.get("params")
            elif isinstance(call, (list, tuple)) and len(call) == 2:
                method, params = call
            else:
                method, params = None, None
            if not isinstance(method, str) or not (params is None or isinstance(params, Mapping)):
                raise AirflowFailException(
                    f"Nothing was sent: calls[{number}] is neither a pair of a method and its parameters "
                    'nor {"method": ..., "params": ...}.'
                )
            pairs.append((method, params or {}))
        return pairs

    @staticmethod
    def _results(replies: Sequence[Any]) -> list[Any]:
        failed = [(number, reply) for number, reply in enumerate(replies) if isinstance(reply, Bitrix24Error)]
        if failed:
            listing = "\n".join(f"calls[{number}]: {error}" for number, error in failed)
            raise AirflowFailException(f"{len(failed)} of {len(replies)} calls failed:\n{listing}")
        return [reply.result for reply in replies]
