"""Wait for what a REST method answers."""

from __future__ import annotations

import datetime as dt
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar

from airflow.providers.common.compat.sdk import (
    AirflowFailException,
    AirflowSensorTimeout,
    AirflowSkipException,
    BaseSensorOperator,
    PokeReturnValue,
    conf,
)

from airflow_provider_b24.exceptions import Bitrix24Error
from airflow_provider_b24.hooks.connection import DEFAULT_CONN_ID
from airflow_provider_b24.operators._failing import fail_at_once_unless_retryable
from airflow_provider_b24.operators._params import warn_of_params
from airflow_provider_b24.operators._values import read_mapping
from airflow_provider_b24.sensors._condition import SHORTEST_LOOK, Condition, ConditionError, compiled, holds

if TYPE_CHECKING:
    from airflow.sdk import Context

    from airflow_provider_b24.hooks.bitrix24 import Bitrix24Hook


_GRACE = dt.timedelta(seconds=90)
"""How long after the end a triggerer may take to say so, before Airflow takes it for dead."""


class Bitrix24MethodSensor(BaseSensorOperator):
    """Call a REST method again and again until a condition holds.

    A portal that cannot be reached for a while does not end the waiting; a refusal does.

    :param method: a REST method that only reads, such as ``crm.deal.get``. (templated)
    :param parameters: its parameters, or a template that gives them; ``params`` is Airflow's own, here as everywhere.
        (templated)
    :param condition: ``None`` waits for a result that is not empty, nor a list without rows under a key such as
        ``items``; a text is a Jinja expression about ``result``, such as ``result.STAGE_ID == 'WON'``, which does not
        hold while something it is about is not there; a callable is given the result. In deferrable mode a callable
        runs in a worker, once for each different result; an expression runs in the triggerer.
    :param bitrix24_conn_id: the Airflow connection. (templated)
    :param deferrable: wait in the triggerer, which asks for all waiting tasks of a connection in one request.
    :return: the result that satisfied the condition.

    Source: https://apidocs.bitrix24.com/settings/how-to-call-rest-api/index.html
    """

    template_fields: Sequence[str] = ("method", "parameters", "bitrix24_conn_id")
    template_fields_renderers: ClassVar[dict[str, str]] = {"parameters": "json"}
    ui_color = "#d9f2fb"

    def __init__(
        self,
        *,
        method: str,
        parameters: Mapping[str, Any] | str | None = None,
        condition: Condition = None,
        bitrix24_conn_id: str = DEFAULT_CONN_ID,
        deferrable: bool = conf.getboolean("operators", "default_deferrable", fallback=False),
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if isinstance(condition, str):
            compiled(condition)
        self.method = method
        self.parameters = parameters
        self.condition = condition
        self.bitrix24_conn_id = bitrix24_conn_id
        self.deferrable = deferrable
        if parameters is None:
            warn_of_params(self)

    @cached_property
    def hook(self) -> Bitrix24Hook:
        """The hook of this task's connection."""
        from airflow_provider_b24.hooks.bitrix24 import Bitrix24Hook

        return Bitrix24Hook(self.bitrix24_conn_id)

    def execute(self, context: Context) -> Any:
        """Ask once here; go on in the triggerer if there is nothing yet and the task may defer."""
        if not self.deferrable:
            return super().execute(context)
        deadline = time.time() + self.timeout
        with self._skip_if_soft():
            asked = self.poke(context)
        if asked:
            return asked.xcom_value
        return self._defer(deadline, asked.xcom_value)

    def parameters_to_send(self) -> dict[str, Any]:
        """Give the parameters of the method, from the rendered fields.

        :raises ValueError: when they are not what they should be.
        """
        return read_mapping(self.parameters, "parameters")

    def poke(self, context: Context) -> PokeReturnValue:
        """Ask once."""
        try:
            parameters = self.parameters_to_send()
        except ValueError as error:
            raise AirflowFailException(f"Nothing was sent: {error}") from None
        try:
            with fail_at_once_unless_retryable():
                client = self.hook.get_conn()
                result = client.call(
                    self.method, parameters, deadline=max(self.timeout, SHORTEST_LOOK)
                ).result
        except Bitrix24Error as error:
            self.log.warning("Still waiting, for the portal gave no answer this time. %s", error)
            return PokeReturnValue(is_done=False)
        return PokeReturnValue(is_done=self._holds(result), xcom_value=result)

    def _holds(self, result: Any) -> bool:
        try:
            return holds(self.condition, result)
        except ConditionError as error:
            raise AirflowFailException(str(error)) from error

    def execute_complete(self, context: Context, event: Mapping[str, Any]) -> Any:
        """Judge what the triggerer saw."""
        from airflow_provider_b24.triggers._events import error_of

        with self._skip_if_soft():
            if error := error_of(event):
                with fail_at_once_unless_retryable():
                    raise error
            if event["status"] == "timeout":
                raise AirflowSensorTimeout(
                    f"{self.method} did not answer what this task waits for within {self.timeout:g} seconds."
                )
            if self._holds(event["result"]):
                return event["result"]
        return self._defer(event["deadline"], event["result"])

    @contextmanager
    def _skip_if_soft(self) -> Iterator[None]:
        """Do in deferrable mode what the base class does around ``poke``.

        Around a task that is resumed, Airflow 3.0 and early 3.1 do it for ``soft_fail`` alone.
        """
        try:
            yield
        except (AirflowSensorTimeout, AirflowFailException) as error:
            if self.soft_fail or self.never_fail:
                raise AirflowSkipException(f"Skipped instead of failed. {error}") from error
            raise

    def _defer(self, deadline: float, judged: Any) -> None:
        from airflow_provider_b24.rest.encoding import plain
        from airflow_provider_b24.triggers.rest import Bitrix24MethodTrigger, fingerprint

        self.defer(
            trigger=Bitrix24MethodTrigger(
                method=self.method,
                params=plain(self.parameters_to_send()),
                condition=self.condition if isinstance(self.condition, str) else None,
                judged=fingerprint(judged) if callable(self.condition) else None,
                poll_interval=self.poke_interval,
                deadline=deadline,
                bitrix24_conn_id=self.bitrix24_conn_id,
            ),
            method_name="execute_complete",
            # Where no triggerer lives, the scheduler ends the wait.
            timeout=dt.timedelta(seconds=max(deadline - time.time(), 0.0)) + _GRACE,
        )
