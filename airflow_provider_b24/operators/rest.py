"""Any REST method as a task: one call, a batch of calls, or a whole list."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from airflow.providers.common.compat.sdk import AirflowFailException

from airflow_provider_b24.exceptions import BatchError, Bitrix24Error
from airflow_provider_b24.hooks.connection import DEFAULT_CONN_ID
from airflow_provider_b24.operators._base import Bitrix24BaseOperator
from airflow_provider_b24.operators._failing import fail_at_once_unless_retryable
from airflow_provider_b24.operators._idempotency import key_of_task
from airflow_provider_b24.operators._params import warn_of_params
from airflow_provider_b24.operators._values import read_list, read_mapping

if TYPE_CHECKING:
    from airflow.sdk import Context
    from airflow.sdk.types import RuntimeTaskInstanceProtocol

    from airflow_provider_b24.rest import ApiVersion, Call


class Bitrix24Operator(Bitrix24BaseOperator):
    """Call REST methods; what comes back goes to XCom.

    Give ``method`` for one call, ``method`` and ``limit`` for the rows of a list, or ``calls`` for a batch.

    :param method: a REST method, such as ``crm.lead.get``. (templated)
    :param parameters: its parameters, or a template that gives them; ``params`` is Airflow's own, here as everywhere.
        (templated)
    :param repeatable: whether the call may be sent again after a failure that leaves open whether the portal has
        carried it out; ``None`` goes by what is known about the method.
    :param limit: read a list and return at most so many rows; whatever goes to XCom must fit there.
    :param id_field: the field a list is ordered by, for ``limit``.
    :param calls: pairs of a method and its parameters, or mappings ``{"method": ..., "params": ...}``, which may say
        ``repeatable`` and ``idempotency_key``, too; 50 of them travel in one request. (templated)
    :param halt: stop a batch at the first call that fails.
    :param api: ``v3`` calls REST 3.0. Each call that changes something then has an idempotency key, made of DAG, run,
        task, map index and its place among ``calls``: for 24 hours a retry, and the same task when it is cleared, gets
        the result of a call that was done, and does not do it again. Among ``calls``, ``*.update`` and ``*.set`` have
        none, and share requests.
    :param idempotency_key: another key, for ``method``. Two tasks with the same key and method are one call.
        (templated)
    :param bitrix24_conn_id: the Airflow connection. (templated)
    :return: the result; a list of rows; or a list of results in the order of ``calls``.
    :raises AirflowFailException: when an error cannot be overcome by repeating, naming all calls that failed. A batch
        of which some calls were done is not left to retries either: they would be done again.
    :raises Bitrix24Error: when nothing was done, and a retry may help.

    Source: https://apidocs.bitrix24.com/settings/how-to-call-rest-api/index.html
    """

    template_fields: Sequence[str] = (
        "method",
        "parameters",
        "calls",
        "idempotency_key",
        "bitrix24_conn_id",
    )
    template_fields_renderers: ClassVar[dict[str, str]] = {"parameters": "json", "calls": "json"}

    def __init__(
        self,
        *,
        method: str | None = None,
        parameters: Mapping[str, Any] | str | None = None,
        repeatable: bool | None = None,
        limit: int | None = None,
        id_field: str = "ID",
        calls: Sequence[Any] | str | None = None,
        halt: bool = False,
        api: ApiVersion = "v2",
        idempotency_key: str | None = None,
        bitrix24_conn_id: str = DEFAULT_CONN_ID,
        **kwargs: Any,
    ) -> None:
        super().__init__(bitrix24_conn_id=bitrix24_conn_id, **kwargs)
        self.method = method
        self.parameters = parameters
        self.repeatable = repeatable
        self.limit = limit
        self.id_field = id_field
        self.calls = calls
        self.halt = halt
        self.api = api
        self.idempotency_key = idempotency_key
        if (method is None) == (calls is None):
            raise ValueError(f"{self.task_id}: give either method or calls")
        of_method = (parameters, repeatable, limit, idempotency_key)
        if calls is not None and any(given is not None for given in of_method):
            raise ValueError(
                f"{self.task_id}: parameters, repeatable, limit and idempotency_key belong to method, not to calls"
            )
        if api not in ("v2", "v3"):
            raise ValueError(f"{self.task_id}: api is 'v2' or 'v3', not {api!r}")
        if idempotency_key is not None and (api == "v2" or limit is not None):
            raise ValueError(f"{self.task_id}: idempotency_key is for a call of REST 3.0 (api='v3')")
        if limit is not None and limit < 1:
            raise ValueError(f"{self.task_id}: limit is a number of rows, at least 1")
        if calls is None and parameters is None:
            warn_of_params(self)

    def execute(self, context: Context) -> Any:
        """Make the calls."""
        calls, parameters = self._read(context)
        with fail_at_once_unless_retryable(), self.hook as hook:
            if self.calls is not None:
                return self._results(hook.batch(calls, halt=self.halt))
            method = str(self.method)
            if self.limit is not None:
                rows = hook.iterate(
                    method, parameters, id_field=self.id_field, limit=self.limit, api=self.api
                )
                return list(rows)
            key = self.idempotency_key or key_of_task(self.api, method, context["ti"])
            return hook.call(
                method, parameters, repeatable=self.repeatable, api=self.api, idempotency_key=key
            )

    def _read(self, context: Context) -> tuple[list[Call], dict[str, Any]]:
        """Read the rendered fields.

        :raises AirflowFailException: when they are not what they should be; nothing has been sent.
        """
        try:
            if self.idempotency_key is not None and str(self.idempotency_key).strip() in ("", "None"):
                raise ValueError("idempotency_key is rendered to nothing: all such calls would be one.")
            given = enumerate(read_list(self.calls, "calls"))
            calls = [_call_of(call, number, self.api, context["ti"]) for number, call in given]
            return calls, read_mapping(self.parameters, "parameters")
        except ValueError as error:
            raise AirflowFailException(f"Nothing was sent: {error}") from None

    def _results(self, replies: Sequence[Any]) -> list[Any]:
        failed = [(number, reply) for number, reply in enumerate(replies) if isinstance(reply, Bitrix24Error)]
        if not failed:
            return [reply.result for reply in replies]
        listing = "\n".join(f"calls[{number}]: {error}" for number, error in failed)
        text = f"{len(failed)} of {len(replies)} calls failed:\n{listing}"
        tried = [error for _, error in failed if not isinstance(error, BatchError)]
        if len(failed) == len(replies) and tried and all(error.retryable for error in tried):
            self.log.error("%s", text)
            raise tried[0]
        raise AirflowFailException(text)


def _call_of(call: Any, number: int, api: ApiVersion, ti: RuntimeTaskInstanceProtocol) -> Call:
    from airflow_provider_b24.rest import Call

    repeatable = key = None
    if isinstance(call, Mapping):
        method, params = call.get("method"), call.get("params")
        repeatable, key = call.get("repeatable"), call.get("idempotency_key")
    elif isinstance(call, (list, tuple)) and len(call) == 2:
        method, params = call
    else:
        method, params = None, None
    if not isinstance(method, str) or not (params is None or isinstance(params, Mapping)):
        raise ValueError(
            f"calls[{number}] is neither a pair of a method and its parameters "
            'nor {"method": ..., "params": ...}.'
        )
    key = key or key_of_task(api, method, ti, number)
    return Call(method, params or {}, repeatable, api=api, idempotency_key=key)
