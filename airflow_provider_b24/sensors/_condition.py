"""When a sensor is satisfied with what a REST method answered."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jinja2.environment import TemplateExpression
    from jinja2.sandbox import SandboxedEnvironment

Condition = str | Callable[[Any], Any] | None

SHORTEST_LOOK = 2.0
"""Seconds. Asking once may take so long even if the sensor's time is shorter, or over."""


class ConditionError(ValueError):
    """A condition that cannot be judged, now or later."""


def holds(condition: Condition, result: Any) -> bool:
    """Judge a result.

    :param condition: ``None``: the result is not empty. Text: a Jinja expression about ``result``, such as
        ``result.STAGE_ID == 'WON'``; one about something that is not there does not hold. Anything else: called with
        the result.
    :param result: what the method answered.
    :raises ConditionError: when an expression cannot be judged.
    """
    if condition is None:
        return not is_empty(result)
    if not isinstance(condition, str):
        return bool(condition(result))
    from jinja2 import UndefinedError

    try:
        value = compiled(condition)(result=result)
    except UndefinedError:
        return False
    except Exception as error:
        raise ConditionError(
            f"The condition {condition!r} cannot be judged: {type(error).__name__}: {error}"
        ) from error
    if callable(value):
        raise ConditionError(f"The condition {condition!r} cannot be judged: it gives a function, no value")
    return bool(value)


def is_empty(result: Any) -> bool:
    """Tell whether a result holds nothing: also a list under a key, such as ``{"items": []}``."""
    if not isinstance(result, Mapping):
        return not result
    has_rows_or_none = any(isinstance(value, (list, dict)) for value in result.values())
    return not any(result.values()) and (has_rows_or_none or not result)


@cache
def compiled(expression: str) -> TemplateExpression:
    """Compile a Jinja expression.

    :raises ConditionError: when it is none; the message shows it.
    """
    from jinja2 import TemplateSyntaxError

    try:
        return _environment().compile_expression(expression)
    except TemplateSyntaxError as error:
        raise ConditionError(
            f"The condition {expression!r} is no Jinja expression: {error.message}"
        ) from None


@cache
def _environment() -> SandboxedEnvironment:
    from jinja2.sandbox import SandboxedEnvironment

    class KeysFirst(SandboxedEnvironment):
        """Takes ``result.items`` for the key of a mapping, and for its method only if it has no such key."""

        def getattr(self, obj: Any, attribute: str) -> Any:
            if isinstance(obj, Mapping) and attribute in obj:
                return obj[attribute]
            return super().getattr(obj, attribute)

    return KeysFirst()
