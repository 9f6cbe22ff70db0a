"""One request with many calls inside: what is sent as a ``batch``, and what the portal answers to each of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from airflow_provider_b24.exceptions import BatchError, Bitrix24Error, TransportError
from airflow_provider_b24.rest.apis import APIS, Answered
from airflow_provider_b24.rest.call import Call, Reply
from airflow_provider_b24.rest.conversation import converse, error_from_json

if TYPE_CHECKING:
    from airflow_provider_b24.rest.repeating import Progress
    from airflow_provider_b24.rest.session import Session
    from airflow_provider_b24.rest.wire import Conversation

Outcome = Reply | Bitrix24Error


def alone(call: Call, session: Session, progress: Progress, params: Mapping[str, Any]) -> Conversation[Reply]:
    """Hold the conversation of one call that could have been in a batch."""
    reply = yield from converse(call, session, progress=progress, params=params)
    session.sizes.succeeded([call.method], 1, progress.seconds, session.timeout_of("batch"))
    return reply


def exchange(
    calls: Sequence[Call], commands: Sequence[str], session: Session, progress: Progress, *, halt: bool
) -> Conversation[list[Outcome | None]]:
    """Send one ``batch``, under the keys ``c0``, ``c1``, …, and repeat nothing of what is inside.

    :param calls: what is asked.
    :param commands: the same as commands; references between them are possible.
    :param progress: of the batch as a whole.
    :return: a generator whose result has for each call its reply, its error, or ``None`` when the portal did not come
        to it because of ``halt``.
    :raises Bitrix24Error: when the batch as a whole has failed.
    """
    size, methods = len(calls), {call.method for call in calls}
    api = APIS[progress.call.api]
    session.observer.on_batch(size)
    params = api.batch(commands, halt=halt)
    try:
        reply = yield from converse(progress.call, session, progress=progress, params=params, inside=calls)
    except Bitrix24Error as error:
        if error.ambiguous or isinstance(error, BatchError):
            session.sizes.failed(methods, size)
        raise
    session.sizes.succeeded(methods, size, progress.seconds, session.timeout_of("batch"))
    try:
        answered = api.split(reply.result, size)
    except ValueError:
        raise TransportError(
            "unreadable_answer", "The response to the batch is not understood; the calls may have been done.",
            None, "batch", session.portal, ambiguous=True,
        ) from None  # fmt: skip
    return _outcomes(calls, answered, session, halt=halt)


def _outcomes(
    calls: Sequence[Call], answered: Sequence[Answered], session: Session, *, halt: bool
) -> list[Outcome | None]:
    outcomes: list[Outcome | None] = []
    halted = False
    for call, data in zip(calls, answered, strict=True):
        if "error" in data:
            error = error_from_json(data, None, call, session)
            session.note_error(call.method, error)
            outcomes.append(error)
            halted = halt
        elif data:
            outcomes.append(Reply.from_json(data))
        elif halted:
            outcomes.append(None)
        else:
            outcomes.append(
                TransportError(
                    "no_answer_in_batch", "The batch was answered, but this call was not; it may have been done.",
                    None, call.method, session.portal, ambiguous=True,
                )
            )  # fmt: skip
    return outcomes
