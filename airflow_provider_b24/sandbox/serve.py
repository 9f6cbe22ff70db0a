"""A portal in the foreground, for the command line."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from airflow_provider_b24.sandbox.portal import SandboxPortal

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflow_provider_b24.sandbox.processes import AnswerRules


def run(
    host: str = "127.0.0.1",
    port: int = 0,
    *,
    tariff: str = "standard",
    https: bool = False,
    limits: bool = True,
    answers: AnswerRules = "portal",
    announce: Callable[[SandboxPortal], None] | None = None,
    stop: threading.Event | None = None,
) -> None:
    """Serve a portal until `stop` is set or the user interrupts.

    :param host: address to listen on.
    :param port: port to listen on, 0 for a free one.
    :param announce: called with the portal once it serves, to tell the user where.
    """
    over = stop or threading.Event()
    with SandboxPortal(
        host=host, port=port, tariff=tariff, https=https, limits=limits, answers=answers
    ) as portal:
        if announce is not None:
            announce(portal)
        try:
            over.wait()
        except KeyboardInterrupt:
            return
