"""One call from beginning to end, as a generator: it says what to do and is told what happened.

Pacing, sending, understanding the answer, renewing tokens, following a portal that has moved, repeating and giving
up are decided here and nowhere else. :mod:`airflow_provider_b24.rest.client` only does what it is asked for.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from airflow_provider_b24.exceptions import (
    AuthError,
    Bitrix24Error,
    ExpiredTokenError,
    OperationTimeLimitError,
    RateLimitError,
    TransportError,
)
from airflow_provider_b24.rest._errors import error_by_status, system_error
from airflow_provider_b24.rest.apis import APIS
from airflow_provider_b24.rest.bucket import Slot
from airflow_provider_b24.rest.call import Call, Reply
from airflow_provider_b24.rest.renewal import current_tokens, renew
from airflow_provider_b24.rest.repeating import Again, Progress
from airflow_provider_b24.rest.replacing import replaced
from airflow_provider_b24.rest.session import HEADERS, Session
from airflow_provider_b24.rest.wire import (
    Conversation,
    NoResponse,
    Request,
    Response,
    Send,
    TransportFailure,
)

if TYPE_CHECKING:
    from airflow_provider_b24.rest.pacing import Closed

logger = logging.getLogger("airflow_provider_b24.rest")

_KEY_HEADER = "Idempotency-Key"
REDIRECTS = frozenset({301, 302, 303, 307, 308})
MAX_HOPS = 3
_MAX_RENEWALS = 3
_MAX_REPLACEMENTS = 2


def converse(
    call: Call,
    session: Session,
    *,
    deadline: float | None = None,
    progress: Progress | None = None,
    params: Mapping[str, Any] | None = None,
    inside: Sequence[Call] = (),
) -> Conversation[Reply]:
    """Hold the conversation of one call.

    :param call: what is asked.
    :param session: what the client's conversations share.
    :param deadline: seconds it may take in all; ``None`` for the session's own deadline.
    :param progress: the call's earlier attempts, if there were any.
    :param params: ``call.params`` if they are already in the form that is sent.
    :param inside: the calls that a batch holds.
    :return: a generator that yields actions, is sent their outcome, and returns the reply.
    :raises Bitrix24Error: when the call has failed for good.
    :raises UnsendableValueError: when a parameter cannot be sent; nothing was.
    """
    progress = progress or Progress(call, session, deadline)
    api = APIS[call.api]
    sent_params = api.parameters(call.method, call.params) if params is None else dict(params)
    renewals = replacements = 0
    while True:
        credentials = session.credentials
        try:
            outcome = yield from _attempt(call, sent_params, session, progress, inside)
            if (
                isinstance(outcome, ExpiredTokenError)
                and session.app is not None
                and renewals < _MAX_RENEWALS
            ):
                renewals += 1
                session.observer.on_retry("expired_token")
                yield from renew(session, progress)
                continue
            failure = outcome if type(outcome) is AuthError else None
        except Bitrix24Error as error:
            outcome, failure = _NotSent(error), error if isinstance(error, AuthError) else None
        if isinstance(outcome, Reply):
            return outcome
        if failure is not None and not failure.retryable and replacements < _MAX_REPLACEMENTS:
            replacements += 1
            if (yield from replaced(credentials, progress, session)):
                session.observer.on_retry("credentials")
                continue
        if isinstance(outcome, _NotSent):
            # This time. An attempt before may have arrived.
            outcome.error.ambiguous |= progress.maybe_done
            raise outcome.error
        verdict = progress.judge(outcome)
        if isinstance(verdict, Reply):
            return verdict
        if isinstance(verdict, Bitrix24Error):
            raise verdict
        yield from pause(verdict, call.method, session)


def pause(again: Again, method: str, session: Session) -> Conversation[None]:
    """Wait before a call is sent again."""
    session.observer.on_retry(again.cause)
    if again.delay > 0:
        yield from session.wait(again.delay, "retry", method)


def wait_until_open(method: str, session: Session, progress: Progress) -> Conversation[Bitrix24Error | None]:
    """Wait while a method is known to be closed because of its operating time.

    :return: ``None`` when it is open; the error when that would be after the deadline.
    """
    closed = session.pacer.closed(session.owner, method)
    if closed is None:
        return None
    remaining = progress.remaining()
    if remaining is not None and closed.seconds > remaining:
        return closed_error(method, closed, session)
    yield from session.wait(closed.seconds, "operating_time", method)
    return None


def closed_error(method: str, closed: Closed, session: Session) -> OperationTimeLimitError:
    """Say that a method stays closed for longer than the caller can wait."""
    return OperationTimeLimitError(
        "OPERATION_TIME_LIMIT",
        f"The method is closed for {closed.seconds:.0f} s more, longer than the call may take.",
        None, method, session.portal, reset_at=closed.reset_at, retry_after=closed.seconds,
    )  # fmt: skip


def wait_for_slot(method: str, session: Session, progress: Progress) -> Conversation[Bitrix24Error | None]:
    """Wait for a place in the portal's bucket.

    :return: ``None`` when a request may be sent now; the error when that would be after the deadline.
    """
    while True:
        slot = yield from _reserve(progress.remaining(), session)
        if not isinstance(slot, Slot):
            return RateLimitError(
                "rate_limit",
                f"The portal's limit leaves no place for {slot:.1f} s, longer than the call may take.",
                None, method, session.portal, retry_after=slot,
            )  # fmt: skip
        progress.slot = slot
        if slot.wait <= 0:
            return None
        try:
            yield from session.wait(slot.wait, "rate_limit", method)
        except BaseException:
            if not session.pacer.is_remote:  # There it leaks away: nobody can be asked in between.
                session.pacer.release(slot)
            raise
        if (yield from _is_current(slot, session)):
            return None


def _reserve(longest_wait: float | None, session: Session) -> Conversation[Slot | float]:
    return session.ask_limit(lambda pacer: pacer.reserve(longest_wait))


def _is_current(slot: Slot, session: Session) -> Conversation[bool]:
    return session.ask_limit(lambda pacer: pacer.is_current(slot))


class _NotSent(NamedTuple):
    """Nothing was sent and nothing is repeated now: there are no tokens, or no place before the deadline."""

    error: Bitrix24Error


def _attempt(
    call: Call, params: dict[str, Any], session: Session, progress: Progress, inside: Sequence[Call]
) -> Conversation[Reply | Bitrix24Error | _NotSent]:
    """Send the call once, following the portal if it has moved."""
    for _ in range(MAX_HOPS + 1):
        if session.app is not None:
            tokens = yield from current_tokens(session, progress)
            if not tokens.access_token:
                # Only the refresh token is known yet: the call would be refused for nothing.
                progress.used = tokens
                yield from renew(session, progress)
        refusal = yield from wait_until_open(call.method, session, progress)
        if refusal is None:
            refusal = yield from wait_for_slot(call.method, session, progress)
        if refusal is not None:
            return _NotSent(refusal)
        progress.attempt += 1
        progress.used = session.tokens
        request = _request(call, params, session, progress)
        portal = session.portal
        started = session.clock()
        answer: Response | NoResponse = yield Send(request)
        progress.seconds = duration = session.clock() - started
        if isinstance(answer, Response) and answer.status in REDIRECTS:
            note(call, portal, duration, progress, answer.status, None, session)
            refused = session.follow(answer.headers.get("location", ""), call)
            if refused is not None:
                return refused
            session.observer.on_retry("moved")
            continue
        outcome = understand(answer, call, session, inside)
        status = answer.status if isinstance(answer, Response) else None
        operating = outcome.time.operating if isinstance(outcome, Reply) and outcome.time else None
        note(call, portal, duration, progress, status, operating, session)
        if isinstance(outcome, Reply):
            session.note_key(call, answer.headers.get(_KEY_HEADER) if isinstance(answer, Response) else None)
            if outcome.time is not None:
                # Never later than this side's clock allows: the portal's own finish may be an account of work.
                progress.portal_now = outcome.time.start + min(outcome.time.duration, duration)
            session.note_reply(call.method, outcome.time, progress.portal_now)
        else:
            session.note_error(call.method, outcome)
            if isinstance(outcome, RateLimitError):
                yield from session.ask_limit(lambda pacer: pacer.overflow(progress.slot, session.chance()))
        return outcome
    return Bitrix24Error(
        "too_many_redirects", "The portal redirects again and again.", None, call.method, session.portal
    )


def _request(call: Call, params: dict[str, Any], session: Session, progress: Progress) -> Request:
    timeout = session.timeout_of(call.method)
    remaining = progress.remaining()
    if remaining is not None:
        timeout = max(0.1, min(timeout, remaining))
    access_token = None if progress.used is None else progress.used.access_token
    body = APIS[call.api].body(call.method, params, access_token)
    headers = HEADERS
    if call.idempotency_key is not None:
        headers = {**HEADERS, _KEY_HEADER: call.idempotency_key}
    return Request("POST", session.url(call), headers, body, timeout)


def understand(
    answer: Response | NoResponse, call: Call, session: Session, inside: Sequence[Call] = ()
) -> Reply | Bitrix24Error:
    """Turn what came back into a reply or the error it stands for."""
    method, portal = call.method, session.portal
    if isinstance(answer, NoResponse):
        return transport_error(answer, method, portal)
    try:
        data = json.loads(answer.body)
    except (ValueError, RecursionError):
        return error_by_status(answer.status, method, portal)
    if not isinstance(data, dict):
        return error_by_status(answer.status, method, portal)
    # Some methods refuse with an empty code and say why in the description.
    if data.get("error") or (data.get("error_description") and "result" not in data):
        return error_from_json(data, answer.status, call, session, inside)
    if "result" not in data or answer.status >= 400:
        return error_by_status(answer.status, method, portal)
    return Reply.from_json(data, replayed=answer.headers.get("Idempotent-Replayed") == "true")


def error_from_json(
    data: Mapping[str, Any], status: int | None, call: Call, session: Session, inside: Sequence[Call] = ()
) -> Bitrix24Error:
    """Read an error object of the portal, without the secrets it may repeat.

    :param inside: the calls that a batch holds.
    """
    code, description = data.get("error"), data.get("error_description") or ""
    if isinstance(code, Mapping):
        description = _message(code) or description
        code = code.get("code")
    secrets = [
        str(value)
        for one in (call, *inside)
        for name, value in one.params.items()
        if str(name).upper() == "EVENT_TOKEN"
    ]
    return system_error(
        session.scrub(str(code or "refused"), *secrets),
        session.scrub(str(description), *secrets),
        status,
        call.method,
        session.portal,
        is_application=session.app is not None,
    )


def _message(error: Mapping[str, Any]) -> str:
    """Put together what REST 3.0 says, with what it says of each parameter."""
    problems = error.get("validation")
    texts = [
        ": ".join(str(part) for part in (problem.get("field"), problem.get("message")) if part)
        for problem in (problems if isinstance(problems, list) else ())
        if isinstance(problem, Mapping)
    ]
    message = str(error.get("message") or "")
    return f"{message.rstrip('.: ')}: {'; '.join(texts)}" if texts else message


def transport_error(no_response: NoResponse, method: str, portal: str) -> TransportError:
    """Say that no response came, and whether the portal may have done the work."""
    ambiguous = no_response.failure in (TransportFailure.TIMEOUT, TransportFailure.BROKEN)
    if ambiguous:
        text = f"{no_response.failure.value} ({no_response.reason}); the portal may have done the work all the same."
    else:
        text = f"{no_response.failure.value} ({no_response.reason}); nothing was sent."
        text += (
            " Is the portal's address right, and that of the proxy, where there is one?"
            if no_response.failure is TransportFailure.REFUSED
            else " Which authorities are trusted says the connection's field verify, or the environment."
        )
    code = no_response.failure.name.lower()
    error = TransportError(f"connection_{code}", text, None, method, portal, ambiguous=ambiguous)
    if no_response.failure is TransportFailure.UNTRUSTED:
        error.retryable = False
    return error


def note(
    call: Call,
    portal: str,
    duration: float,
    progress: Progress,
    status: int | None,
    operating: float | None,
    session: Session,
) -> None:
    """Tell the observer and the log about a request.

    :param status: of the response, ``None`` when there was none.
    """
    session.observer.on_request(call.method, portal, duration, progress.attempt, status, operating)
    if logger.isEnabledFor(logging.DEBUG):
        logger.debug(
            "%s at %s: status %s in %.3f s, attempt %d, operating time %s",
            call.method, portal, status, duration, progress.attempt, operating,
        )  # fmt: skip
