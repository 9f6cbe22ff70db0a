"""A portal in the foreground, for the command line."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

from airflow_provider_b24.sandbox.credentials import Credentials
from airflow_provider_b24.sandbox.journal import Request
from airflow_provider_b24.sandbox.portal import SandboxPortal
from airflow_provider_b24.sandbox.state_file import StateFile
from airflow_provider_b24.sandbox.terminal import line_of

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from airflow_provider_b24.sandbox.core import Happening


def run(
    host: str = "127.0.0.1",
    port: int = 0,
    *,
    announce: Callable[[SandboxPortal], None] | None = None,
    tell: Callable[[str], None] | None = None,
    credentials: Path | None = None,
    seed: Path | None = None,
    state: Path | None = None,
    stop: threading.Event | None = None,
    **options: Any,
) -> None:
    """Serve a portal until `stop` is set or the user interrupts.

    :param host: address to listen on.
    :param port: port to listen on, 0 for a free one.
    :param announce: called with the portal once it serves, to tell the user where.
    :param tell: called with a line for each request, call and answer.
    :param credentials: a file with the portal's credentials, which is kept up to date; it is made if it is missing.
    :param seed: a file with what the portal begins with, unless it goes on with a state.
    :param state: a file that keeps everything; the portal goes on with what is in it.
    :param options: those of :class:`SandboxPortal`.
    :raises OSError: when the address or a file cannot be used.
    :raises ValueError: when a file does not fit.
    """
    over = stop or threading.Event()
    pinned = Credentials.read(credentials) if credentials is not None and credentials.exists() else None
    goes_on = state is not None and state.exists()
    state_file = None if state is None else StateFile(state)
    portal = SandboxPortal(host=host, port=port, credentials=pinned, state_file=state_file, **options)
    if seed is not None and not goes_on:
        # Its parser is imported for those who have a seed.
        from airflow_provider_b24.sandbox.seed import Seed

        Seed.read(seed).sow(portal)
    if tell is not None:
        portal.observers.append(lambda happening: tell(line_of(happening)))
    with portal:
        if credentials is not None:
            file = credentials
            Credentials.of(portal).write(file)

            def keep(happening: Happening) -> None:
                # New tokens replace the old ones, which are worth nothing any more.
                if isinstance(happening, Request) and happening.method.startswith("oauth."):
                    Credentials.of(portal).write(file)

            portal.observers.append(keep)
        if announce is not None:
            announce(portal)
        try:
            over.wait()
        except KeyboardInterrupt:
            return
