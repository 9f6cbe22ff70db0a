"""The REST methods of the sandbox, one module for each field."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow_provider_b24.sandbox.methods import (
    application,
    basic,
    disk,
    events,
    im,
    lists,
    processes,
    robots,
    tasks,
    tasks3,
)

if TYPE_CHECKING:
    from airflow_provider_b24.sandbox import rest3
    from airflow_provider_b24.sandbox.rest import Method


def all_methods() -> dict[str, Method]:
    """Return every method by its name; `batch` is none, it is the way to call them."""
    modules = (application, basic, disk, events, im, lists, processes, robots, tasks)
    return {method.name: method for module in modules for method in module.METHODS}


def all_methods_of_rest3() -> dict[str, rest3.Method]:
    """Return every method of REST 3.0 by its name."""
    return {method.name: method for method in tasks3.METHODS}
