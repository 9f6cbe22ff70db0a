"""Robots of one person's machine, registered beside those of everybody: their codes begin with ``dev.PREFIX.``."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from airflow_provider_b24.robots.definition import DEV_CODES, RobotDefinition, RobotDefinitionError

if TYPE_CHECKING:
    from airflow_provider_b24.robots.properties import Text

_PREFIX = re.compile(r"[A-Za-z0-9_-]{1,40}")
_LONGEST_CODE = 255


@dataclass(frozen=True, slots=True)
class DevPrefix:
    """Whose robots: a word for one person's machine, such as ``ivan``.

    :raises ValueError: when it is no such word.
    """

    word: str

    def __post_init__(self) -> None:
        if not _PREFIX.fullmatch(self.word):
            raise ValueError(f"A prefix has 1 to 40 of A-Z, a-z, 0-9, _ and -; {self.word!r} has not.")

    @property
    def start(self) -> str:
        """What the codes begin with."""
        return f"{DEV_CODES}{self.word}."

    def owns(self, code: str) -> bool:
        """Tell whether a registered code is one of this prefix."""
        return code.startswith(self.start)

    def stripped(self, code: str) -> str:
        """Give the code that the DAG declares; a code of something else as it is."""
        return code.removeprefix(self.start)

    def applied(self, definition: RobotDefinition) -> RobotDefinition:
        """Give a robot as it is registered under this prefix, with the prefix in its name, too.

        :raises RobotDefinitionError: when the code becomes too long.
        """
        code = self.start + definition.code
        if len(code) > _LONGEST_CODE:
            raise RobotDefinitionError(
                f"The code {code!r} is longer than {_LONGEST_CODE}; take a shorter prefix."
            )
        return replace(definition, code=code, name=self._named(definition.name))

    def _named(self, name: Text) -> Text:
        if isinstance(name, Mapping):
            return {language: f"{text} ({self.word})" for language, text in name.items()}
        return f"{name} ({self.word})"


def is_dev_code(code: str) -> bool:
    """Tell whether a registered robot is one of someone's machine."""
    return code.startswith(DEV_CODES)
