"""The task that waits for a result which an external worker delivers to a result URL."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import (
    AirflowFailException,
    AirflowSensorTimeout,
    AirflowSkipException,
    PokeReturnValue,
    conf,
)

from airflow_provider_b24._airflow.sensor_intervals import PunctualSensor
from airflow_provider_b24.sensors.result_delivery import Decision, ExpectedResult, Outcome
from airflow_provider_b24.sensors.result_reference import patience_ends_at, result_url

if TYPE_CHECKING:
    from airflow.sdk import Context

__all__ = ["ExternalResultSensor", "result_url"]

_SAFETY_NET_SECONDS = 60.0
_RETRIES = 3
_RETRY_DELAY = timedelta(seconds=10)


class ExternalResultSensor(PunctualSensor):
    """Waits until an external worker has delivered a result, and returns the delivered object.

    An earlier task hands the result URL to the worker (:func:`result_url`, in templates
    ``{{ macros.bitrix24.result_url(ti) }}``); the worker posts one JSON object to it. The result is kept with the task
    that handed the URL out, so it may arrive before this task has started. Clearing that task discards the result.

    The wait ends at the sensor's ``timeout`` or when the process in Bitrix24 stops waiting
    (``ts + timeout_duration`` of the robot call), whichever comes first, in wall-clock time and in every mode. A result
    that violates ``schema``, a failure report of the worker and a missed heartbeat fail the task at once, without
    retries: a second result cannot be delivered, so trying again cannot help. What else may happen to a task (a lost
    worker, an API server that is away) is retried, by default three times: the result stays where it is meanwhile.

    With ``deferrable=True`` the waiting costs no worker, and the receiver resumes the task as soon as the result is
    there.

    :param source_task_id: the task that hands the result URL out. (templated)
    :param source_map_index: its map index, where it is mapped; by default this task's own (as inside a mapped task
        group), and -1 if the source task is not mapped. (templated)
    :param schema: JSON Schema that the result must satisfy. (templated)
    :param heartbeat_timeout: seconds without ``POST URL/heartbeat`` after which the worker counts as lost. The first
        interval starts with the wait.
    :param deferrable: wait in the triggerer; default ``[operators] default_deferrable``.
    """

    template_fields: Sequence[str] = ("source_task_id", "source_map_index", "schema")
    template_fields_renderers = {"schema": "json"}  # noqa: RUF012
    ui_color = "#e3f4f8"

    def __init__(
        self,
        *,
        source_task_id: str,
        source_map_index: int | str | None = None,
        schema: Mapping[str, Any] | None = None,
        heartbeat_timeout: float | timedelta | None = None,
        deferrable: bool = conf.getboolean("operators", "default_deferrable", fallback=False),
        **kwargs: Any,
    ) -> None:
        said = {**(kwargs.get("default_args") or {}), **kwargs}
        if "retries" not in said:
            kwargs["retries"] = conf.getint("core", "default_task_retries", fallback=0) or _RETRIES
        if "retry_delay" not in said:
            kwargs["retry_delay"] = _RETRY_DELAY
        super().__init__(**kwargs)
        self.source_task_id = source_task_id
        self.source_map_index = source_map_index
        self.schema = schema
        if isinstance(heartbeat_timeout, timedelta):
            heartbeat_timeout = heartbeat_timeout.total_seconds()
        if heartbeat_timeout is not None and not heartbeat_timeout > 0:
            raise ValueError(
                f"heartbeat_timeout must be a positive number of seconds, not {heartbeat_timeout!r}."
            )
        self.heartbeat_timeout = heartbeat_timeout
        self.deferrable = deferrable

    def execute(self, context: Context) -> Any:
        """Wait; return the delivered object."""
        return self.execute_complete(context) if self.deferrable else super().execute(context)

    def execute_complete(
        self, context: Context, event: Mapping[str, Any] | None = None, *, started_at: float | None = None
    ) -> Any:
        """Look at what is there, whatever woke the task; wait on if it was nothing.

        :param started_at: when the wait began, in Unix time; ``None`` if it begins now.
        """
        expected = self._expected(context, started_at)
        with self._skip_if_soft():
            decision = expected.look(time.time())
            if decision.outcome is not Outcome.WAIT:
                return self._conclude(decision)
        from airflow_provider_b24.triggers.external_result import ExternalResultTrigger

        return self.defer(
            trigger=ExternalResultTrigger(**asdict(expected)),
            method_name="execute_complete",
            # A task that is resumed has a new start date before Airflow 3.2, as a rescheduled one has in each version.
            kwargs={"started_at": expected.started_at},
            # Not the deadline, which the trigger keeps itself: what ends the wait when no triggerer is alive.
            timeout=timedelta(seconds=max(expected.ends_at - time.time(), 0) + _SAFETY_NET_SECONDS),
        )

    def poke(self, context: Context) -> PokeReturnValue:
        """Look once."""
        decision = self._expected(context).look(time.time())
        if decision.outcome is Outcome.WAIT:
            # Once more when the wait ends: a process may be waiting for the answer.
            self.poke_again_by = decision.look_again_by
            return PokeReturnValue(is_done=False)
        return PokeReturnValue(is_done=True, xcom_value=self._conclude(decision))

    def _conclude(self, decision: Decision) -> dict[str, Any]:
        if decision.outcome is Outcome.TIMED_OUT:
            raise AirflowSensorTimeout(decision.message)
        if decision.result is None:
            raise AirflowFailException(decision.message)
        self._check(decision.result)
        return decision.result

    def _check(self, result: dict[str, Any]) -> None:
        if self.schema is None:
            return
        import jsonschema

        try:
            jsonschema.validate(result, self.schema)
        except jsonschema.ValidationError as error:
            raise AirflowFailException(
                f"The delivered result violates the schema at {error.json_path}: {error.message[:500]}"
            ) from None
        except jsonschema.SchemaError as error:
            raise AirflowFailException(
                f"The sensor's schema is no JSON Schema: {error.message[:500]}"
            ) from None

    def _expected(self, context: Context, started_at: float | None = None) -> ExpectedResult:
        ti = context["ti"]
        if started_at is None:
            started = (self.reschedule and ti.get_first_reschedule_date(context)) or ti.start_date
            started_at = started.timestamp()
        return ExpectedResult(
            dag_id=ti.dag_id,
            run_id=ti.run_id,
            source_task_id=self.source_task_id,
            source_map_index=self._map_index(context),
            started_at=started_at,
            timeout_at=started_at + self.timeout,
            patience_ends_at=patience_ends_at(context["dag_run"].conf),
            heartbeat_timeout=self.heartbeat_timeout,
        )

    def _map_index(self, context: Context) -> int:
        dag, own = context["dag"], context["ti"].map_index
        if self.source_task_id not in dag.task_dict:
            raise AirflowFailException(
                f"source_task_id={self.source_task_id!r} names no task of DAG {dag.dag_id!r}: "
                "it must be the task that hands the result URL out."
            )
        if self.source_map_index is not None:
            try:
                return int(self.source_map_index)
            except ValueError:
                raise AirflowFailException(
                    f"source_map_index must be a number, not {self.source_map_index!r}."
                ) from None
        source = dag.task_dict[self.source_task_id]
        if not source.is_mapped and source.get_closest_mapped_task_group() is None:
            return -1
        if own is None or own < 0:
            raise AirflowFailException(
                f"The source task {self.source_task_id!r} is mapped: say with source_map_index which of its "
                "instances to wait for, or map this sensor with it in one task group."
            )
        return int(own)

    @contextmanager
    def _skip_if_soft(self) -> Iterator[None]:
        """Do in deferrable mode what the base class does around ``poke``."""
        try:
            yield
        except (AirflowSensorTimeout, AirflowFailException) as error:
            if self.soft_fail or self.never_fail:
                raise AirflowSkipException(f"Skipping, as the sensor may fail softly: {error}") from error
            raise
