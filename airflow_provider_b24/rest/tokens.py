"""Where rotating OAuth tokens live: what a client asks of a token store, and the simplest one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, runtime_checkable

if TYPE_CHECKING:
    from airflow_provider_b24.rest.credentials import Tokens


@runtime_checkable
class TokenStore(Protocol):
    """Keeps the current pair of tokens of one application in one portal, for all its clients in all processes.

    ``load`` must see what another process has stored a moment ago: a store with a cache defeats the renewal.
    A store may have an attribute ``key``, a text that is the same for every store object of the same pair;
    clients in one process then renew the pair once, not each for itself.
    """

    def load(self) -> Tokens | None:
        """Read the pair, ``None`` when there is none yet."""

    def store(self, tokens: Tokens) -> None:
        """Replace the pair; when this returns, every ``load`` in every process gives the new one."""


@runtime_checkable
class AsyncTokenStore(Protocol):
    """The same for clients in an event loop, see :class:`TokenStore`."""

    async def load(self) -> Tokens | None:
        """Read the pair, ``None`` when there is none yet."""

    async def store(self, tokens: Tokens) -> None:
        """Replace the pair; when this returns, every ``load`` in every process gives the new one."""


class MemoryTokenStore:
    """Keeps the pair in this process only: for trying things out. A pair that was renewed is lost with the process.

    :param tokens: the pair to begin with.
    """

    def __init__(self, tokens: Tokens | None = None) -> None:
        self._tokens = tokens

    def load(self) -> Tokens | None:
        """Read the pair."""
        return self._tokens

    def store(self, tokens: Tokens) -> None:
        """Replace the pair."""
        self._tokens = tokens
