"""One call of a robot: :class:`RobotCall`, from the form Bitrix24 posts to the conf of a DAG run and back."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from airflow_provider_b24.robots.definition import ENVELOPE_KEYS, RobotDefinition, definition_of

if TYPE_CHECKING:
    import pendulum
    from airflow.sdk import Context

_ENTITY_TYPE_IDS = {
    "LEAD": 1,
    "DEAL": 2,
    "CONTACT": 3,
    "COMPANY": 4,
    "INVOICE": 5,
    "QUOTE": 7,
    "SMART_INVOICE": 31,
    "SMART_DOCUMENT": 36,
    "SMART_B2E_DOC": 39,
}
RESERVED_KEYS = frozenset({"__classname__", "__id__", "__type", "__var"})
"""Airflow's serializers take an object with one of these keys for a class to be imported, or refuse it."""

_CRM_ID = re.compile(r"(?P<type>[A-Z][A-Z0-9_]*?)(?:_(?P<dynamic>\d+))?_(?P<item>\d+)")


class MalformedCallError(ValueError):
    """What was posted, or is kept in the conf, is no robot call. The message holds no secret."""


class UnfitCallError(ValueError):
    """Values of a call do not fit the robot's properties.

    :param reasons: key of a property to what is wrong with its value.
    """

    def __init__(self, reasons: Mapping[str, str]) -> None:
        super().__init__("; ".join(f"{key}: {reason}" for key, reason in reasons.items()))
        self.reasons = dict(reasons)


@dataclass(frozen=True, slots=True)
class Document:
    """What the process works on.

    :param module: such as ``crm``.
    :param entity: entity class, such as ``CCrmDocumentLead``.
    :param id: id within the entity, such as ``LEAD_77``.
    """

    module: str
    entity: str
    id: str

    @property
    def entity_type_id(self) -> int | None:
        """``entityTypeId`` of ``crm.item.get``: 1 for a lead, 147 for ``DYNAMIC_147_1``; ``None`` outside the CRM.

        Source: https://apidocs.bitrix24.com/api-reference/crm/data-types.html
        """
        match = self._crm_id
        if match is None:
            return None
        if match["type"] == "DYNAMIC":
            return int(match["dynamic"]) if match["dynamic"] else None
        return None if match["dynamic"] else _ENTITY_TYPE_IDS.get(match["type"])

    @property
    def item_id(self) -> int | None:
        """``id`` of ``crm.item.get``: 77 for ``LEAD_77``; ``None`` outside the CRM."""
        match = self._crm_id
        return int(match["item"]) if match and self.entity_type_id is not None else None

    @property
    def _crm_id(self) -> re.Match[str] | None:
        return _CRM_ID.fullmatch(self.id) if self.module == "crm" else None


class PropertyValues(Mapping[str, Any]):
    """The inputs of a call: ``properties.model`` or ``properties["model"]``.

    A property whose key is also a method of mappings (``keys``, ``items``, ``values``, ``get``) is reached with
    brackets only.
    """

    __slots__ = ("_values",)

    def __init__(self, values: Mapping[str, Any]) -> None:
        self._values = dict(values)

    def __getattr__(self, key: str) -> Any:
        if key.startswith("_") or key not in self._values:
            known = "" if key.startswith("_") else f"; there are {', '.join(self._values) or 'none'}"
            raise AttributeError(f"The call has no property {key!r}{known}.")
        return self._values[key]

    def __getitem__(self, key: str) -> Any:
        return self._values[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def __repr__(self) -> str:
        return f"PropertyValues({self._values!r})"


@dataclass(frozen=True, slots=True)
class Envelope:
    """What can be read of a call without knowing its robot.

    :param event_token: the capability to answer, once.
    :param workflow_id: id of the process.
    :param code: code of the robot.
    :param document: what the process works on.
    :param document_type: module, entity class and type; empty when the call did not say.
    :param ts: Unix time in seconds at which the call was sent; 0 when the call did not say.
    :param timeout_duration: seconds that the process is ready to wait; 0 means no limit.
    :param use_subscription: whether the process waits for an answer.
    :param member_id: id of the portal.
    :param user_id: the user behind the call.
    """

    event_token: str = field(repr=False)
    workflow_id: str
    code: str
    document: Document
    document_type: tuple[str, ...] = ()
    ts: int = 0
    timeout_duration: int = 0
    use_subscription: bool = True
    member_id: str | None = None
    user_id: int | None = None

    @classmethod
    def read(cls, fields: Mapping[str, Any], auth: Mapping[str, Any]) -> Envelope:
        """Read the fields, as Bitrix24 posts them or as a run's conf has them.

        :param auth: where the member and the user are.
        :raises MalformedCallError: when it is no robot call at all.
        """
        return cls(
            event_token=_text(fields, "event_token"),
            workflow_id=_text(fields, "workflow_id"),
            code=_text(fields, "code"),
            document=Document(*_three_texts(fields, "document_id")),
            document_type=_three_texts(fields, "document_type") if fields.get("document_type") else (),
            ts=_number(fields, "ts"),
            timeout_duration=_number(fields, "timeout_duration"),
            use_subscription=_waits(fields.get("use_subscription")),
            member_id=_optional_text(auth, "member_id"),
            user_id=_number(auth, "user_id") or None,
        )

    @classmethod
    def from_form(cls, fields: Mapping[str, Any]) -> Envelope:
        """Read the form that Bitrix24 posts, brackets already resolved.

        :param fields: nested mappings, lists and texts.
        :raises MalformedCallError: when it is no robot call at all, or has properties that no process can post.
        """
        _raw_properties(fields)
        auth = fields.get("auth")
        return cls.read(fields, auth if isinstance(auth, Mapping) else {})


@dataclass(frozen=True, slots=True)
class RobotCall:
    """What Bitrix24 said when it called a robot.

    :param token: the event token as the run's conf has it, sealed; empty for a run that was started by hand.
    :param workflow_id: id of the process.
    :param code: code of the robot.
    :param document: what the process works on.
    :param document_type: module, entity class and type; empty when the call did not say.
    :param properties: typed inputs.
    :param ts: Unix time in seconds at which the call was sent.
    :param timeout_duration: seconds that the process is ready to wait; 0 means no limit.
    :param use_subscription: whether the process waits for an answer.
    :param member_id: id of the portal.
    :param user_id: the user behind the call.
    :param answer_by: Unix time in seconds until which this run may answer; ``None`` without limit.
    :param params: the inputs that the robot declares, as the DAG's params take them.
    """

    token: str = field(repr=False)
    workflow_id: str
    code: str
    document: Document
    document_type: tuple[str, ...] = ()
    properties: PropertyValues = field(default_factory=lambda: PropertyValues({}))
    ts: int = 0
    timeout_duration: int = 0
    use_subscription: bool = True
    member_id: str | None = None
    user_id: int | None = None
    answer_by: float | None = None
    params: Mapping[str, Any] = field(default_factory=dict, repr=False)

    @classmethod
    def from_form(cls, fields: Mapping[str, Any], definition: RobotDefinition) -> RobotCall:
        """Read the form that Bitrix24 posts, brackets already resolved.

        A property that the form does not have gets its default: the robot may have been put into the process
        before the property existed.

        :param fields: nested mappings, lists and texts.
        :param definition: the robot that is called.
        :raises MalformedCallError: when it is no robot call at all.
        :raises UnfitCallError: when values do not fit the robot's properties.
        """
        envelope, values = Envelope.from_form(fields), _read_properties(_raw_properties(fields), definition)
        return cls._of(envelope, values, {key: values[key] for key in definition.properties})

    @classmethod
    def from_conf(cls, conf: Mapping[str, Any]) -> RobotCall:
        """Read the conf of a DAG run that a robot call started.

        :raises MalformedCallError: when a robot call did not start it.
        """
        properties = conf.get("properties") or {}
        if not isinstance(properties, Mapping):
            raise MalformedCallError("properties of a robot call must be a mapping.")
        params = {key: value for key, value in conf.items() if key not in ENVELOPE_KEYS}
        return cls._of(Envelope.read(conf, conf), properties, params, _number(conf, "answer_by") or None)

    @classmethod
    def from_context(cls, context: Context | None = None) -> RobotCall:
        """Read the call that started the current DAG run.

        A run that was started by hand has a call, too: with the values of the trigger form, and without event
        token, process and document (:attr:`started_by_hand`).

        :param context: the context of the task; found by itself inside a task.
        """
        if context is None:
            from airflow.sdk import get_current_context

            context = get_current_context()
        conf = context["dag_run"].conf or {}
        if is_robot_call(conf):
            return cls.from_conf(conf)
        definition = definition_of(context["dag"])
        values = {key: context["params"][key] for key in (definition.properties if definition else {})}
        code = definition.code if definition else ""
        return cls("", "", code, Document("", "", ""), (), PropertyValues(values))

    @classmethod
    def _of(
        cls,
        envelope: Envelope,
        properties: Mapping[str, Any],
        params: Mapping[str, Any],
        answer_by: float | None = None,
    ) -> RobotCall:
        return cls(
            token=envelope.event_token,
            workflow_id=envelope.workflow_id,
            code=envelope.code,
            document=envelope.document,
            document_type=envelope.document_type,
            properties=PropertyValues(properties),
            ts=envelope.ts,
            timeout_duration=envelope.timeout_duration,
            use_subscription=envelope.use_subscription,
            member_id=envelope.member_id,
            user_id=envelope.user_id,
            answer_by=answer_by,
            params=params,
        )

    def to_conf(self) -> dict[str, Any]:
        """Give the conf of the DAG run: everything a DAG needs, no credential but :attr:`token`.

        Each property is a key of its own as well, because DAG params are read from there.
        """
        envelope = {
            "event_token": self.token,
            "workflow_id": self.workflow_id,
            "code": self.code,
            "document_id": [self.document.module, self.document.entity, self.document.id],
            "document_type": list(self.document_type),
            "ts": self.ts,
            "timeout_duration": self.timeout_duration,
            "use_subscription": "Y" if self.use_subscription else "N",
            "member_id": self.member_id,
            "user_id": self.user_id,
            "properties": dict(self.properties),
            "answer_by": self.answer_by,
        }
        return dict(self.params) | envelope

    @property
    def event_token(self) -> str:
        """The capability to answer, once, unsealed; empty for a run that was started by hand.

        :raises SealedTokenError: when the connection's secret was changed after the call came.
        """
        from airflow_provider_b24.hooks.sealing import unseal

        return unseal(self.token) if self.token else ""

    @property
    def started_by_hand(self) -> bool:
        """Whether no process waits, because a person started the DAG run."""
        return not self.token

    @property
    def sent_at(self) -> pendulum.DateTime:
        """When the call was sent."""
        import pendulum

        return pendulum.from_timestamp(self.ts)

    @property
    def deadline(self) -> pendulum.DateTime | None:
        """When the process stops waiting; ``None`` when it has no limit."""
        return self.sent_at.add(seconds=self.timeout_duration) if self.timeout_duration else None


def is_robot_call(conf: Mapping[str, Any] | None) -> bool:
    """Tell whether a DAG run of this conf was started by a robot call, and not by hand."""
    return bool(conf and conf.get("event_token"))


def _raw_properties(fields: Mapping[str, Any]) -> Mapping[str, Any]:
    raw = fields.get("properties") or {}  # PHP posts an empty list where there is nothing
    if not isinstance(raw, Mapping):
        raise MalformedCallError("properties must have names, but a list was posted.")
    if _has_reserved_key(raw):
        # No process can post them, and no task of the run could be started with them.
        raise MalformedCallError(f"properties must not hold {', '.join(sorted(RESERVED_KEYS))}.")
    return raw


def _read_properties(raw: Mapping[str, Any], definition: RobotDefinition) -> dict[str, Any]:
    values: dict[str, Any] = {
        str(key): value for key, value in raw.items() if key not in definition.properties
    }
    unfit: dict[str, str] = {}
    for key, prop in definition.properties.items():
        try:
            default = prop.initial() if key not in raw else None
            values[key] = prop.parse(raw.get(key)) if default is None else default
        except ValueError as error:
            unfit[key] = str(error)
    if unfit:
        raise UnfitCallError(unfit)
    return values


def _has_reserved_key(value: object) -> bool:
    if isinstance(value, Mapping):
        return not RESERVED_KEYS.isdisjoint(value) or any(map(_has_reserved_key, value.values()))
    return isinstance(value, list) and any(map(_has_reserved_key, value))


def _text(fields: Mapping[str, Any], name: str) -> str:
    value = fields.get(name)
    if not isinstance(value, str) or not value.strip():
        raise MalformedCallError(f"{name} is missing or no text.")
    return value


def _optional_text(fields: Mapping[str, Any], name: str) -> str | None:
    value = fields.get(name)
    return value if isinstance(value, str) and value else None


def _three_texts(fields: Mapping[str, Any], name: str) -> tuple[str, str, str]:
    parts = fields.get(name)
    if isinstance(parts, Mapping):
        parts = (
            [parts.get(number, parts.get(str(number))) for number in range(3)] if len(parts) == 3 else None
        )
    if not isinstance(parts, Sequence) or isinstance(parts, str) or len(parts) != 3:
        raise MalformedCallError(f"{name} must have three parts.")
    first, second, third = parts
    if not (isinstance(first, str) and isinstance(second, str) and isinstance(third, str)):
        raise MalformedCallError(f"{name} must consist of texts.")
    if not (first and second and third):
        raise MalformedCallError(f"{name} has an empty part.")
    return first, second, third


def _number(fields: Mapping[str, Any], name: str) -> int:
    value = fields.get(name)
    if value is None or value == "":
        return 0
    text = str(value)
    # Of eleven digits, two together are still a moment that Python and databases know.
    if not text.isascii() or not text.isdigit() or len(text) > 11:
        raise MalformedCallError(f"{name} must be a whole number.")
    return int(text)


def _waits(value: object) -> bool:
    """Only an explicit ``N`` means that the process does not wait."""
    return not (isinstance(value, str) and value.strip().upper() == "N")
