"""Links on a task in Airflow's UI: to the call that has started its run, and to the document in Bitrix24.

Both lead to the pages in Airflow's API server, which know the call, and ask who looks. So a task needs neither the
connection nor the call to make them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import urlencode, urlsplit

from airflow.providers.common.compat.sdk import BaseOperatorLink, conf

if TYPE_CHECKING:
    from airflow.sdk import BaseOperator
    from airflow.sdk.types import TaskInstanceKey


class CallLink(BaseOperatorLink):
    """Leads to the call that has started the run."""

    name = "The call"

    def get_link(self, operator: BaseOperator, *, ti_key: TaskInstanceKey) -> str:
        """Give the address, without scheme and host: people come from Airflow's UI."""
        return _page("run", ti_key)


class PortalLink(BaseOperatorLink):
    """Leads to the document of that call in Bitrix24, or to its process where the document has no page."""

    name = "Open in Bitrix24"

    def get_link(self, operator: BaseOperator, *, ti_key: TaskInstanceKey) -> str:
        """Give the address, without scheme and host: people come from Airflow's UI."""
        return _page("document", ti_key)


def _page(name: str, ti_key: TaskInstanceKey) -> str:
    path = urlsplit(conf.get("api", "base_url", fallback="") or "").path.rstrip("/")
    query = urlencode({"dag_id": ti_key.dag_id, "run_id": ti_key.run_id})
    return f"{path}/bitrix24-pages/{name}?{query}"
