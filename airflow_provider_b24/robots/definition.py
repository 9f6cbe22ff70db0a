"""What a robot is, apart from what it does: :class:`RobotDefinition`."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from airflow_provider_b24.robots.answer_mark import MARK_KEY
from airflow_provider_b24.robots.properties import Property, Text, check_text, plain_text

Kind = Literal["robot", "activity"]

KINDS: tuple[Kind, ...] = ("robot", "activity")

ENVELOPE_KEYS = frozenset(
    {
        "event_token",
        "workflow_id",
        "code",
        "document_id",
        "document_type",
        "ts",
        "timeout_duration",
        "use_subscription",
        "member_id",
        "user_id",
        "properties",
        "answer_by",
        MARK_KEY,
    }
)
"""What a run's conf holds beside the properties; no property and no DAG param may have such a name."""

REPLY_TASK_ID = "reply"
REPLY_TASK_TYPE = "RobotReplyOperator"

DEV_CODES = "dev."
"""What the codes of robots begin with that `airflow-b24 dev` registers."""

_CODE = re.compile(r"[A-Za-z0-9._-]{1,255}")
_KEY = re.compile(r"[A-Za-z][A-Za-z0-9_]*")
LEAST_MARGIN, _GREATEST_MARGIN = 40.0, 300.0
_FILTER_KEYS = ("INCLUDE", "EXCLUDE")


class RobotDefinitionError(ValueError):
    """A robot that Bitrix24 would not accept, or that could not be called; the DAG file must be changed."""


@dataclass(frozen=True, slots=True)
class RobotDefinition:
    """Everything that is registered in the portal, and what the receiver must know to take a call.

    :param code: id of the robot within the application.
    :param name: what people see in the designer; a text, or one for each language.
    :param kind: ``robot`` (automation rule) or ``activity`` (workflow action).
    :param properties: inputs, by key.
    :param return_properties: outputs, by key.
    :param on_failure: values to answer with when the run fails, by key of a return property.
    :param description: help text; a text, or one for each language.
    :param use_subscription: whether the process waits for the answer.
    :param auth_user_id: the user whose tokens Bitrix24 sends along.
    :param document_type: three parts, such as ``("crm", "CCrmDocumentLead", "LEAD")``.
    :param filter: where the robot is offered: ``{"INCLUDE": [["crm", "CCrmDocumentDeal"]]}``.
    :param use_placement: whether the application shows settings of its own.
    :param placement_handler: address of these settings.
    :param bitrix24_conn_id: the Airflow connection of the portal.
    :param answer_before_limit: whether a process with a time limit gets ``on_failure`` before the limit, or how many
        seconds before; ``None``: where ``on_failure`` has values.

    Source: https://apidocs.bitrix24.com/api-reference/bizproc/bizproc-robot/bizproc-robot-add.html
    """

    code: str
    name: Text
    kind: Kind = "robot"
    properties: Mapping[str, Property] = field(default_factory=dict)
    return_properties: Mapping[str, Property] = field(default_factory=dict)
    on_failure: Mapping[str, Any] = field(default_factory=dict)
    description: Text | None = None
    use_subscription: bool = True
    auth_user_id: int | None = None
    document_type: Sequence[str] | None = None
    filter: Mapping[str, Sequence[Any]] | None = None
    use_placement: bool = False
    placement_handler: str | None = None
    bitrix24_conn_id: str = "bitrix24_default"
    answer_before_limit: bool | float | None = None

    def validate(self) -> None:
        """Check everything that can be checked without the portal.

        :raises ValueError: naming the property, or the argument, and what is wrong with it.
        """
        if not isinstance(self.code, str) or not _CODE.fullmatch(self.code):
            raise ValueError(
                f"code must consist of A-Z, a-z, 0-9, dot, hyphen and underscore, not {self.code!r}"
            )
        if self.code.startswith(DEV_CODES):
            raise ValueError(
                f"codes that begin with {DEV_CODES!r} are those of `airflow-b24 dev`, not {self.code!r}"
            )
        check_text(self.name, "name")
        if self.description is not None:
            check_text(self.description, "description")
        if self.kind not in KINDS:
            raise ValueError(f"kind is 'robot' or 'activity', not {self.kind!r}")
        _validate_properties("property", self.properties)
        _validate_properties("return property", self.return_properties)
        for key in self.properties:
            if key in ENVELOPE_KEYS:
                raise ValueError(f"property {key!r}: a call has a field of this name already; choose another")
        self._validate_on_failure()
        self._validate_place()
        margin = self.answer_before_limit
        if margin is not None and not isinstance(margin, bool):
            if not isinstance(margin, (int, float)) or not 0 < margin < float("inf"):
                raise ValueError(f"answer_before_limit is True, False or a positive time, not {margin!r}")
            if not self.use_subscription:
                raise ValueError(
                    "answer_before_limit has no use: with use_subscription=False no process waits"
                )

    def answer(self, values: Mapping[str, Any], *, complete: bool = True) -> dict[str, Any]:
        """Check an answer and convert it to what Bitrix24 takes.

        :param values: key of a return property to value.
        :param complete: whether required return properties must be there; a failure need not know them.
        :raises ValueError: for an unknown key, a value of the wrong type, or a missing required one.
        """
        from airflow_provider_b24.operators._values import encode_return_values

        if unknown := sorted(map(str, values.keys() - self.return_properties.keys())):
            known = ", ".join(self.return_properties) or "none"
            raise ValueError(
                f"{', '.join(unknown)}: no such return property of {self.code!r}; there are {known}"
            )
        answer: dict[str, Any] = {}
        for key, prop in self.return_properties.items():
            if key not in values:
                if prop.required and complete:
                    raise ValueError(f"return property {key!r} is required, but the answer does not have it")
                continue
            value = encode_return_values({key: values[key]})[key]
            try:
                answer[key] = prop.check(value)
            except ValueError as error:
                raise ValueError(f"return property {key!r}: {error}") from None
        return answer

    def margin(self, limit: float) -> float | None:
        """Tell how long before a process's time limit it gets ``on_failure``.

        Half a minute or more, to arrive on a busy machine; never more than half of the limit.

        :param limit: seconds that the process is ready to wait.
        :return: seconds; ``None`` when it is left to Bitrix24, which goes on by itself and sets ``IsTimeout``.
        """
        wanted = self.answer_before_limit
        if wanted is None:
            wanted = bool(self.on_failure)
        if wanted is False:
            return None
        if wanted is True:
            wanted = min(max(LEAST_MARGIN, limit / 5), _GREATEST_MARGIN)
        return min(wanted, limit / 2)

    def to_registration(self, handler_url: str) -> dict[str, Any]:
        """Give the parameters of ``bizproc.robot.add`` or ``bizproc.activity.add``.

        :param handler_url: address the calls are posted to.
        """
        registration: dict[str, Any] = {
            "CODE": self.code,
            "HANDLER": handler_url,
            "USE_SUBSCRIPTION": "Y" if self.use_subscription else "N",
            "NAME": plain_text(self.name),
            "PROPERTIES": {key: prop.to_bitrix() for key, prop in self.properties.items()},
            "RETURN_PROPERTIES": {key: prop.to_bitrix() for key, prop in self.return_properties.items()},
            "USE_PLACEMENT": "Y" if self.use_placement else "N",
        }
        optional = {
            "DESCRIPTION": self.description and plain_text(self.description),
            "AUTH_USER_ID": self.auth_user_id,
            "DOCUMENT_TYPE": self.document_type and list(self.document_type),
            "FILTER": self.filter and _plain_filter(self.filter),
            "PLACEMENT_HANDLER": self.placement_handler,
        }
        return registration | {name: value for name, value in optional.items() if value is not None}

    def to_json(self) -> dict[str, Any]:
        """Give a JSON-safe form for the serialized DAG."""
        plain = {name: value for name, value in asdict(self).items() if value is not None}
        plain["on_failure"] = self.answer(self.on_failure, complete=False)
        for group in ("properties", "return_properties"):
            plain[group] = {
                key: {name: value for name, value in prop.items() if value not in (None, False)}
                for key, prop in plain[group].items()
            }
        return plain

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> RobotDefinition:
        """Read what :meth:`to_json` gave.

        :raises ValueError: when it is something else.
        """
        try:
            groups = {
                group: {key: Property(**prop) for key, prop in data[group].items()}
                for group in ("properties", "return_properties")
            }
            return cls(**{**data, **groups})
        except (TypeError, KeyError, AttributeError) as error:
            raise ValueError(f"This is no robot definition: {error}") from None

    def _validate_on_failure(self) -> None:
        if not isinstance(self.on_failure, Mapping):
            raise ValueError(
                f"on_failure must be a mapping of return properties to values, not {self.on_failure!r}"
            )
        if self.on_failure:
            if not self.use_subscription:
                raise ValueError(
                    "on_failure has no use: with use_subscription=False no process waits for an answer"
                )
            try:
                self.answer(self.on_failure, complete=False)
            except ValueError as error:
                raise ValueError(f"on_failure: {error}") from None

    def _validate_place(self) -> None:
        if self.document_type is not None and not (
            _is_list(self.document_type)
            and len(self.document_type) == 3
            and all(isinstance(part, str) and part for part in self.document_type)
        ):
            raise ValueError(
                "document_type has three parts, such as ('crm', 'CCrmDocumentLead', 'LEAD'), "
                f"not {self.document_type!r}"
            )
        if self.filter is not None:
            _validate_filter(self.filter)
        if self.use_placement and not self.placement_handler:
            raise ValueError("use_placement needs placement_handler, the address of the settings page")
        if self.auth_user_id is not None and (
            not isinstance(self.auth_user_id, int)
            or isinstance(self.auth_user_id, bool)
            or self.auth_user_id < 1
        ):
            raise ValueError(f"auth_user_id is the number of a user, not {self.auth_user_id!r}")


def definition_of(dag: Any) -> RobotDefinition | None:
    """Read the definition of a robot from its DAG, as written or as Airflow's database keeps it.

    :param dag: a DAG, or a serialized one.
    :return: ``None`` when the DAG was not made by ``robot_dag``.
    """
    reply = dag.task_dict.get(REPLY_TASK_ID)
    if reply is None or getattr(reply, "task_type", None) != REPLY_TASK_TYPE or not reply.doc_json:
        return None
    return RobotDefinition.from_json(json.loads(reply.doc_json))


def _validate_properties(what: str, properties: Mapping[str, Property]) -> None:
    if not isinstance(properties, Mapping):
        raise ValueError(f"a {what} needs a key: give a mapping, not {properties!r}")
    for key, prop in properties.items():
        if not isinstance(key, str) or not _KEY.fullmatch(key):
            raise ValueError(f"{what} {key!r}: its key must be a letter, then letters, digits and _")
        if not isinstance(prop, Property):
            raise ValueError(f"{what} {key!r}: use Property.string(...) and the like, not {prop!r}")
        try:
            prop.validate()
        except ValueError as error:
            raise ValueError(f"{what} {key!r}: {error}") from None


def _validate_filter(given: Mapping[str, Sequence[Any]]) -> None:
    if not isinstance(given, Mapping) or not given or any(key not in _FILTER_KEYS for key in given):
        raise ValueError(f"filter has the keys INCLUDE and EXCLUDE, not {given!r}")
    for rules in given.values():
        if not _is_list(rules) or not all(
            isinstance(rule, str) or (_is_list(rule) and all(isinstance(part, str) for part in rule))
            for rule in rules
        ):
            raise ValueError(
                "each rule of filter is 'b24', 'box' or the beginning of a document type such as "
                f"['crm', 'CCrmDocumentDeal'], not {rules!r}"
            )


def _plain_filter(given: Mapping[str, Sequence[Any]]) -> dict[str, list[Any]]:
    return {
        key: [rule if isinstance(rule, str) else list(rule) for rule in rules] for key, rules in given.items()
    }


def _is_list(value: object) -> bool:
    return isinstance(value, Sequence) and not isinstance(value, (str, bytes))
