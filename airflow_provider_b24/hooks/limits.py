"""Where the processes of this Airflow keep the request limits of portals together: ``[bitrix24] shared_limits``."""

from __future__ import annotations

import logging
from functools import lru_cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from airflow_provider_b24.rest.shared_limit import SharedLimit

log = logging.getLogger(__name__)


def configured_limit() -> SharedLimit | None:
    """Give what clients take as ``shared_limit``; ``None`` when each process keeps the limits by itself.

    A setting that cannot be used is told in the log, once in a process, and keeps nobody from calling.
    """
    from airflow.providers.common.compat.sdk import conf

    return _limit_at(conf.get("bitrix24", "shared_limits", fallback=None) or "")


@lru_cache
def _limit_at(place: str) -> SharedLimit | None:
    from airflow_provider_b24.rest.shared_limit import shared_limit

    try:
        return shared_limit(place)
    except Exception as error:
        # The words of others may hold a password.
        why = str(error) if type(error) is ValueError and "://" not in place else type(error).__name__
        log.warning(
            "[bitrix24] shared_limits cannot be used (%s): each process keeps the request limits of portals by itself.",
            why,
        )
        return None


def requests_held(host: str) -> float | None:
    """Tell how many requests a portal's bucket holds now, as far as those know who share it here.

    :param host: the portal's host, with its port if it is not the usual one.
    :return: ``None`` where nothing is shared, or it cannot be read now.
    """
    from airflow_provider_b24.rest.bucket import Bucket

    def look(record: str | None, now: float) -> tuple[None, float]:
        bucket = Bucket.from_json(record) if record else None
        return None, sum(max(0.0, empty - now) for empty in bucket.lanes) if bucket else 0.0

    limit = configured_limit()
    try:
        return None if limit is None else limit.update(host.lower(), look)
    except Exception as error:
        log.info("The shared request limit of %s cannot be read (%s).", host, type(error).__name__)
        return None
