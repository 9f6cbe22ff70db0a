"""Where rotating OAuth tokens live: an Airflow Variable for each connection, and nothing else in it.

Neither a task nor a trigger can change a connection, and a refresh token is good for one refresh: the pair that was
granted last must be kept somewhere that all of them can write to, and an older one must not come back over it.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from airflow_provider_b24._airflow.variables import read_variable, update_variable
from airflow_provider_b24.hooks._old_record import move_old_record, tokens_key
from airflow_provider_b24.rest.credentials import OAuthApp, Tokens

if TYPE_CHECKING:
    from airflow_provider_b24.hooks.connection import PortalConnection

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class TokenRecord:
    """What the Variable holds.

    :param client_id: whose tokens these are; a record of another application counts for nothing.
    :param generation: grows by one with every writing, so that a writer knows whether others have written since.
    :param tokens: the pair that is good now, ``None`` after the application was uninstalled.
    :param seed: digest of the refresh token that the connection carried when this was written: when someone has put
        another one into the connection since, that one is newer.
    """

    client_id: str
    generation: int = 0
    tokens: Tokens | None = field(default=None, repr=False)
    seed: str | None = field(default=None, repr=False)

    @classmethod
    def from_json(cls, text: str) -> TokenRecord:
        """Read a record as :meth:`to_json` wrote it.

        :raises ValueError: saying what is wrong with it, without any of its values.
        """
        try:
            data = json.loads(text)
        except ValueError:
            raise ValueError("it is not JSON") from None
        if not isinstance(data, Mapping):
            raise ValueError("it is no JSON object")
        client_id, seed, generation = data.get("client_id"), data.get("seed"), data.get("generation", 0)
        if not isinstance(client_id, str) or not client_id:
            raise ValueError("it has no client_id")
        if not isinstance(seed, str | None):
            raise ValueError("its seed is no text")
        if not isinstance(generation, int) or isinstance(generation, bool):
            raise ValueError("its generation is no number")
        tokens = Tokens.from_json(data) if data.get("refresh_token") else None
        return cls(client_id, generation, tokens, seed)

    def to_json(self) -> str:
        """Write the record, secrets included: for encrypted storage only."""
        own = {"client_id": self.client_id, "generation": self.generation, "seed": self.seed}
        return json.dumps((self.tokens.to_json() if self.tokens else {}) | own)

    def tokens_beside(self, own: Tokens | None) -> Tokens | None:
        """Choose between the stored pair and the one that the connection itself carries."""
        return own if own is not None and self.seed != seed_of(own) else self.tokens


class VariableTokenStore:
    """Keeps a connection's tokens in the Variable ``bitrix24_tokens_<conn_id>``.

    The stored pair wins over the connection's, unless someone has put another refresh token into the connection
    since: then that one is newer.

    :meth:`store` does not replace a newer pair by an older one. A pair may come late: its process could not store it
    at once, or stood still, while an administrator has connected the application anew. Beside the database reading,
    comparing and writing are one transaction. Tasks and triggers have no lock, so one race remains for them: a pair
    that is stored in the milliseconds between their reading and their writing is replaced. Both are new ones then; a
    refresh token that was spent before the reading never comes back.

    :param connection: the connection whose tokens these are, an OAuth application.
    """

    def __init__(self, connection: PortalConnection) -> None:
        self._own = connection.tokens
        self._conn_id = connection.conn_id
        credentials = connection.credentials
        self._client_id = credentials.client_id if isinstance(credentials, OAuthApp) else ""
        self._loaded: int | None = None
        self.key = tokens_key(connection.conn_id)

    def load(self) -> Tokens | None:
        """Read the pair that is good now, ``None`` when the application was never connected, or is uninstalled."""
        record = self.read()
        self._loaded = record.generation if record else 0
        return _masked(record.tokens_beside(self._own) if record else self._own)

    def store(self, tokens: Tokens) -> None:
        """Keep a pair that was granted for the one before; it replaces that, and none that is newer."""
        self._write(tokens, unless_older=True)

    def replace(self, tokens: Tokens) -> None:
        """Keep a pair that someone was granted just now and that was verified, whatever was there before."""
        self._write(tokens)

    def clear(self) -> None:
        """Forget the pair that was loaded, and that of the connection too, as long as nobody puts another one there.

        A pair that others have stored since stays.
        """
        self._write(None, unless_newer=True)

    def read(self) -> TokenRecord | None:
        """Read the record as it is now, ``None`` when there is none of this application."""
        if not self._client_id:
            return None
        raw = read_variable(self.key)
        if raw is None:
            raw = move_old_record(self._conn_id).tokens
        return self._understood(raw)

    def _write(
        self, tokens: Tokens | None, *, unless_older: bool = False, unless_newer: bool = False
    ) -> None:
        _masked(tokens)
        # What the present version does not read would be moved over this one.
        self.read()

        def change(raw: str | None) -> str | None:
            before = self._understood(raw)
            if unless_older and tokens and before and self._is_older(tokens, before):
                log.warning(
                    "A pair of tokens of the connection %r came late: a newer one is stored already, and stays.",
                    self._conn_id,
                )
                return None
            generation = before.generation if before else 0
            if unless_newer and self._loaded not in (None, generation):
                return None
            return TokenRecord(self._client_id, generation + 1, tokens, seed_of(self._own)).to_json()

        update_variable(
            self.key,
            change,
            f"Rotating OAuth tokens of the connection {self._conn_id}, kept by airflow-provider-b24. Deleting it "
            "forgets them.",
        )

    def _is_older(self, tokens: Tokens, record: TokenRecord) -> bool:
        stored = record.tokens
        if self._loaded == record.generation or (stored is None and self._loaded is None) or tokens == stored:
            return False
        if stored is None:  # uninstalled since
            return True
        if tokens.expires is not None and stored.expires is not None:
            # Both by the authorization server's clock.
            return tokens.expires < stored.expires
        # A refresh token works once: who has stored a pair since this store has looked had not refreshed the same one.
        return self._loaded is not None

    def _understood(self, raw: str | None) -> TokenRecord | None:
        if not raw:
            return None
        try:
            record = TokenRecord.from_json(raw)
        except ValueError as error:
            log.error(
                "The Airflow Variable %s cannot be used: %s. Connect the application again.", self.key, error
            )
            return None
        return record if record.client_id == self._client_id else None


def seed_of(tokens: Tokens | None) -> str | None:
    """Recognize the pair that a connection carries, without keeping it twice."""
    return hashlib.sha256(tokens.refresh_token.encode()).hexdigest()[:16] if tokens else None


def _masked(tokens: Tokens | None) -> Tokens | None:
    """Keep both tokens out of every task log, whoever prints them."""
    from airflow.sdk.log import mask_secret

    if tokens is not None:
        mask_secret(tokens.access_token)
        mask_secret(tokens.refresh_token)
    return tokens


class AsyncVariableTokenStore:
    """The same store for an event loop, which it never blocks.

    :param connection: the connection whose tokens these are.
    """

    def __init__(self, connection: PortalConnection) -> None:
        self._store = VariableTokenStore(connection)
        self.key = self._store.key

    async def load(self) -> Tokens | None:
        """Read the pair that is good now."""
        from asgiref.sync import sync_to_async

        return await sync_to_async(self._store.load)()

    async def store(self, tokens: Tokens) -> None:
        """Keep a newly granted pair."""
        from asgiref.sync import sync_to_async

        await sync_to_async(self._store.store)(tokens)
