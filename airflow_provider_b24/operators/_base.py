"""What all operators here have: a connection and its hook."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import BaseOperator

from airflow_provider_b24.hooks.connection import DEFAULT_CONN_ID

if TYPE_CHECKING:
    from airflow_provider_b24.hooks.bitrix24 import Bitrix24Hook


class Bitrix24BaseOperator(BaseOperator):
    """A task that calls a portal.

    :param bitrix24_conn_id: the Airflow connection. (templated)
    """

    ui_color = "#d9f2fb"

    def __init__(self, *, bitrix24_conn_id: str = DEFAULT_CONN_ID, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.bitrix24_conn_id = bitrix24_conn_id

    @cached_property
    def hook(self) -> Bitrix24Hook:
        """The hook of this task's connection."""
        from airflow_provider_b24.hooks.bitrix24 import Bitrix24Hook

        return Bitrix24Hook(self.bitrix24_conn_id)
