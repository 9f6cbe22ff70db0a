"""What one task asks of a portal: a call, a batch of calls, or a list."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

from airflow_provider_b24.exceptions import Bitrix24Error
from airflow_provider_b24.rest.apis import APIS, ApiVersion
from airflow_provider_b24.rest.call import Call
from airflow_provider_b24.rest.encoding import Ref
from airflow_provider_b24.rest.methods import Effect, facts_of
from airflow_provider_b24.rest.references import replaced, walk

if TYPE_CHECKING:
    from airflow_provider_b24.hooks.bitrix24 import Bitrix24Hook
    from airflow_provider_b24.rest.exchange import Outcome

_RESULT = "$result"


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskCalls:
    """The calls of a task.

    :param calls: what is asked; one call, unless they are ``many``.
    :param many: whether they are a batch, each with an outcome of its own.
    :param halt: make those of a batch in order, and none after the first that fails.
    :param limit: read the list of the one call, at most so many rows.
    :param id_field: the field that this list is ordered by.
    """

    calls: Sequence[Call]
    many: bool = False
    halt: bool = False
    limit: int | None = None
    id_field: str = "ID"

    @classmethod
    def parse(cls, data: Mapping[str, Any]) -> Self:
        """Read what :meth:`to_json` wrote.

        :raises ValueError: when it is something else.
        """
        names = {"calls", "many", "halt", "limit", "id_field"}
        limit, calls = data.get("limit"), data.get("calls")
        if (
            data.keys() != names
            or not isinstance(calls, list)
            or not (limit is None or type(limit) is int)
            or (len(calls) != 1 and not data["many"])
        ):
            raise ValueError(f"These are not the calls of a task: {sorted(map(str, data))}")
        parsed = [parse_call(call, number) for number, call in enumerate(calls)]
        return cls(
            calls=parsed,
            many=bool(data["many"]),
            halt=bool(data["halt"]),
            limit=limit,
            id_field=str(data["id_field"]),
        )

    def to_json(self) -> dict[str, Any]:
        """Write the calls as JSON values.

        :raises UnsendableValueError: when a parameter cannot be sent.
        """
        calls = [
            {
                "method": call.method,
                "params": APIS[call.api].parameters(call.method, replaced(call.params, _written)),
                "repeatable": call.repeatable,
                "name": call.name,
                "api": call.api,
                "idempotency_key": call.idempotency_key,
            }
            for call in self.calls
        ]
        return {
            "calls": calls,
            "many": self.many,
            "halt": self.halt,
            "limit": self.limit,
            "id_field": self.id_field,
        }

    def not_to_be_repeated(self) -> Call | None:
        """Give the first call that would do something else the second time, ``None`` when there is none.

        To end what has ended is refused, and whoever has forgotten the first time takes that for a failure.
        """
        return next(
            (
                call
                for call in self.calls
                if facts_of(call.method).effect_if(call.repeatable) not in (Effect.READS, Effect.SETS)
            ),
            None,
        )

    def make(self, hook: Bitrix24Hook) -> Any:
        """Make them in a worker.

        :return: the result; of a batch a list with a result, or a :class:`Bitrix24Error`, for each.
        :raises Bitrix24Error: when the call, or the reading, has failed for good.
        """
        if self.many:
            return results(hook.batch(self.calls, halt=self.halt))
        [call] = self.calls
        if self.limit is not None:
            rows = hook.iterate(
                call.method, call.params, id_field=self.id_field, limit=self.limit, api=call.api
            )
            return list(rows)
        return hook.call(
            call.method,
            call.params,
            repeatable=call.repeatable,
            api=call.api,
            idempotency_key=call.idempotency_key,
        )


def parse_call(call: Any, number: int, api: ApiVersion = "v2") -> Call:
    """Read one of ``calls``: a pair of a method and its parameters, or a mapping.

    ``Ref("contact", "ID")`` is ``{"$result": ["contact", "ID"]}`` where templates, XComs and triggers carry it.

    :param number: its place, for the error.
    :param api: where the call does not say.
    :raises ValueError: when it is neither.
    """
    given: Any = call if isinstance(call, Mapping) else {}
    if isinstance(call, (list, tuple)) and len(call) == 2:
        given = {"method": call[0], "params": call[1]}
    method, params, name = given.get("method"), given.get("params"), given.get("name")
    if (
        not isinstance(method, str)
        or not (params is None or isinstance(params, Mapping))
        or not (name is None or isinstance(name, str))
    ):
        raise ValueError(
            f"calls[{number}] is neither a pair of a method and its parameters "
            'nor {"method": ..., "params": ...}.'
        )
    return Call(
        method,
        walk(params or {}, _read),
        given.get("repeatable"),
        api=given.get("api", api),
        idempotency_key=given.get("idempotency_key"),
        name=name,
    )


def _written(ref: Ref) -> dict[str, list[str]]:
    return {_RESULT: [ref.name, *ref.path]}


def _read(value: Any) -> Any:
    if not isinstance(value, Mapping) or value.keys() != {_RESULT}:
        return value
    name, *path = value[_RESULT] if isinstance(value[_RESULT], list) and value[_RESULT] else [value[_RESULT]]
    return Ref(name, *path)


def results(outcomes: Sequence[Outcome]) -> list[Any]:
    """Give the result of each call of a batch, or its error."""
    return [outcome if isinstance(outcome, Bitrix24Error) else outcome.result for outcome in outcomes]
