"""What is asked of a portal and what comes back: :class:`Call` and :class:`Reply`."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from airflow_provider_b24.rest.apis import APIS, ApiVersion
from airflow_provider_b24.rest.encoding import UnsendableValueError

_METHOD = re.compile(r"[A-Za-z0-9_]+(?:\.[A-Za-z0-9_]+)*\Z")
_IDEMPOTENCY_KEY = re.compile(r"[\x21-\x7e]{1,255}\Z")


@dataclass(frozen=True, slots=True)
class Call:
    """One call of a REST method.

    The parameters do not appear in ``repr``: they may hold event tokens and personal data.

    :param method: name of the REST method, such as ``crm.deal.list``.
    :param params: its parameters; see :func:`airflow_provider_b24.rest.encoding.plain` for the values that can
        be sent and how each of them arrives.
    :param repeatable: whether the call may be sent again after a failure that leaves open whether the portal
        has carried it out. ``None`` decides by what is known about the method: see
        :mod:`airflow_provider_b24.rest.methods`.
    :param deadline: seconds it may take in all, waiting and repeating included; ``None`` for that of the batch, or of
        the client.
    :param name: how later calls of the same batch refer to its result, with
        :class:`~airflow_provider_b24.rest.encoding.Ref`.
    :param api: ``v2``, or ``v3`` for REST 3.0, which has methods of its own, takes JSON with its types, and answers in
        its own form.
    :param idempotency_key: with REST 3.0, what names this one call: 1 to 255 printable ASCII characters. For 24 hours
        the portal answers a repetition with the result of the first time instead of doing it again.
    :raises UnsendableValueError: when ``method`` is no method name, or one of the others is not what it should be.

    Documentation: https://apidocs.bitrix24.com/api-reference/rest-v3.html
    """

    method: str
    params: Mapping[str, Any] = field(default_factory=dict, repr=False)
    repeatable: bool | None = None
    deadline: float | None = None
    api: ApiVersion = "v2"
    idempotency_key: str | None = field(default=None, repr=False)
    name: str | None = field(default=None, kw_only=True)

    def __post_init__(self) -> None:
        if not isinstance(self.method, str) or not _METHOD.match(self.method):
            raise UnsendableValueError(
                f"{self.method!r} is no REST method name: expected words joined by dots, such as 'crm.deal.list'"
            )
        if not isinstance(self.params, Mapping):
            raise UnsendableValueError(
                f"The parameters of {self.method} must be a mapping of names to values, "
                f"not {type(self.params).__name__}"
            )
        if self.api not in APIS:
            raise UnsendableValueError(f"{self.method}: api is 'v2' or 'v3', not {self.api!r}")
        key = self.idempotency_key
        if key is None:
            return
        if self.api == "v2":
            raise UnsendableValueError(f"{self.method}: an idempotency key needs REST 3.0 (api='v3')")
        if not isinstance(key, str) or not _IDEMPOTENCY_KEY.match(key):
            raise UnsendableValueError(
                f"{self.method}: an idempotency key is 1 to 255 printable ASCII characters without spaces"
            )


def answer_params(
    event_token: str, return_values: Mapping[str, Any] | None, log_message: str | None
) -> dict[str, Any]:
    """Put together the parameters of ``bizproc.event.send``.

    :raises UnsendableValueError: when there is no event token.
    """
    if not isinstance(event_token, str) or not event_token:
        raise UnsendableValueError("An answer needs the event token of the call that it answers")
    params: dict[str, Any] = {"EVENT_TOKEN": event_token}
    if return_values:
        params["RETURN_VALUES"] = dict(return_values)
    if log_message:
        params["LOG_MESSAGE"] = log_message
    return params


@dataclass(frozen=True, slots=True)
class ReplyTime:
    """The portal's account of how long a call took.

    :param start: Unix time at which the portal began, in seconds.
    :param finish: Unix time at which it was done, in seconds.
    :param duration: seconds from start to finish.
    :param processing: seconds the method itself ran.
    :param date_start: ``start`` in ISO 8601 with the portal's offset.
    :param date_finish: ``finish`` in ISO 8601 with the portal's offset.
    :param operating: seconds this method has used up of its operating time, ``None`` if the portal does not count.
    :param operating_reset_at: Unix time at which the oldest part of ``operating`` is forgotten.

    Documentation: https://apidocs.bitrix24.com/limits.html
    """

    start: float = 0.0
    finish: float = 0.0
    duration: float = 0.0
    processing: float = 0.0
    date_start: str = ""
    date_finish: str = ""
    operating: float | None = None
    operating_reset_at: float | None = None

    @classmethod
    def from_json(cls, data: object) -> ReplyTime | None:
        """Read the ``time`` object of an answer; ``None`` when there is none or it makes no sense."""
        if not isinstance(data, dict) or not data:
            return None
        try:
            operating = data.get("operating")
            reset_at = data.get("operating_reset_at")
            return cls(
                float(data.get("start") or 0),
                float(data.get("finish") or 0),
                float(data.get("duration") or 0),
                float(data.get("processing") or 0),
                str(data.get("date_start") or ""),
                str(data.get("date_finish") or ""),
                None if operating is None else float(operating),
                None if reset_at is None else float(reset_at),
            )
        except (TypeError, ValueError, OverflowError):
            return None


@dataclass(frozen=True, slots=True)
class Reply:
    """What the portal answered to a call that succeeded.

    :param result: the method's result.
    :param total: number of records of the whole list, for list methods that count.
    :param next: ``start`` of the next page, for list methods; ``None`` on the last page.
    :param time: the portal's account of the time it took.
    :param replayed: whether this is the kept result of an earlier call with the same idempotency key.
    """

    result: Any
    total: int | None = None
    next: int | None = None
    time: ReplyTime | None = None
    replayed: bool = False

    @classmethod
    def from_json(cls, data: Mapping[str, Any], *, replayed: bool = False) -> Reply:
        """Read an answer's body that is known to hold a ``result``."""
        return cls(
            data["result"],
            _whole_number(data.get("total")),
            _whole_number(data.get("next")),
            ReplyTime.from_json(data.get("time")),
            replayed,
        )


def _whole_number(value: object) -> int | None:
    if isinstance(value, (int, str)) and not isinstance(value, bool):
        try:
            return int(value)
        except ValueError:
            return None
    return None
