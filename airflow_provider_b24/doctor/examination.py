"""What the checks look at: the connection, its installation, and what the portal says, asked for in one request."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from airflow_provider_b24.exceptions import Bitrix24Error
from airflow_provider_b24.hooks.installations import (
    Installation,
    InstallationStore,
    refuse_if_uninstalled,
    with_installation,
)

if TYPE_CHECKING:
    from airflow_provider_b24.hooks.connection import PortalConnection
    from airflow_provider_b24.rest.call import Reply
    from airflow_provider_b24.robots.dags_folder import DagsFolder

_QUESTIONS = ("profile", "user.admin", "scope", "app.info", "server.time", "event.get")


@dataclass(frozen=True, slots=True)
class Answers:
    """What the portal said.

    :param replies: by method; an error where it refused one.
    :param portal: the host that answered, another one than the connection's when the portal has moved.
    :param asked_at: Unix time by this machine's clock, in the middle of the request.
    """

    replies: Mapping[str, Reply | Bitrix24Error]
    portal: str
    asked_at: float

    def result(self, method: str) -> Any:
        """Give a method's result, ``None`` when the portal refused it."""
        reply = self.replies[method]
        return None if isinstance(reply, Bitrix24Error) else reply.result


@dataclass
class Examination:
    """One connection under examination.

    :param connection: as Airflow has it.
    :param dags_folder: where the DAG files are; Airflow's own DAG folder by default.
    :param round_trip: whether the portal shall post a test event to the receiver.
    :param declared: what the DAG files declare, where that is known without reading them.
    """

    connection: PortalConnection
    dags_folder: Path | None = None
    round_trip: bool = False
    patience: float = field(default=20.0, repr=False)
    declared: DagsFolder | None = field(default=None, repr=False)

    @cached_property
    def portal(self) -> PortalConnection:
        """The connection with what its installation brought."""
        return with_installation(self.connection)

    @property
    def installation(self) -> Installation | None:
        """What is stored about the installation now."""
        return InstallationStore(self.connection).read()

    @cached_property
    def folder(self) -> DagsFolder:
        """What the DAG files declare.

        :raises FileNotFoundError: when there is no such folder.
        """
        from airflow_provider_b24.robots.dags_folder import read_dags_folder

        if self.declared is not None:
            return self.declared
        return read_dags_folder(self.dags_folder)

    @cached_property
    def has_tables(self) -> bool:
        """Whether Airflow's database has the provider's tables, as new as this package."""
        from airflow_provider_b24._airflow.database import reading
        from airflow_provider_b24.calls.database import is_current

        with reading() as session:
            return is_current(session)

    @cached_property
    def answers(self) -> Answers | Bitrix24Error:
        """What the portal says; an error when it says nothing at all."""
        from airflow_provider_b24.hooks.tokens import VariableTokenStore
        from airflow_provider_b24.installation.client import short_timeout_client

        try:
            refuse_if_uninstalled(self.connection)
            with short_timeout_client(self.connection, VariableTokenStore(self.connection)) as client:
                # Apart from the others: it tells whether there are any good credentials at all.
                client.call("server.time")
                before = time.time()
                replies = client.batch([(method, {}) for method in _QUESTIONS])
                return Answers(
                    dict(zip(_QUESTIONS, replies, strict=True)), client.portal, (before + time.time()) / 2
                )
        except Bitrix24Error as error:
            return error
