"""One input or output of a robot: :class:`Property`."""

from __future__ import annotations

import builtins
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypedDict, Unpack

from airflow_provider_b24.robots._types import VALUE_TYPES, TypeName

if TYPE_CHECKING:
    from airflow.sdk import Param

Text = str | Mapping[str, str]
"""A text, or one for each language: ``{"en": "Model", "de": "Modell"}``."""

_LANGUAGE = re.compile(r"[a-z]{2}(?:[_-][A-Za-z]{2,4})?")


class Settings(TypedDict, total=False):
    """What every property may say; explained at :class:`Property`."""

    description: Text | None
    required: bool
    multiple: bool
    default: Any


@dataclass(frozen=True, slots=True)
class Property:
    """An input or output of a robot, made by one of the class methods, each named after Bitrix24's type.

    ``Property.int("Limit", description=None, required=False, multiple=False, default=None)``, and so the others.
    Nothing is checked here: ``robot_dag`` does it, where it can name the file, the robot and the property.

    :param type: Bitrix24's type.
    :param name: what people see in the robot's settings; a text, or one for each language.
    :param description: help text; a text, or one for each language.
    :param required: whether the settings must be filled in.
    :param multiple: whether it holds a list of values.
    :param default: what the settings begin with; a list if ``multiple``. An expression of the process designer
        (``{=Document:TITLE}``; ``Author;`` for a user) is passed to the portal as it is.
    :param options: the choices of a ``select``: key to title.

    Source: https://apidocs.bitrix24.com/api-reference/bizproc/bizproc-robot/bizproc-robot-add.html
    """

    type: TypeName
    name: Text
    description: Text | None = None
    required: builtins.bool = False
    multiple: builtins.bool = False
    default: Any = None
    options: Mapping[str, str] | None = None

    @classmethod
    def bool(cls, name: Text, **settings: Unpack[Settings]) -> Property:
        """Declare yes or no: ``True`` or ``False``."""
        return cls("bool", name, **settings)

    @classmethod
    def date(cls, name: Text, **settings: Unpack[Settings]) -> Property:
        """Declare a day: ``2026-12-25``. See :meth:`datetime` for what is read."""
        return cls("date", name, **settings)

    @classmethod
    def datetime(cls, name: Text, **settings: Unpack[Settings]) -> Property:
        """Declare a moment: ISO 8601 with offset.

        Known are ISO 8601 and what the REST documentation shows of portal settings: ``25.12.2026 10:00:00`` and
        ``12/25/2026 10:00:00 am`` (with slashes the month comes first). A time without offset is in Airflow's
        ``[core] default_timezone``.

        Source: https://apidocs.bitrix24.com/api-reference/data-types.html
        """
        return cls("datetime", name, **settings)

    @classmethod
    def double(cls, name: Text, **settings: Unpack[Settings]) -> Property:
        """Declare a number: ``float``."""
        return cls("double", name, **settings)

    @classmethod
    def file(cls, name: Text, **settings: Unpack[Settings]) -> Property:
        """Declare a file: its id or address as text. In an answer also ``[name, content in base64]``."""
        return cls("file", name, **settings)

    @classmethod
    def int(cls, name: Text, **settings: Unpack[Settings]) -> Property:
        """Declare a whole number: ``int``."""
        return cls("int", name, **settings)

    @classmethod
    def select(cls, name: Text, options: Mapping[str, str], **settings: Unpack[Settings]) -> Property:
        """Declare a choice: the key of one of ``options``."""
        return cls("select", name, options=options, **settings)

    @classmethod
    def string(cls, name: Text, **settings: Unpack[Settings]) -> Property:
        """Declare a line of text."""
        return cls("string", name, **settings)

    @classmethod
    def text(cls, name: Text, **settings: Unpack[Settings]) -> Property:
        """Declare text of several lines."""
        return cls("text", name, **settings)

    @classmethod
    def user(cls, name: Text, **settings: Unpack[Settings]) -> Property:
        """Declare an employee: the number in ``user_14``."""
        return cls("user", name, **settings)

    def validate(self) -> None:
        """Check the declaration itself.

        :raises ValueError: with what is wrong.
        """
        if self.type not in VALUE_TYPES:
            raise ValueError(f"there is no property type {self.type!r}; there are {', '.join(VALUE_TYPES)}")
        check_text(self.name, "name")
        if self.description is not None:
            check_text(self.description, "description")
        self._validate_options()
        if self.default is None or self._default_is_expression:
            return
        try:
            default = self.parse(self.default)
        except ValueError as error:
            raise ValueError(f"its default does not fit: {error}") from None
        if default in (None, []):
            raise ValueError("its default is empty; leave it out")

    def to_bitrix(self) -> dict[str, Any]:
        """Describe it as ``bizproc.robot.add`` takes it."""
        described: dict[str, Any] = {"Name": plain_text(self.name)}
        if self.description is not None:
            described["Description"] = plain_text(self.description)
        described["Type"] = self.type
        described["Required"] = "Y" if self.required else "N"
        described["Multiple"] = "Y" if self.multiple else "N"
        if self.options is not None:
            described["Options"] = dict(self.options)
        if self.default is not None:
            described["Default"] = self.default if self._default_is_expression else self.check(self.default)
        return described

    def to_param(self) -> Param:
        """Make the DAG param: the field of Airflow's trigger form, and what Airflow checks a run's conf with."""
        from airflow.sdk import Param

        schema = self._element_schema()
        if self.multiple:
            schema = self._list_schema(schema)
        if not self.required:
            schema["type"] = ["null", schema["type"]]
            if "enum" in schema:
                schema["enum"] = [*schema["enum"], None]
        schema["title"] = in_one_language(self.name)
        description = None if self.description is None else in_one_language(self.description)
        default = self.initial()
        if default is None and self.required:
            return Param(description=description, **schema)
        return Param(default, description=description, **schema)

    def parse(self, raw: object) -> Any:
        """Read a value as Bitrix24 posts it: ``Y``, ``user_14``, ``25.12.2026``, empty text, lists.

        :param raw: text, or a list of texts; typed values are taken too.
        :return: the typed, JSON-safe value; ``None`` or ``[]`` when it is empty and need not be filled in.
        :raises ValueError: when the value is not of this type, or empty though required.
        """
        elements = [self._read(element) for element in _elements(raw) if element not in (None, "")]
        if not elements:
            if self.required:
                raise ValueError("a value is required, but it is empty")
            return [] if self.multiple else None
        if self.multiple:
            return elements
        if len(elements) > 1:
            raise ValueError(f"{len(elements)} values for a property that is not multiple")
        return elements[0]

    def check(self, value: object) -> Any:
        """Convert a value to what Bitrix24 takes for this property, in an answer or as a default.

        :raises ValueError: when the value is not of this type, or empty though required.
        """
        if self.type == "file" and not self.multiple and _is_file_content(value):
            return list(value) if isinstance(value, Sequence) else value
        parsed = self.parse(value)
        if parsed is None:
            return ""
        write = VALUE_TYPES[self.type].write
        return [write(element) for element in parsed] if self.multiple else write(parsed)

    def initial(self) -> Any:
        """Give the typed default, ``None`` when there is none or only the process can compute it."""
        return None if self.default is None or self._default_is_expression else self.parse(self.default)

    @property
    def _default_is_expression(self) -> builtins.bool:
        default = self.default
        if not isinstance(default, str):
            return False
        return (default.startswith("{=") and default.endswith("}")) or (
            self.type == "user" and default.endswith(";")
        )

    def _validate_options(self) -> None:
        if self.type != "select":
            if self.options is not None:
                raise ValueError(f"options belong to a select, not to a property of type {self.type}")
            return
        if not isinstance(self.options, Mapping) or not self.options:
            raise ValueError("a select needs options: a mapping of keys to titles")
        for key, title in self.options.items():
            if not isinstance(key, str) or not key or not isinstance(title, str) or not title:
                raise ValueError(f"the option {key!r}: {title!r} must be a text with a text as its title")

    def _read(self, raw: object) -> Any:
        value = VALUE_TYPES[self.type].read(raw)
        if self.options is not None and value not in self.options:
            raise ValueError(f"{value!r} is none of the options {', '.join(map(repr, self.options))}")
        return value

    def _element_schema(self) -> dict[str, Any]:
        schema = dict(VALUE_TYPES[self.type].schema)
        if self.options is not None:
            schema["enum"] = list(self.options)
            schema["values_display"] = dict(self.options)
        elif self.required and schema["type"] == "string" and schema.get("format") in (None, "multiline"):
            schema["minLength"] = 1
        return schema

    def _list_schema(self, element: dict[str, Any]) -> dict[str, Any]:
        schema: dict[str, Any] = {"type": "array"}
        if self.options is not None:
            # The form offers `examples` of an array as a pick list; what counts is the enum of its items.
            schema["examples"] = list(self.options)
            schema["values_display"] = element.pop("values_display")
        schema["items"] = element
        if self.required:
            schema["minItems"] = 1
        return schema


def check_text(text: object, what: str) -> None:
    """Check a text that people will see.

    :raises ValueError: when it is empty, or not a text for each language.
    """
    if isinstance(text, str) and text.strip():
        return
    if isinstance(text, Mapping) and text:
        for language, words in text.items():
            if not isinstance(language, str) or not _LANGUAGE.fullmatch(language):
                raise ValueError(f"its {what} has {language!r} where a language such as 'en' belongs")
            if not isinstance(words, str) or not words.strip():
                raise ValueError(f"its {what} is empty in {language!r}")
        return
    raise ValueError(f"its {what} must be a text, or one for each language, not {text!r}")


def in_one_language(text: Text) -> str:
    """Choose the English text, else the first."""
    if isinstance(text, str):
        return text
    return text.get("en") or next(iter(text.values()))


def plain_text(text: Text) -> str | dict[str, str]:
    """Give the text as JSON holds it."""
    return text if isinstance(text, str) else dict(text)


def _elements(raw: object) -> Sequence[object]:
    """List the values of a property: PHP lists can arrive as mappings with numbers for keys."""
    if isinstance(raw, Mapping):
        if not all(str(key).isdigit() for key in raw):
            raise ValueError("it has named parts, which no property type has")
        return [raw[key] for key in sorted(raw, key=lambda key: int(str(key)))]
    if isinstance(raw, Sequence) and not isinstance(raw, (str, bytes, bytearray)):
        return raw
    return [raw]


def _is_file_content(value: object) -> bool:
    return (
        isinstance(value, Sequence)
        and not isinstance(value, (str, bytes, bytearray))
        and len(value) == 2
        and all(isinstance(part, str) and part for part in value)
    )
