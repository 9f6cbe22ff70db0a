"""Masking as Airflow does it: by the names of fields, and by the secrets that this process has met.

=======  ====================================================================================================
3.0      One masker, ``airflow.sdk.execution_time.secrets_masker``.
3.1      One for the server and one for tasks, ``airflow._shared.secrets_masker`` and that of ``airflow.sdk``, which
         connections are made known to.
=======  ====================================================================================================
"""

from __future__ import annotations

import importlib
from typing import Any

_MASKERS = ("airflow._shared.secrets_masker", "airflow.sdk._shared.secrets_masker")
_OF_3_0 = "airflow.sdk.execution_time.secrets_masker"


def masked(value: Any, name: str | None = None) -> Any:
    """Mask what is secret in a value.

    :param value: JSON-safe.
    :param name: what it is called: a name such as ``api_key`` masks all of it.
    """
    for module in _maskers():
        value = module.redact(value, name)
    return value


def _maskers() -> list[Any]:
    try:
        return [importlib.import_module(name) for name in _MASKERS]
    except ModuleNotFoundError:
        return [importlib.import_module(_OF_3_0)]
