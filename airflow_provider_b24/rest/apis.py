"""The two versions of the REST API: where they are called, how calls are written, and what a batch answers.

All else is the same conversation. An error is read alike whichever version it comes from: a portal may say of a call of
REST 3.0 what it says of any.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, Literal, Protocol, TypeAlias

from airflow_provider_b24.rest.encoding import (
    UnsendableValueError,
    command,
    json_body,
    parameters,
    refuse_auth,
)
from airflow_provider_b24.rest.methods import Effect
from airflow_provider_b24.rest.typed_values import typed

ApiVersion: TypeAlias = Literal["v2", "v3"]
Answered: TypeAlias = Mapping[str, Any]
"""What a batch says of one call: an object with ``result`` or ``error``, or an empty one when it says nothing."""
_REFERENCES = frozenset({"$ref", "$refArray"})


class Api(Protocol):
    """A version of the REST API."""

    path: str
    """Where methods are called, in front of the credentials of a webhook."""
    fails_as_a_whole: bool
    """Whether a batch says of all its calls nothing but the error of the first that is refused."""

    def parameters(self, method: str, params: Mapping[str, Any]) -> dict[str, Any]:
        """Bring the parameters of a call into the form that can be sent.

        :raises UnsendableValueError: when one of them cannot be sent, or poses as authorization.
        """

    def body(self, method: str, params: Mapping[str, Any], access_token: str | None) -> bytes:
        """Write a request's body."""

    def command(self, method: str, params: Mapping[str, Any], effect: Effect, *, halt: bool) -> str | None:
        """Write a call as a part of a batch.

        :param effect: what it does to make the call twice.
        :param halt: whether none is to be made after the first that fails.
        :return: ``None`` when it must go alone.
        """

    def batch(self, commands: Sequence[str], *, halt: bool) -> dict[str, Any]:
        """Give the parameters of a batch."""

    def split(self, result: Any, size: int) -> list[Answered]:
        """Take the result of a batch apart.

        :raises ValueError: when it is not understood.
        """


class _Version2:
    """The API that every method but the newest has.

    Documentation: https://apidocs.bitrix24.com/settings/how-to-call-rest-api/index.html
    """

    path = "/rest/"
    fails_as_a_whole = False

    def parameters(self, method: str, params: Mapping[str, Any]) -> dict[str, Any]:
        return parameters(method, params)

    def body(self, method: str, params: Mapping[str, Any], access_token: str | None) -> bytes:
        return json_body(params if access_token is None else {**params, "auth": access_token})

    def command(self, method: str, params: Mapping[str, Any], effect: Effect, *, halt: bool) -> str | None:
        return None if method.lower() == "batch" else command(method, params)

    def batch(self, commands: Sequence[str], *, halt: bool) -> dict[str, Any]:
        return {
            "halt": "1" if halt else "0",
            "cmd": {f"c{index}": text for index, text in enumerate(commands)},
        }

    def split(self, result: Any, size: int) -> list[Answered]:
        if not isinstance(result, dict):
            raise ValueError("no object")
        replies, errors, totals, nexts, times = (
            part if isinstance(part := result.get(name), dict) else {}
            for name in ("result", "result_error", "result_total", "result_next", "result_time")
        )
        answered: list[Answered] = []
        for key in (f"c{index}" for index in range(size)):
            if key in errors:
                error = errors[key]
                if not isinstance(error, Mapping):
                    error = {"error": "unknown_error", "error_description": str(error)}
                answered.append({"error": "", **error})
            elif key in replies:
                reply = {"result": replies[key], "total": totals.get(key), "next": nexts.get(key)}
                answered.append(reply | {"time": times.get(key)})
            else:
                answered.append({})
        return answered


class _Version3:
    """REST 3.0.

    Documentation: https://apidocs.bitrix24.com/api-reference/rest-v3.html
    """

    path = "/rest/api/"
    fails_as_a_whole = True

    def parameters(self, method: str, params: Mapping[str, Any]) -> dict[str, Any]:
        if method.lower() == "batch":
            raise UnsendableValueError(
                "batch: REST 3.0 takes an array there; give the calls to batch(..., api='v3')"
            )
        made = typed(params)
        refuse_auth(method, made)
        return made

    def body(self, method: str, params: Mapping[str, Any], access_token: str | None) -> bytes:
        if method.lower() != "batch":
            return json_body(params if access_token is None else {**params, "auth": access_token})
        if access_token is None:
            return f"[{','.join(params.values())}]".encode()
        # An array has no place for the access token: the official SDK for JavaScript numbers the calls, too.
        members = [*params.items(), ("auth", json.dumps(access_token))]
        return f"{{{','.join(f'{json.dumps(name)}:{text}' for name, text in members)}}}".encode()

    def command(self, method: str, params: Mapping[str, Any], effect: Effect, *, halt: bool) -> str | None:
        # A batch that fails does not say which of its calls were done: only what may be done again goes in.
        if effect is not Effect.READS and (effect is not Effect.SETS or halt):
            return None
        if _refers(params):
            return None
        return json_body({"method": method, "query": params}).decode()

    def batch(self, commands: Sequence[str], *, halt: bool) -> dict[str, Any]:
        return {str(index): text for index, text in enumerate(commands)}

    def split(self, result: Any, size: int) -> list[Answered]:
        if isinstance(result, dict):
            result = [result[str(index)] for index in range(size) if str(index) in result]
        if not isinstance(result, list) or len(result) != size:
            raise ValueError("not an answer for each call")
        return [{"result": one} for one in result]


def _refers(value: Any) -> bool:
    """Tell whether a batch would take a part of the parameters for a reference to another call's result."""
    if isinstance(value, dict):
        return not _REFERENCES.isdisjoint(value) or any(_refers(item) for item in value.values())
    return isinstance(value, list) and any(_refers(item) for item in value)


APIS: Mapping[ApiVersion, Api] = {"v2": _Version2(), "v3": _Version3()}
