"""The REST methods of the sandbox, a module for each field: what a module has in `METHODS` is known by being there."""

from __future__ import annotations

import pkgutil
from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from types import ModuleType

    from airflow_provider_b24.sandbox.method import Method, Rest3Method


def all_methods() -> dict[str, Method]:
    """Return every method by its name in small letters; `batch` is none, it is the way to call them."""
    return {method.name.lower(): method for module in _modules() for method in getattr(module, "METHODS", ())}


def all_methods_of_rest3() -> dict[str, Rest3Method]:
    """Return every method of REST 3.0 by its name."""
    return {method.name: method for module in _modules() for method in getattr(module, "METHODS3", ())}


def _modules() -> list[ModuleType]:
    return [import_module(f"{__name__}.{module.name}") for module in pkgutil.iter_modules(__path__)]
