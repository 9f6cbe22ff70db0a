"""Downloading a file, by its number on the Drive or by a link that a method gave.

Credentials go to the portal only, and only to what gives files: a link may come from anyone, and must not delete a
deal. The portal may send us on to another host, where it keeps its files: nothing of ours goes there.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from itertools import chain
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import parse_qs, quote, urljoin, urlsplit

from airflow_provider_b24.exceptions import AuthError, Bitrix24Error, RateLimitError, TransportError
from airflow_provider_b24.rest.call import Call, Reply
from airflow_provider_b24.rest.conversation import (
    MAX_HOPS,
    REDIRECTS,
    converse,
    note,
    pause,
    understand,
    wait_for_slot,
)
from airflow_provider_b24.rest.credentials import is_loopback, parse_portal_address, portal_host
from airflow_provider_b24.rest.renewal import current_tokens, renew
from airflow_provider_b24.rest.repeating import Again, Progress
from airflow_provider_b24.rest.session import HEADERS
from airflow_provider_b24.rest.wire import Conversation, NoResponse, Receive, Request, Response

if TYPE_CHECKING:
    from airflow_provider_b24.rest.files import PartFile
    from airflow_provider_b24.rest.session import Session

_DOWNLOAD = Call("download", repeatable=True)
# What is stored is what is wanted, byte for byte.
_HEADERS = HEADERS | {"Accept": "*/*", "Accept-Encoding": "identity"}
_METHOD_PATH = re.compile(r"/rest/((?:[a-z0-9_]+\.)*(?:download|getfile))(?:\.json)?\Z", re.IGNORECASE)
_PAGE_PATH = re.compile(r"/bitrix/components/bitrix/[a-z0-9._]+/show_file\.php\Z")
_EMPTY_AUTH = re.compile(r"(?:^|(?<=&))auth=(?=&|\Z)")


def converse_download(
    source: int | str, session: Session, file: PartFile, *, deadline: float | None = None
) -> Conversation[int]:
    """Hold the conversation of downloading a file.

    :param source: the number of a file on the Drive, or a link out of a method's result: ``urlMachine``,
        ``downloadUrl`` and their like.
    :param file: what it is written to.
    :param deadline: seconds it may take in all; ``None`` for the session's own deadline.
    :return: a generator whose result is the number of bytes.
    :raises Bitrix24Error: when it has failed for good.

    Documentation: https://apidocs.bitrix24.com/api-reference/files/how-to-download-files.html
    """
    progress = Progress(_DOWNLOAD, session, deadline)
    may_renew = True
    while True:
        link, size = source, None
        if isinstance(link, int):
            link, size = yield from _on_the_drive(link, session, progress)
        address = _address(link, session)
        error = yield from _fetch(address, session, progress, file)
        if error is None and size not in (None, file.size):
            text = f"Only {file.size} of {size} bytes came."
            error = TransportError("incomplete_file", text, None, "download", session.portal)
        if error is None:
            return file.size
        file.restart()
        if isinstance(error, AuthError) and may_renew and (address.needs_token or isinstance(source, int)):
            may_renew = False
            session.observer.on_retry("expired_token")
            if address.needs_token:
                yield from renew(session, progress)
            continue
        verdict = progress.judge(error)
        if not isinstance(verdict, Again):
            raise error
        yield from pause(verdict, "download", session)


def _on_the_drive(number: int, session: Session, progress: Progress) -> Conversation[tuple[str, int | None]]:
    """Ask for the link of a file and its size."""
    call = Call("disk.file.get", {"id": number}, deadline=progress.remaining())
    reply = yield from converse(call, session)
    found: Mapping[str, Any] = reply.result if isinstance(reply.result, Mapping) else {}
    link, size = found.get("DOWNLOAD_URL"), str(found.get("SIZE"))
    if not isinstance(link, str) or not link:
        raise Bitrix24Error("no_link", "The answer holds no DOWNLOAD_URL.", None, call.method, session.portal)
    return link, int(size) if size.isdecimal() else None


class _Address(NamedTuple):
    """Where a file is.

    :param needs_token: whether the portal wants our access token in the empty ``auth`` of the query.
    """

    url: str
    query: str
    needs_token: bool = False

    def whole(self, token: str) -> str:
        query = _EMPTY_AUTH.sub(f"auth={quote(token, safe='')}", self.query) if token else self.query
        return f"{self.url}?{query}" if query else self.url


def _address(link: str, session: Session) -> _Address:
    """Read a link.

    :raises Bitrix24Error: when it leads to a host that is not trusted; nothing was sent there.
    """
    try:
        parts = urlsplit(link)
        origin = parse_portal_address(f"{parts.scheme}://{parts.netloc}").url if parts.netloc else ""
    except ValueError:
        raise _refusal("This is no link to a file at a portal; nothing was sent.", session) from None
    if not origin and not parts.path.startswith("/"):
        raise _refusal("This is no link: expected https://… or /…; nothing was sent.", session)
    host = portal_host(origin) if origin else session.portal
    if host != session.portal:
        if not session.trusts(host):
            raise _refusal(
                f"The link leads to {host}, which is not the portal; nothing was sent there. If it is to be trusted, "
                "name it in the connection's trusted_hosts.",
                session,
            )
        return _Address(f"{origin}{parts.path}", parts.query)
    url, query = f"{session.portal_url}{parts.path}", parts.query
    method = _METHOD_PATH.match(parts.path)
    if method and "auth" not in parse_qs(query, keep_blank_values=True):
        url = session.url(Call(method[1]))
        query = f"{query}&auth=".lstrip("&") if session.app is not None else query
    gives_files = method or _PAGE_PATH.match(parts.path)
    return _Address(url, query, bool(session.app and gives_files and _EMPTY_AUTH.search(query)))


def _fetch(
    address: _Address, session: Session, progress: Progress, file: PartFile
) -> Conversation[Bitrix24Error | None]:
    """Ask for the file once, wherever the portal sends us.

    :return: why it did not come.
    """
    token = ""
    if address.needs_token:
        progress.used = yield from current_tokens(session, progress)
        if not progress.used.access_token:
            yield from renew(session, progress)
            progress.used = yield from current_tokens(session, progress)
        token = progress.used.access_token
    url = address.whole(token)
    refusal = yield from wait_for_slot("download", session, progress)
    if refusal is not None:
        raise refusal

    def write(data: bytes) -> None:
        if progress.remaining() == 0:
            raise TransportError("too_late", "The file took too long.", None, "download", session.portal)
        file.write(data)

    progress.attempt += 1
    for _ in range(MAX_HOPS + 1):
        timeout = session.timeout_of("download")
        remaining = progress.remaining()
        if remaining is not None:
            timeout = max(0.1, min(timeout, remaining))
        started = session.clock()
        answer: Response | NoResponse = yield Receive(Request("GET", url, _HEADERS, None, timeout), write)
        status = answer.status if isinstance(answer, Response) else None
        note(_DOWNLOAD, session.portal, session.clock() - started, progress, status, None, session)
        if not isinstance(answer, Response) or status not in REDIRECTS:
            return (yield from _judge(answer, session, progress))
        url = _next(url, answer.headers.get("location", ""), session)
    return Bitrix24Error(
        "too_many_redirects", "The portal redirects again and again.", None, "download", session.portal
    )


def _judge(
    answer: Response | NoResponse, session: Session, progress: Progress
) -> Conversation[Bitrix24Error | None]:
    if isinstance(answer, Response) and answer.status == 200:
        kind, is_file = answer.headers.get("content-type", ""), "content-disposition" in answer.headers
        if is_file or not kind.lower().startswith("text/html"):
            return None
        return _error(
            "no_file",
            "The link gives a page in place of a file: it is for people who are signed in. Take urlMachine or "
            "DOWNLOAD_URL.",
            session,
        )
    outcome = understand(answer, _DOWNLOAD, session)
    if isinstance(outcome, Reply):
        return _error("no_file", "The link gives no file.", session)
    if isinstance(outcome, RateLimitError):
        yield from session.ask_limit(lambda pacer: pacer.overflow(progress.slot, session.chance()))
    return outcome


def _next(url: str, location: str, session: Session) -> str:
    """Give the address that the portal redirects to.

    :raises Bitrix24Error: when it is not secure, or holds what opens the portal and is not the portal.
    """
    try:
        target = urljoin(url, location)
        parts = urlsplit(target)
        host = portal_host(parse_portal_address(f"{parts.scheme}://{parts.netloc}").url)
    except ValueError:
        raise _refusal("The portal redirects to an address that is not secure.", session) from None
    if host in (session.portal, portal_host(f"://{urlsplit(url).netloc}")) or session.trusts(host):
        return target
    opens = parse_qs(urlsplit(url).query)
    secrets = {*opens.get("auth", ()), *opens.get("token", ())}
    if session.knows_secret_in(target) or not secrets.isdisjoint(chain(*parse_qs(parts.query).values())):
        raise _refusal(
            f"The portal redirects to {host} with what opens the portal; nothing was sent there.", session
        )
    if is_loopback(parts.hostname or "") and not is_loopback(urlsplit(session.portal_url).hostname or ""):
        raise _refusal("The portal redirects to this machine.", session)
    return target


def _refusal(text: str, session: Session) -> Bitrix24Error:
    return _error("untrusted_link", text, session)


def _error(code: str, text: str, session: Session) -> Bitrix24Error:
    return Bitrix24Error(code, text, None, "download", session.portal)
