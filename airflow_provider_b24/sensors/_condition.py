"""When a sensor is satisfied with what a REST method answered."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jinja2.environment import TemplateExpression

Condition = str | Callable[[Any], Any] | None


def holds(condition: Condition, result: Any) -> bool:
    """Judge a result.

    :param condition: ``None``: the result is not empty. Text: a Jinja expression about ``result``, such as
        ``result.STAGE_ID == 'WON'``. Anything else: called with the result.
    :param result: what the method answered.
    """
    if condition is None:
        return bool(result)
    if isinstance(condition, str):
        return bool(compiled(condition)(result=result))
    return bool(condition(result))


@cache
def compiled(expression: str) -> TemplateExpression:
    """Compile a Jinja expression.

    :raises ValueError: when it is none; the message shows it.
    """
    from jinja2 import TemplateSyntaxError
    from jinja2.sandbox import SandboxedEnvironment

    try:
        return SandboxedEnvironment().compile_expression(expression)
    except TemplateSyntaxError as error:
        raise ValueError(f"The condition {expression!r} is no Jinja expression: {error.message}") from None
