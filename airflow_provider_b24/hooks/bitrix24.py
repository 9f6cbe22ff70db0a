"""The hook: one portal, called with the credentials of one Airflow connection."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import AirflowException, AirflowTaskTimeout, BaseHook

from airflow_provider_b24.exceptions import Bitrix24Error
from airflow_provider_b24.hooks.connection import DEFAULT_CONN_ID, PortalConnection
from airflow_provider_b24.hooks.connection_type import CONN_TYPE, HOOK_NAME

if TYPE_CHECKING:
    from airflow_provider_b24.rest import (
        ApiVersion,
        AsyncBitrix24Client,
        Bitrix24Client,
        Call,
        Credentials,
        MethodFacts,
        Patience,
        Reply,
    )
    from airflow_provider_b24.rest.tokens import AsyncTokenStore, TokenStore


class Bitrix24Hook(BaseHook):
    """Call a Bitrix24 portal.

    A hook keeps its HTTP connection open until it is closed; use it as a context manager, or call :meth:`close`.
    Pacing, retries, token refresh and moved portals are taken care of below it.

    :param bitrix24_conn_id: the Airflow connection, of type ``bitrix24``.
    :param timeout: seconds to wait for an answer, instead of the connection's.
    :param patience: how often to try, and for how long; its ``timeout`` does not count.
    :param batch_size: calls in one request, at most 50. Requests get smaller by themselves when they take too long.
    :param methods: what the caller knows about methods: see
        :class:`~airflow_provider_b24.rest.methods.MethodFacts`.
    """

    conn_name_attr = "bitrix24_conn_id"
    default_conn_name = DEFAULT_CONN_ID
    conn_type = CONN_TYPE
    hook_name = HOOK_NAME

    @classmethod
    def get_connection_form_widgets(cls) -> dict[str, Any]:
        """Give Airflow before 3.2 the fields of the connection form; later ones read the provider's info."""
        from airflow_provider_b24._airflow.form_fields import widgets_of_hook
        from airflow_provider_b24.hooks.connection_type import CONN_FIELDS

        return widgets_of_hook(CONN_FIELDS)

    @classmethod
    def get_ui_field_behaviour(cls) -> dict[str, Any]:
        """Tell Airflow before 3.2 which of the usual fields the form hides, and what it calls the others."""
        from airflow_provider_b24._airflow.form_fields import behaviour_of_hook
        from airflow_provider_b24.hooks.connection_type import FIELD_BEHAVIOUR

        return behaviour_of_hook(FIELD_BEHAVIOUR)

    def __init__(
        self,
        bitrix24_conn_id: str = DEFAULT_CONN_ID,
        *,
        timeout: float | None = None,
        patience: Patience | None = None,
        batch_size: int | None = None,
        methods: Mapping[str, MethodFacts] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.bitrix24_conn_id = bitrix24_conn_id
        self.timeout = timeout
        self.patience = patience
        self.batch_size = batch_size
        self.methods = methods
        self._connection: PortalConnection | None = None
        self._client: Bitrix24Client | None = None
        self._async_client: AsyncBitrix24Client | None = None

    @property
    def connection(self) -> PortalConnection:
        """What the Airflow connection says.

        :raises ConnectionConfigError: when it cannot be used.
        """
        # No functools.cached_property: up to Python 3.11 it holds one lock for all hooks while it loads, and in a
        # triggerer the loading thread waits for the event loop, which may wait for the lock.
        if self._connection is None:
            self._connection = PortalConnection.load(self.bitrix24_conn_id)
        return self._connection

    def get_conn(self) -> Bitrix24Client:
        """Give the client that this hook calls with.

        :raises ConnectionConfigError: when the connection cannot be used.
        :raises AuthError: when the application was uninstalled from the portal.
        """
        if self._client is None:
            from airflow_provider_b24.hooks.tokens import VariableTokenStore

            connection = self.connection
            store = VariableTokenStore(connection) if connection.kind == "oauth" else None
            self._client = self._client_of(connection, store, reconnect=self._reconnect)
        return self._client

    async def get_async_conn(self) -> AsyncBitrix24Client:
        """Give the client for the running event loop, as :meth:`get_conn` does."""
        if self._async_client is None:
            from asgiref.sync import sync_to_async

            from airflow_provider_b24.hooks.installations import refuse_if_uninstalled
            from airflow_provider_b24.hooks.tokens import AsyncVariableTokenStore
            from airflow_provider_b24.rest import AsyncBitrix24Client

            connection = await sync_to_async(lambda: self.connection)()
            await sync_to_async(refuse_if_uninstalled)(connection)
            # Another coroutine may have been as far in the meantime.
            if self._async_client is None:
                self._async_client = AsyncBitrix24Client(
                    connection.credentials,
                    token_store=AsyncVariableTokenStore(connection) if connection.kind == "oauth" else None,
                    reconnect=self._areconnect,
                    **self._client_options(connection),
                )
        return self._async_client

    def call(
        self,
        method: str,
        params: Mapping[str, Any] | None = None,
        *,
        repeatable: bool | None = None,
        api: ApiVersion = "v2",
        idempotency_key: str | None = None,
    ) -> Any:
        """Call a REST method.

        :param method: its name, such as ``crm.lead.get``.
        :param params: its parameters.
        :param repeatable: whether it may be sent again after a failure that leaves open whether the portal has
            carried it out; ``None`` goes by what is known about the method.
        :param api: ``v3`` for REST 3.0.
        :param idempotency_key: with REST 3.0, what names this one call: for 24 hours the portal answers a repetition
            with the result of the first time.
        :return: the ``result`` of the answer.
        :raises Bitrix24Error: when the portal refuses, or cannot be reached in time.
        """
        client = self.get_conn()
        try:
            return client.call(
                method, params, repeatable=repeatable, api=api, idempotency_key=idempotency_key
            ).result
        except AirflowTaskTimeout as error:
            from airflow_provider_b24.rest import Call

            call = Call(method, repeatable=repeatable, api=api, idempotency_key=idempotency_key)
            self._say_if_maybe_done([call], client.portal, error)
            raise

    async def async_call(
        self,
        method: str,
        params: Mapping[str, Any] | None = None,
        *,
        repeatable: bool | None = None,
        api: ApiVersion = "v2",
        idempotency_key: str | None = None,
    ) -> Any:
        """Call a REST method, as :meth:`call` does, from an event loop."""
        client = await self.get_async_conn()
        reply = await client.call(
            method, params, repeatable=repeatable, api=api, idempotency_key=idempotency_key
        )
        return reply.result

    def batch(
        self,
        calls: Iterable[Call | tuple[str, Mapping[str, Any]]],
        *,
        halt: bool = False,
        api: ApiVersion = "v2",
    ) -> list[Reply | Bitrix24Error]:
        """Make many calls, 50 in a request.

        :param calls: any number of calls, or of pairs of a method and its parameters; in those of a later call
            :class:`~airflow_provider_b24.rest.encoding.Ref` stands for the result of one with a name.
        :param halt: stop at the first call that fails; the rest are reported as not done.
        :param api: of the pairs among the calls; ``v3`` for REST 3.0.
        :return: a reply or an error for each call, in their order.

        Source: https://apidocs.bitrix24.com/settings/how-to-call-rest-api/batch.html
        """
        client, asked = self.get_conn(), list(calls)
        try:
            return client.batch(asked, halt=halt, api=api)
        except AirflowTaskTimeout as error:
            from airflow_provider_b24.rest.batch import as_call

            self._say_if_maybe_done([as_call(call, api) for call in asked], client.portal, error)
            raise

    async def async_batch(
        self,
        calls: Iterable[Call | tuple[str, Mapping[str, Any]]],
        *,
        halt: bool = False,
        api: ApiVersion = "v2",
    ) -> list[Reply | Bitrix24Error]:
        """Make many calls, as :meth:`batch` does, from an event loop."""
        return await (await self.get_async_conn()).batch(calls, halt=halt, api=api)

    def iterate(
        self,
        method: str,
        params: Mapping[str, Any] | None = None,
        *,
        id_field: str = "ID",
        limit: int | None = None,
        api: ApiVersion = "v2",
    ) -> Iterator[dict[str, Any]]:
        """Read a whole list in constant memory, without having the portal count it.

        :param method: a list method, such as ``crm.lead.list``.
        :param params: its parameters; ``order`` and ``start`` are decided here.
        :param id_field: the field that the records are ordered by.
        :param limit: stop after so many records; no more pages than these need are read.
        :param api: ``v3`` for a list of REST 3.0; ``pagination`` in ``params`` may hold ``limit``, the size of a page.

        Source: https://apidocs.bitrix24.com/settings/performance/huge-data.html
        """
        return self.get_conn().iterate(method, params, id_field=id_field, limit=limit, api=api)

    async def async_iterate(
        self,
        method: str,
        params: Mapping[str, Any] | None = None,
        *,
        id_field: str = "ID",
        limit: int | None = None,
        api: ApiVersion = "v2",
    ) -> AsyncIterator[dict[str, Any]]:
        """Read a whole list, as :meth:`iterate` does, from an event loop."""
        client = await self.get_async_conn()
        async for record in client.iterate(method, params, id_field=id_field, limit=limit, api=api):
            yield record

    def pages(
        self,
        method: str,
        params: Mapping[str, Any] | None = None,
        *,
        id_field: str = "ID",
        limit: int | None = None,
        api: ApiVersion = "v2",
    ) -> Iterator[list[dict[str, Any]]]:
        """Read a whole list as :meth:`iterate` does, page by page.

        :param params: its parameters; ``>ID`` in ``filter`` (as the list calls its id) goes on behind the last record
            of a page that was read before.
        :return: lists of records, none of them empty.
        """
        return self.get_conn().pages(method, params, id_field=id_field, limit=limit, api=api)

    async def async_pages(
        self,
        method: str,
        params: Mapping[str, Any] | None = None,
        *,
        id_field: str = "ID",
        limit: int | None = None,
        api: ApiVersion = "v2",
    ) -> AsyncIterator[list[dict[str, Any]]]:
        """Read a whole list page by page, as :meth:`pages` does, from an event loop."""
        client = await self.get_async_conn()
        async for page in client.pages(method, params, id_field=id_field, limit=limit, api=api):
            yield page

    def download(
        self, source: int | str, path: str | os.PathLike[str], *, max_bytes: int | None = None
    ) -> int:
        """Download a file, in constant memory. It has its name only when it is whole.

        :param source: the number of a file on the Drive, or a link out of a method's result, such as ``urlMachine``.
        :param path: where to put the file; what is there is replaced.
        :param max_bytes: how large it may be.
        :return: the number of bytes.
        :raises Bitrix24Error: when it has failed for good, or the link leads to a host that is not the portal.

        Source: https://apidocs.bitrix24.com/api-reference/files/how-to-download-files.html
        """
        return self.get_conn().download(source, path, max_bytes=max_bytes)

    async def async_download(
        self, source: int | str, path: str | os.PathLike[str], *, max_bytes: int | None = None
    ) -> int:
        """Download a file, as :meth:`download` does, from an event loop."""
        return await (await self.get_async_conn()).download(source, path, max_bytes=max_bytes)

    def send_event(
        self, event_token: str, return_values: Mapping[str, Any] | None = None, log_message: str | None = None
    ) -> bool:
        """Answer a waiting robot or workflow action.

        :param event_token: the token that came with the call; good for one answer.
        :param return_values: property name to value, as the portal takes them.
        :param log_message: text for the process's log.
        :return: ``True``: the portal has the answer.
        :raises EventTokenError: when the token is invalid, expired or used.

        Source: https://apidocs.bitrix24.com/api-reference/bizproc/bizproc-robot/bizproc-event-send.html
        """
        return self.get_conn().send_event(event_token, return_values, log_message)

    def log_activity(self, event_token: str, log_message: str) -> bool:
        """Write a line to the log of a waiting process.

        :param event_token: the token that came with the call; it stays good for the answer.
        :param log_message: the text.

        Source: https://apidocs.bitrix24.com/api-reference/bizproc/bizproc-activity/bizproc-activity-log.html
        """
        return bool(
            self.call("bizproc.activity.log", {"EVENT_TOKEN": event_token, "LOG_MESSAGE": log_message})
        )

    def test_connection(self) -> tuple[bool, str]:
        """Try the credentials, for Airflow's *Test* button.

        A webhook is asked for its user (``profile``), an application for itself (``app.info``). Tokens are renewed
        only where the new pair is kept for the connection that was meant: see
        :func:`airflow_provider_b24.hooks.connection_test.connection_to_test`.
        """
        from airflow_provider_b24.hooks.connection_test import advice_on, connection_to_test
        from airflow_provider_b24.rest.credentials import portal_host

        try:
            connection, store = connection_to_test(self.connection)
            webhook = connection.kind == "webhook"
            with self._client_of(connection, store) as client:
                answer = client.call("profile" if webhook else "app.info").result
        except Bitrix24Error as error:
            return False, f"{error}{advice_on(error)}"
        except AirflowException as error:
            return False, str(error)
        except Exception as error:
            # Airflow shows the text of an exception as it is: that of a database error has SQL and values in it.
            return (
                False,
                f"Airflow could not look the connection up ({type(error).__name__}); nothing was sent.",
            )
        portal = portal_host(connection.portal_url)
        if webhook:
            user = f"user {answer.get('ID')} ({answer.get('NAME') or 'no name'})"
            return True, f"Connected to {portal} as {user}."
        return True, f"Connected to {portal} as application {answer.get('CODE') or answer.get('ID')}."

    def close(self) -> None:
        """Close the HTTP connection."""
        if self._client is not None:
            self._client.close()
            self._client = None

    async def aclose(self) -> None:
        """Close the HTTP connection of the event loop."""
        if self._async_client is not None:
            await self._async_client.close()
            self._async_client = None

    def __enter__(self) -> Bitrix24Hook:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    async def __aenter__(self) -> Bitrix24Hook:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.aclose()

    def _say_if_maybe_done(self, calls: Sequence[Call], portal: str, error: AirflowTaskTimeout) -> None:
        """Tell a time limit that is over during such calls from others.

        :raises MaybeDoneError: when one of them must not be made twice.
        """
        creating = sorted({call.method for call in calls if self._creates(call)})
        if creating:
            from airflow_provider_b24.hooks._time_limits import MaybeDoneError

            raise MaybeDoneError(
                f"The task's time was over during {', '.join(creating)} at {portal}: it may have been done."
            ) from error

    def _creates(self, call: Call) -> bool:
        from airflow_provider_b24.rest.methods import Effect, facts_of

        known = {name.lower(): facts for name, facts in (self.methods or {}).items()}
        # A second call with its key gets the result of the first.
        if call.idempotency_key is not None and call.method.lower().endswith(".add"):
            return call.repeatable is False
        return facts_of(call.method, known).effect_if(call.repeatable) is Effect.CREATES

    def _reconnect(self) -> tuple[Credentials, TokenStore | None]:
        """Read the connection again, whose credentials the portal has refused."""
        from airflow_provider_b24.hooks.installations import refuse_if_uninstalled
        from airflow_provider_b24.hooks.tokens import VariableTokenStore

        connection = PortalConnection.load(self.bitrix24_conn_id)
        refuse_if_uninstalled(connection)
        self._connection = connection
        return connection.credentials, VariableTokenStore(connection) if connection.kind == "oauth" else None

    async def _areconnect(self) -> tuple[Credentials, AsyncTokenStore | None]:
        from asgiref.sync import sync_to_async

        from airflow_provider_b24.hooks.tokens import AsyncVariableTokenStore

        credentials, _ = await sync_to_async(self._reconnect)()
        connection = self.connection
        return credentials, AsyncVariableTokenStore(connection) if connection.kind == "oauth" else None

    def _client_of(
        self, connection: PortalConnection, store: TokenStore | None, **options: Any
    ) -> Bitrix24Client:
        from airflow_provider_b24.hooks.installations import refuse_if_uninstalled
        from airflow_provider_b24.rest import Bitrix24Client

        refuse_if_uninstalled(connection)
        options |= self._client_options(connection)
        return Bitrix24Client(connection.credentials, token_store=store, **options)

    def _client_options(self, connection: PortalConnection) -> dict[str, Any]:
        from dataclasses import replace

        from airflow_provider_b24.hooks.limits import configured_limit
        from airflow_provider_b24.hooks.metrics import AirflowMetrics
        from airflow_provider_b24.rest import Patience
        from airflow_provider_b24.rest.batch_sizes import MAX_CALLS
        from airflow_provider_b24.rest.credentials import portal_host

        timeout = self.timeout or connection.timeout
        return {
            "tariff": connection.tariff,
            "patience": replace(self.patience or Patience(), timeout=timeout),
            "trusted_hosts": connection.trusted_hosts,
            "verify": connection.authorities(),
            "batch_size": self.batch_size or MAX_CALLS,
            "methods": self.methods,
            "shared_limit": configured_limit(),
            "observer": AirflowMetrics(portal_host(connection.portal_url)),
        }
