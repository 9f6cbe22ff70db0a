"""Where Bitrix24 and external workers reach this Airflow."""

from __future__ import annotations

from urllib.parse import quote


def receiver_url() -> str:
    """Public address of the receiver, without a trailing slash.

    ``[bitrix24] receiver_url`` if it is set, else ``[api] base_url`` and the receiver's mount point ``/bitrix24``.

    :raises ValueError: when neither option is set.
    """
    from airflow.providers.common.compat.sdk import conf

    own: str | None = conf.get("bitrix24", "receiver_url", fallback=None)
    if own:
        return own.rstrip("/")
    base: str | None = conf.get("api", "base_url", fallback=None)
    if base:
        return f"{base.rstrip('/')}/bitrix24"
    raise ValueError(
        "This Airflow does not know its public address: set AIRFLOW__API__BASE_URL (the web server's address), "
        "or AIRFLOW__BITRIX24__RECEIVER_URL if the receiver is published under another one."
    )


def robot_handler_url(conn_id: str, dag_id: str, prefix: str | None = None) -> str:
    """Address that a robot's calls are posted to (``HANDLER`` of its registration).

    :param prefix: of a robot that `airflow-b24 dev` registers.
    """
    url = f"{receiver_url()}/{quote(conn_id, safe='')}/robots/{quote(dag_id, safe='')}"
    return url if prefix is None else f"{url}/{prefix}"


def events_url(conn_id: str) -> str:
    """Address that a portal's events are posted to."""
    return f"{receiver_url()}/{quote(conn_id, safe='')}/events"


def install_url(conn_id: str) -> str:
    """Address that is entered in the application's card in Bitrix24, wherever one is asked for."""
    return f"{receiver_url()}/{quote(conn_id, safe='')}/install"
