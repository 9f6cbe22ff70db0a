"""REST methods and their calls: what the modules of `methods` are written with."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from airflow_provider_b24.sandbox.core import PortalCore
from airflow_provider_b24.sandbox.errors import RestError, access_denied
from airflow_provider_b24.sandbox.timing import iso_date

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from airflow_provider_b24.sandbox.callers import Application, Caller


class Portal(PortalCore):
    """A portal with its methods, by name in small letters."""

    methods: dict[str, Method]
    #: Those of REST 3.0.
    methods3: dict[str, Rest3Method]


@dataclass(slots=True)
class Listing:
    """A list method's answer: beside the result, how many there are and where the next page starts."""

    result: Any
    total: int | None = None
    next: int | None = None


@dataclass(slots=True)
class MethodCall:
    """One call of one method.

    :param given: the parameters as they came.
    :param params: the same with upper-case names, as top-level names are not case-sensitive.
    :param seconds: execution time to account for beyond what really passed.
    """

    portal: Portal
    caller: Caller
    method: str
    given: dict[str, Any]
    params: dict[str, Any] = field(init=False)
    seconds: float = 0.0

    def __post_init__(self) -> None:
        self.params = {name.upper(): value for name, value in self.given.items()}

    def text(self, name: str) -> str:
        """Return a parameter as text, empty when it is missing or no scalar."""
        value = self.params.get(name)
        return "" if value is None or isinstance(value, dict | list) else str(value)

    def mapping(self, name: str) -> dict[str, Any]:
        """Return a parameter as an array with names, empty when it is missing or something else."""
        value = self.params.get(name)
        return value if isinstance(value, dict) else {}

    def sequence(self, name: str) -> list[Any]:
        """Return a parameter as a list; a single value is a list of one."""
        value = self.params.get(name)
        if value is None or value == "":
            return []
        if isinstance(value, dict):
            return list(value.values())
        return value if isinstance(value, list) else [value]

    def integer(self, name: str, default: int = 0) -> int:
        """Return a parameter as a number, as PHP would: what is none counts as 0."""
        value = self.params.get(name)
        if value is None or value == "":
            return default
        try:
            return int(value)
        except (TypeError, ValueError):
            return 0

    def now(self) -> str:
        """Return the portal's present moment as it writes dates."""
        return iso_date(self.portal.clock.now())

    def flag(self, name: str) -> bool:
        """Return a parameter as a yes or no."""
        return self.flag_of(self.params, name)

    @staticmethod
    def flag_of(given: Mapping[str, Any], name: str) -> bool:
        """Return one of several switches as a yes or no."""
        return str(given.get(name, "")).lower() in ("1", "y", "true", "yes")

    def require(self, name: str) -> None:
        """Refuse a call without a parameter, as methods of the newer kind do.

        :param name: as documented; letter case of callers does not matter.
        """
        if self.params.get(name.upper()) is None:
            raise RestError(400, "100", f"Could not find value for parameter {{{name}}}")

    def administrator(self, status: int = 403) -> None:
        """Refuse a caller who is no administrator.

        :param status: HTTP status the method's page documents.
        """
        if not self.caller.user.admin:
            raise access_denied(status=status)

    def application(
        self, description: str = "Application context required", status: int = 403
    ) -> Application:
        """Return the calling application, refuse a webhook."""
        if self.caller.application is None:
            raise access_denied(description, status)
        return self.caller.application


@dataclass(frozen=True, slots=True)
class Method:
    """A REST method.

    :param scope: the permission it needs, empty for none.
    """

    name: str
    scope: str
    run: Callable[[MethodCall], Any]


@dataclass(frozen=True, slots=True)
class Rest3Call:
    """One call of one method of REST 3.0.

    :param params: as they came: names are case-sensitive, values have their types.
    """

    portal: Portal
    caller: Caller
    params: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Rest3Method:
    """A method of REST 3.0.

    :param keeps_result: whether it takes notice of an idempotency key, as methods that change something do.
    """

    name: str
    scope: str
    run: Callable[[Rest3Call], Any]
    keeps_result: bool = False
