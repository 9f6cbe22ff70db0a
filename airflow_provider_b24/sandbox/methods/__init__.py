"""The REST methods of the sandbox, one module for each field: a module's `METHODS` are known by being there."""

from __future__ import annotations

import pkgutil
from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from airflow_provider_b24.sandbox.method import Method


def all_methods() -> dict[str, Method]:
    """Return every method by its name; `batch` is none, it is the way to call them."""
    modules = [import_module(f"{__name__}.{module.name}") for module in pkgutil.iter_modules(__path__)]
    return {method.name.lower(): method for module in modules for method in module.METHODS}
