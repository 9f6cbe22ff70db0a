"""`bizproc.robot.*` and `bizproc.activity.add/update/list/delete`: what applications offer to processes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow_provider_b24.sandbox.method import Method, MethodCall

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflow_provider_b24.sandbox.robots import Kind

_KINDS: tuple[Kind, ...] = ("robot", "activity")


def _client_id(call: MethodCall) -> str:
    # These pages document 400, unlike most others.
    application = call.application(status=400)
    call.administrator(status=400)
    return application.client_id


def _add(kind: Kind) -> Callable[[MethodCall], Any]:
    def run(call: MethodCall) -> bool:
        call.portal.robot_registry.add(kind, _client_id(call), call.params)
        return True

    return run


def _update(kind: Kind) -> Callable[[MethodCall], Any]:
    def run(call: MethodCall) -> bool:
        call.portal.robot_registry.update(kind, _client_id(call), call.params)
        return True

    return run


def _delete(kind: Kind) -> Callable[[MethodCall], Any]:
    def run(call: MethodCall) -> bool:
        call.portal.robot_registry.delete(kind, _client_id(call), call.params)
        return True

    return run


def _list(kind: Kind) -> Callable[[MethodCall], Any]:
    def run(call: MethodCall) -> list[str]:
        return call.portal.robot_registry.codes(kind, _client_id(call))

    return run


METHODS = tuple(
    Method(f"bizproc.{kind}.{verb}", "bizproc", make(kind))
    for kind in _KINDS
    for verb, make in (("add", _add), ("update", _update), ("list", _list), ("delete", _delete))
)
