"""The blocking client: does with ``requests`` what a conversation asks for. It holds no policy of its own."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, TypeVar

from airflow_provider_b24.rest._base_client import NO_AUTHORITIES, BaseClient, authorities
from airflow_provider_b24.rest.batch import AnyCall, converse_batch
from airflow_provider_b24.rest.call import Call, Reply, answer_params
from airflow_provider_b24.rest.conversation import converse
from airflow_provider_b24.rest.files import PartFile
from airflow_provider_b24.rest.renewal import GrantType, redeem
from airflow_provider_b24.rest.tokens import TokenStore
from airflow_provider_b24.rest.wire import (
    CHUNK,
    Action,
    Consult,
    Conversation,
    LoadCredentials,
    LoadTokens,
    NoResponse,
    Page,
    Receive,
    Request,
    Response,
    Send,
    Sleep,
    StoreFailed,
    StoreTokens,
    Together,
    TransportFailure,
    Whole,
)

if TYPE_CHECKING:
    import requests

    from airflow_provider_b24.rest.apis import ApiVersion
    from airflow_provider_b24.rest.credentials import Tokens
    from airflow_provider_b24.rest.exchange import Outcome

_T = TypeVar("_T")


class _AbandonedError(Exception):
    """The conversation is not held any further: whoever waited for it is gone."""


class _Abandoned(threading.Event):
    """Set when nobody waits any longer for conversations that other threads hold: they send nothing more then.

    Its lock is held as long as one of them does what has to be done as a whole.
    """

    def __init__(self) -> None:
        super().__init__()
        self.finishing = threading.Lock()


class Bitrix24Client(BaseClient[TokenStore]):
    """A client for one portal, see :class:`~airflow_provider_b24.rest._base_client.BaseClient`.

    Threads may share it.
    """

    _http: requests.Session | None = None
    _http_settings: dict[str, Any]

    def call(
        self,
        method: str,
        params: Mapping[str, Any] | None = None,
        *,
        deadline: float | None = None,
        repeatable: bool | None = None,
        api: ApiVersion = "v2",
        idempotency_key: str | None = None,
    ) -> Reply:
        """Call one method.

        :param method: the REST method, such as ``crm.deal.get``.
        :param params: its parameters.
        :param deadline: seconds this call may take in all; ``None`` for the client's own deadline.
        :param repeatable: see :class:`Call`.
        :param api: ``v3`` for REST 3.0, see :class:`Call`.
        :param idempotency_key: with REST 3.0, what names this one call, see :class:`Call`.
        :return: the portal's reply.
        :raises Bitrix24Error: when the call has failed for good.
        :raises ValueError: when it cannot be sent as it is.
        """
        call = Call(method, params or {}, repeatable, deadline, api, idempotency_key)
        return self._hold(converse(call, self._session))

    def batch(
        self,
        calls: Iterable[AnyCall],
        *,
        halt: bool = False,
        deadline: float | None = None,
        api: ApiVersion = "v2",
    ) -> list[Outcome]:
        """Make any number of calls, 50 in a request.

        Calls of REST 3.0 that add, delete or do what nobody knows go alone: its batch does not say what was done when
        one of the calls fails.

        :param calls: calls, or pairs of method and parameters; in those of a later call
            :class:`~airflow_provider_b24.rest.encoding.Ref` stands for the result of one with a name.
        :param halt: in order, and none after the first that fails.
        :param deadline: seconds it may take in all; ``None`` for the client's own deadline.
        :param api: of the pairs, see :class:`Call`.
        :return: for each call, in order, its reply or its error.
        :raises ValueError: when one of them cannot be sent as it is; nothing was sent.

        Documentation: https://apidocs.bitrix24.com/settings/how-to-call-rest-api/batch.html
        """
        return self._hold(converse_batch(calls, self._session, halt=halt, deadline=deadline, api=api))

    def iterate(
        self,
        method: str,
        params: Mapping[str, Any] | None = None,
        *,
        id_field: str = "ID",
        limit: int | None = None,
        deadline: float | None = None,
        api: ApiVersion = "v2",
    ) -> Iterator[Any]:
        """Read a list from its first to its last record, with few requests and little memory.

        :param method: the list method, such as ``crm.deal.list``.
        :param params: its parameters, without ``start``; a filter may hold ``>ID`` to go on where an earlier
            reading stopped.
        :param id_field: name of the field that numbers the records.
        :param limit: stop after so many records.
        :param deadline: seconds each request may take in all, waiting included.
        :param api: ``v3`` for a list of REST 3.0: ``pagination`` may hold ``limit``, the records of a page; ``order``
            is decided by the reading.
        :return: the records, in ascending order of ``id_field`` unless ``params`` order otherwise.
        :raises Bitrix24Error: while reading, when a page has failed for good.
        :raises ValueError: when the parameters cannot be sent as they are.

        Documentation: https://apidocs.bitrix24.com/settings/performance/huge-data.html
        """
        for page in self.pages(method, params, id_field=id_field, limit=limit, deadline=deadline, api=api):
            yield from page

    def pages(
        self,
        method: str,
        params: Mapping[str, Any] | None = None,
        *,
        id_field: str = "ID",
        limit: int | None = None,
        deadline: float | None = None,
        api: ApiVersion = "v2",
    ) -> Iterator[list[Any]]:
        """Read a list as :meth:`iterate` does, page by page: so many records as the portal gives at a time.

        :return: lists of records, none of them empty.
        """
        conversation = self._listing(method, params, id_field, limit, deadline, api)
        try:
            action = next(conversation)
            while True:
                if isinstance(action, Page):
                    yield action.records
                    action = next(conversation)
                else:
                    action = conversation.send(self._perform(action))
        except StopIteration:
            return
        finally:
            conversation.close()

    def send_event(
        self,
        event_token: str,
        return_values: Mapping[str, Any] | None = None,
        log_message: str | None = None,
        *,
        deadline: float | None = None,
    ) -> bool:
        """Answer a robot's or activity's call: the process that waits goes on.

        The portal answers ``True`` also for a step that was answered before or has timed out while its process goes
        on, and ignores the answer then.

        :param event_token: the call's event token.
        :param return_values: the values for the process, by the robot's return properties.
        :param log_message: a line for the process's log.
        :param deadline: seconds it may take in all; ``None`` for the client's own deadline.
        :return: ``True`` when the answer has arrived.
        :raises ProcessEndedError: when the process is over.
        :raises EventTokenError: when the token is invalid; by the documentation also when it has expired or was used.
        :raises ProcessLockedError: when the portal worked on the process for longer than the call may take.
        :raises Bitrix24Error: when the call has failed for good.

        Documentation: https://apidocs.bitrix24.com/api-reference/bizproc/bizproc-robot/bizproc-event-send.html
        """
        params = answer_params(event_token, return_values, log_message)
        return bool(self.call("bizproc.event.send", params, deadline=deadline).result)

    def download(
        self,
        source: int | str,
        path: str | os.PathLike[str],
        *,
        max_bytes: int | None = None,
        deadline: float | None = None,
    ) -> int:
        """Download a file, in constant memory. It has its name only when it is whole.

        Credentials go to the portal only, also where it redirects to the host that it keeps its files at.

        :param source: the number of a file on the Drive, for ``disk.file.get``; or a link out of a method's result,
            such as ``urlMachine`` or ``downloadUrl``, relative ones included. Links for people who are signed in give
            no file.
        :param path: where to put the file; what is there is replaced.
        :param max_bytes: how large it may be.
        :param deadline: seconds it may take in all; ``None`` for the client's own deadline.
        :return: the number of bytes.
        :raises Bitrix24Error: when it has failed for good; with the code ``untrusted_link`` when the link leads to
            another host, ``no_file`` when there is a page in place of a file, ``file_too_large``.

        Documentation: https://apidocs.bitrix24.com/api-reference/files/how-to-download-files.html
        """
        with PartFile(path, max_bytes) as file:
            return self._hold(self._download(source, file, deadline))

    def redeem(self, grant_type: GrantType, grant: str, *, oauth_server: str = "") -> Tokens:
        """Exchange an authorization code, or a refresh token, for a pair of tokens, and call with it from now on.

        The pair is in the token store when this returns. The exchange proves that the grant was made to this very
        application: the authorization server compares it with the application's id and secret.

        :param grant_type: ``authorization_code`` or ``refresh_token``.
        :param grant: the code (good for 30 seconds, once) or the refresh token (good once).
        :param oauth_server: which of Bitrix24's authorization servers knows it, if that is known.
        :raises AuthError: when the authorization server does not accept it for this application.
        :raises Bitrix24Error: when the authorization server or the token store fails.

        Documentation: https://apidocs.bitrix24.com/settings/oauth/index.html
        """
        return self._hold(redeem(self._session, grant_type, grant, oauth_server=oauth_server))

    def close(self) -> None:
        """Close the connections. The client can be used again afterwards."""
        with self._lock:
            if self._http is not None:
                self._http.close()
                self._http = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _hold(self, conversation: Conversation[_T], abandoned: _Abandoned | None = None) -> _T:
        """Hold a conversation that hands out no pages.

        :param abandoned: whether somebody still waits for it, if it is held in a thread of its own.
        """
        try:
            action = next(conversation)
            while True:
                action = conversation.send(self._perform(action, abandoned))
        except StopIteration as end:
            result: _T = end.value
            return result
        finally:
            conversation.close()

    def _perform(self, action: Action, abandoned: _Abandoned | None = None) -> Any:
        if isinstance(action, (LoadTokens, StoreTokens)):
            # Also of an abandoned conversation: a new pair of tokens exists nowhere else.
            store = self._store_to_use(action)
            try:
                return store.load() if isinstance(action, LoadTokens) else store.store(action.tokens)
            except Exception as error:
                return StoreFailed(type(error).__name__)
        if isinstance(action, LoadCredentials):
            try:
                return self._reconnected(self._reconnect() if self._reconnect else None)
            except Exception as error:
                return StoreFailed(type(error).__name__)
        if isinstance(action, Sleep):
            self._wait(action.seconds, abandoned)
        if abandoned is not None and abandoned.is_set():
            raise _AbandonedError
        if isinstance(action, Consult):
            return action.work()
        if isinstance(action, Send):
            return self._send(action.request)
        if isinstance(action, Receive):
            return self._send(action.request, action.write)
        if isinstance(action, Together):
            return self._together(action.conversations)
        if isinstance(action, Whole):
            if abandoned is None:
                return self._whole(action.conversation)
            with abandoned.finishing:
                if abandoned.is_set():
                    raise _AbandonedError
                return self._hold(action.conversation)
        return None

    def _wait(self, seconds: float, abandoned: _Abandoned | None) -> None:
        if self._sleep is not None:
            self._sleep(seconds)
        elif abandoned is not None:
            abandoned.wait(seconds)
        else:
            time.sleep(seconds)

    def _together(self, conversations: Sequence[Conversation[Any]]) -> list[Any]:
        """Hold conversations in threads of their own.

        What ends the wait for them, such as the time limit of a task, does not wait for the requests under way, but for
        the renewal of tokens; the threads send no further request.
        """
        from concurrent.futures import ThreadPoolExecutor

        abandoned = _Abandoned()
        pool = ThreadPoolExecutor(len(conversations), thread_name_prefix="bitrix24")
        try:
            return list(pool.map(lambda conversation: self._hold(conversation, abandoned), conversations))
        finally:
            abandoned.set()
            with abandoned.finishing:
                pool.shutdown(wait=False, cancel_futures=True)

    def _forget_connections(self) -> None:
        self._http = None

    def _whole(self, conversation: Conversation[_T]) -> _T:
        """Hold a conversation in a thread of its own: no signal, such as that of a time limit, ends it midway.

        It begins when this thread has come to where it waits for the end of it; a signal before ends it unbegun.
        """
        from concurrent.futures import Future, ThreadPoolExecutor, wait

        awaited, given_up = threading.Event(), threading.Event()

        def hold() -> _T:
            awaited.wait()
            if given_up.is_set():
                raise _AbandonedError
            return self._hold(conversation)

        pool = ThreadPoolExecutor(1, thread_name_prefix="bitrix24")
        future: Future[_T] | None = None
        try:
            future = pool.submit(hold)
            awaited.set()
            return future.result()
        except BaseException:
            if not awaited.is_set():
                given_up.set()
            awaited.set()  # Once more: a signal may have come before the thread was told.
            if future is not None:
                wait([future])
            raise
        finally:
            pool.shutdown(wait=False)

    def _open(self) -> requests.Session:
        with self._lock:
            if self._http is None:
                import requests
                from requests.adapters import HTTPAdapter

                self._http_settings = {}
                self._http = requests.Session()
                adapter = HTTPAdapter(pool_connections=4, pool_maxsize=16)
                self._http.mount("https://", adapter)
                self._http.mount("http://", adapter)
            return self._http

    def _send(self, request: Request, write: Callable[[bytes], Any] | None = None) -> Response | NoResponse:
        from requests import PreparedRequest
        from requests.exceptions import RequestException
        from requests.structures import CaseInsensitiveDict

        http = self._http or self._open()
        url = request.url
        host = url[: url.find("/", 8)]
        settings = self._http_settings.get(host)
        if settings is None:
            settings = http.merge_environment_settings(host, {}, False, authorities(self._verify, host), None)  # noqa: FBT003
            self._http_settings[host] = settings
        prepared = PreparedRequest()
        prepared.method = request.verb
        prepared.url = url
        prepared.body = request.body
        prepared.headers = CaseInsensitiveDict(request.headers)
        if request.body is not None:
            prepared.headers["Content-Length"] = str(len(request.body))
        prepared.hooks = {}
        try:
            try:
                response = http.get_adapter(url).send(
                    prepared,
                    timeout=request.timeout,
                    verify=settings["verify"],  # type: ignore[arg-type]
                    cert=settings["cert"],
                    proxies=settings["proxies"],
                )
            except OSError as error:
                if isinstance(error, RequestException):
                    raise
                return NoResponse(TransportFailure.UNTRUSTED, NO_AUTHORITIES)
            with response:
                if write is None or response.status_code != 200:
                    return Response(response.status_code, response.headers, response.content or b"")
                for chunk in response.iter_content(CHUNK):
                    write(chunk)
            return Response(response.status_code, response.headers, b"")
        except RequestException as error:
            return _no_response(error)


def _no_response(error: Exception) -> NoResponse:
    """Tell apart what was never sent and what may have arrived; the exception itself holds URLs and goes no further."""
    from requests import exceptions
    from urllib3.exceptions import NewConnectionError, ProxyError

    reason = type(error).__name__
    if isinstance(error, ValueError):  # It is about an address, most often the proxy's.
        return NoResponse(TransportFailure.REFUSED, reason)
    if isinstance(error, exceptions.SSLError):
        # A connection that breaks off is one as well, while it is made secure or later: it is not said which.
        if _is_about_a_certificate(error):
            return NoResponse(TransportFailure.UNTRUSTED, "the secure connection was refused")
        return NoResponse(TransportFailure.BROKEN, reason)
    if isinstance(error, exceptions.ConnectTimeout):
        return NoResponse(TransportFailure.REFUSED, "no connection in time")
    if isinstance(error, exceptions.Timeout):
        return NoResponse(TransportFailure.TIMEOUT, reason)
    inner = getattr(error.args[0], "reason", None) if error.args else None
    if isinstance(error, exceptions.ProxyError) or isinstance(inner, (NewConnectionError, ProxyError)):
        return NoResponse(TransportFailure.REFUSED, type(inner).__name__ if inner is not None else reason)
    if isinstance(inner, Exception) and "Timeout" in type(inner).__name__:
        return NoResponse(TransportFailure.TIMEOUT, reason)
    return NoResponse(TransportFailure.BROKEN, reason)


def _is_about_a_certificate(error: Exception) -> bool:
    from ssl import SSLCertVerificationError, SSLError

    waiting: list[object] = [error]
    while waiting:
        one = waiting.pop()
        if isinstance(one, SSLCertVerificationError):
            return True
        if isinstance(one, SSLError) and getattr(one, "library", "") in (
            "X509",
            "PEM",
        ):  # those of the authorities
            return True
        if isinstance(one, BaseException):
            waiting += [*one.args, getattr(one, "reason", None), one.__cause__, one.__context__]
    return False
