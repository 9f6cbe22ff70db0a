"""Any REST method as a task: one call, a batch of calls, or a whole list."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from airflow.providers.common.compat.sdk import AirflowFailException, conf

from airflow_provider_b24.exceptions import BatchError, Bitrix24Error
from airflow_provider_b24.hooks.connection import DEFAULT_CONN_ID
from airflow_provider_b24.operators._base import Bitrix24BaseOperator
from airflow_provider_b24.operators._failing import fail_at_once_unless_retryable
from airflow_provider_b24.operators._idempotency import with_key
from airflow_provider_b24.operators._params import warn_of_params
from airflow_provider_b24.operators._task_calls import TaskCalls, parse_call
from airflow_provider_b24.operators._values import read_list, read_mapping
from airflow_provider_b24.rest.call import Call

if TYPE_CHECKING:
    from airflow.sdk import Context

    from airflow_provider_b24.rest import ApiVersion

_LONGEST_DEFERRAL = dt.timedelta(hours=1)


class Bitrix24Operator(Bitrix24BaseOperator):
    """Call REST methods; what comes back goes to XCom.

    Give ``method`` for one call, ``method`` and ``limit`` for the rows of a list, or ``calls`` for a batch.

    With ``deferrable`` the calls are made in the triggerer if all of them only read or set something: a triggerer that
    dies leaves them to the next, which makes them again. What would create something twice, or end what has ended
    already, is called by the worker, as without ``deferrable``; so is a batch that holds such a call, and a method of
    which nothing is known, unless ``repeatable`` says that it may be sent again.

    :param method: a REST method, such as ``crm.lead.get``. (templated)
    :param parameters: its parameters, or a template that gives them; ``params`` is Airflow's own, here as everywhere.
        (templated)
    :param repeatable: whether the call may be sent again after a failure that leaves open whether the portal has
        carried it out; ``None`` goes by what is known about the method.
    :param limit: read a list and return at most so many rows; whatever goes to XCom must fit there.
    :param id_field: the field a list is ordered by, for ``limit``.
    :param calls: pairs of a method and its parameters, or mappings ``{"method": ..., "params": ...}``, which may say
        ``repeatable``, ``idempotency_key`` and ``name``, too; 50 of them travel in one request. In the parameters of a
        later call :class:`~airflow_provider_b24.rest.encoding.Ref` stands for the result of one with a name, or, as
        text, ``{"$result": ["contact", "ID"]}``. (templated)
    :param halt: stop a batch at the first call that fails.
    :param api: ``v3`` calls REST 3.0. Each call that changes something then has an idempotency key, made of DAG, run,
        task, map index and its place among ``calls``: for 24 hours a retry, and the same task when it is cleared, gets
        the result of a call that was done, and does not do it again. Among ``calls``, ``*.update`` and ``*.set`` have
        none, and share requests.
    :param idempotency_key: another key, for ``method``. Two tasks with the same key and method are one call.
        (templated)
    :param bitrix24_conn_id: the Airflow connection. (templated)
    :param deferrable: make the calls in the triggerer, where single calls of many tasks travel in one request. A try
        that no triggerer takes, or that lasts longer, fails after an hour, or ``execution_timeout``. A result of more
        than four million characters of JSON fails the task.
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
        deferrable: bool = conf.getboolean("operators", "default_deferrable", fallback=False),
        **kwargs: Any,
    ) -> None:
        super().__init__(bitrix24_conn_id=bitrix24_conn_id, **kwargs)
        self.deferrable = deferrable
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
        """Make the calls, or hand them over to the triggerer."""
        asked = self._read(context)
        if self.deferrable:
            self._defer(asked)
        return self._make(asked)

    def execute_complete(self, context: Context, event: Mapping[str, Any]) -> Any:
        """Finish with what the triggerer reports; make the calls if it could not use the connection."""
        from airflow_provider_b24.triggers._events import error_of
        from airflow_provider_b24.triggers._shared_portal import NO_CONNECTION

        error = error_of(event)
        if error is None:
            result = event["result"]
            return (
                self._all_or_error([error_of(one) or one["result"] for one in result])
                if self.calls is not None
                else result
            )
        if error.code == NO_CONNECTION:
            self.log.info("This task calls by itself. %s", error)
            return self._make(self._read(context))
        with fail_at_once_unless_retryable():
            raise error

    def _read(self, context: Context) -> TaskCalls:
        """Read the rendered fields.

        :raises AirflowFailException: when they are not what they should be; nothing has been sent.
        """
        try:
            if self.idempotency_key is not None and str(self.idempotency_key).strip() in ("", "None"):
                raise ValueError("idempotency_key is rendered to nothing: all such calls would be one.")
            ti = context["ti"]
            if self.calls is not None:
                given = enumerate(read_list(self.calls, "calls"))
                calls = [with_key(parse_call(call, number, self.api), ti, number) for number, call in given]
                return TaskCalls(calls=calls, many=True, halt=self.halt)
            method, parameters = str(self.method), read_mapping(self.parameters, "parameters")
            call = Call(
                method, parameters, self.repeatable, api=self.api, idempotency_key=self.idempotency_key
            )
            if self.limit is None:
                call = with_key(call, ti)
            return TaskCalls(calls=[call], limit=self.limit, id_field=self.id_field)
        except ValueError as error:
            raise AirflowFailException(f"Nothing was sent: {error}") from None

    def _make(self, asked: TaskCalls) -> Any:
        with fail_at_once_unless_retryable(), self.hook as hook:
            result = asked.make(hook)
            return self._all_or_error(result) if asked.many else result

    def _defer(self, asked: TaskCalls) -> None:
        """Hand the calls over to the triggerer, unless they are the worker's."""
        from airflow_provider_b24.triggers._events import LARGEST_EVENT
        from airflow_provider_b24.triggers.rest import Bitrix24CallsTrigger

        once = asked.not_to_be_repeated()
        if once is not None:
            self.log.info("This task calls by itself: %s must not be made twice.", once.method)
            return
        with fail_at_once_unless_retryable():
            calls = asked.to_json()
        if len(json.dumps(calls)) > LARGEST_EVENT:
            self.log.info("This task calls by itself: the parameters are too large for a triggerer.")
            return
        self.defer(
            trigger=Bitrix24CallsTrigger(calls=calls, bitrix24_conn_id=self.bitrix24_conn_id),
            method_name="execute_complete",
            # Where no triggerer lives, the scheduler ends the try.
            timeout=self.execution_timeout or _LONGEST_DEFERRAL,
        )

    def _all_or_error(self, results: list[Any]) -> list[Any]:
        """Give the results of a batch of which no call has failed."""
        failed = [(number, one) for number, one in enumerate(results) if isinstance(one, Bitrix24Error)]
        if not failed:
            return results
        listing = "\n".join(f"calls[{number}]: {error}" for number, error in failed)
        text = f"{len(failed)} of {len(results)} calls failed:\n{listing}"
        tried = [error for _, error in failed if not isinstance(error, BatchError)]
        if len(failed) == len(results) and tried and all(error.retryable for error in tried):
            self.log.error("%s", text)
            raise tried[0]
        raise AirflowFailException(text)
