"""What Bitrix24 and external workers post to: robot calls and results."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from airflow_provider_b24.receiver.app import create_app

__all__ = ["create_app"]


def __getattr__(name: str) -> Any:
    # FastAPI is needed by the API server alone; every worker imports the plugin, which imports this package.
    if name == "create_app":
        from airflow_provider_b24.receiver.app import create_app

        return create_app
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
