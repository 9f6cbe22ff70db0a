"""The calls of a batch one by one: what has become of each, and whose results it needs."""

from __future__ import annotations

import copy
import logging
from collections.abc import Callable, Iterable, Mapping
from math import inf
from typing import TYPE_CHECKING, Any

from airflow_provider_b24.exceptions import BatchError, Bitrix24Error
from airflow_provider_b24.rest.apis import APIS
from airflow_provider_b24.rest.batch_sizes import MAX_CALLS
from airflow_provider_b24.rest.call import Call, Reply
from airflow_provider_b24.rest.encoding import UnsendableValueError
from airflow_provider_b24.rest.exchange import Outcome
from airflow_provider_b24.rest.references import on_the_wire, part_of, refs_in, replaced
from airflow_provider_b24.rest.repeating import Again, Progress

if TYPE_CHECKING:
    from airflow_provider_b24.rest.encoding import Ref
    from airflow_provider_b24.rest.session import Session

logger = logging.getLogger("airflow_provider_b24.rest")

OnOutcome = Callable[[int, Outcome], None]


class Item:
    """One call of a batch and what has become of it.

    :param deadline: seconds it may take in all, if the call does not say.
    :param number: its place among the calls.
    :param named: the items before it whose calls have a name.
    :param halt: whether none is to be made after the first that fails.
    """

    def __init__(
        self,
        call: Call,
        session: Session,
        deadline: float | None,
        number: int,
        named: Mapping[str, Item],
        *,
        halt: bool,
    ) -> None:
        self.call = call
        self.number = number
        self.progress = Progress(call, session, deadline)
        self.outcome: Outcome | None = None
        self.on_outcome: OnOutcome | None = None
        self.lost: Bitrix24Error | None = None
        """What became of the last attempt that may have done it, if there was one."""
        self.not_before = 0.0
        # A batch has one header, and so no room for keys.
        self.fits_batch = call.idempotency_key is None
        self._halt = halt
        self.needs: dict[Ref, Item] = {}
        if named:
            self.needs = {ref: named[ref.name] for ref in refs_in(call.params) if ref.name in named}
        self.encode({item.number: MAX_CALLS - 1 for item in self.needs.values()})

    def encode(self, places: Mapping[int, int]) -> None:
        """Put what the call needs in its parameters: results that are known, and references to the others.

        :param places: where in the request the others stand, by their numbers.
        """

        def put(ref: Ref) -> Any:
            if ref not in self.needs:
                return ref
            item = self.needs[ref]
            if isinstance(item.outcome, Reply):
                return part_of(item.outcome.result, ref)
            return on_the_wire(ref, places[item.number])

        api, method, given = APIS[self.call.api], self.call.method, self.call.params
        self.params = api.parameters(method, replaced(given, put) if self.needs else given)
        # REST 3.0 has references of its own kind: there a result is waited for.
        travels = self.fits_batch and (self.call.api == "v2" or not self.open_needs())
        effect = self.progress.effect
        self.command = api.command(method, self.params, effect, halt=self._halt) if travels else None

    def refuse_batches(self) -> None:
        """Take note that its method must not be called in a batch."""
        self.fits_batch, self.command = False, None

    def open_needs(self) -> list[Item]:
        """Give the items without an outcome whose results it needs."""
        return [item for item in self.needs.values() if item.outcome is None]

    def look_at_needs(self, portal: str) -> None:
        """Go on without the others, as far as they have outcomes; finish when one cannot give what is needed."""
        for ref, item in self.needs.items():
            if isinstance(item.outcome, Reply) and _has(item.outcome, ref):
                continue
            if item.outcome is not None:
                code, what = ("no_such_result", f"there is no {ref} in what it gave")
                if isinstance(item.outcome, Bitrix24Error):
                    code, what = "needed_call_failed", "it failed"
                text = f"Not called: it needs the result of {ref.name!r} ({item.call.method}), and {what}."
                self.leave_out(BatchError(code, text, None, self.call.method, portal))
                return
        waited_for = {item.number: MAX_CALLS - 1 for item in self.open_needs()}
        if len(waited_for) == len({item.number for item in self.needs.values()}):
            return
        try:
            self.encode(waited_for)
        except UnsendableValueError as error:
            text = f"Not called: a result that it needs cannot be sent. {error}"
            self.leave_out(BatchError("unsendable_result", text, None, self.call.method, portal))
            return
        if not waited_for:
            self.needs = {}

    def warn_of_nothing(self, portal: str) -> None:
        """Say that it was called without what it needs: the portal puts nothing in the place of what there is not."""
        for ref, need in self.needs.items():
            if isinstance(need.outcome, Reply) and not _has(need.outcome, ref):
                logger.warning(
                    "%s at %s was called with nothing in the place of %s: there is none in the result of %s.",
                    self.call.method, portal, ref, need.call.method,
                )  # fmt: skip

    def finish(self, outcome: Outcome) -> None:
        """Give the item its outcome."""
        if isinstance(outcome, Bitrix24Error):
            outcome.ambiguous |= self.progress.maybe_done
        self.outcome = outcome
        if self.on_outcome is not None:
            self.on_outcome(self.number, outcome)

    def finish_with(self, error: Bitrix24Error) -> None:
        """Finish with an error that concerns more items than this."""
        own = copy.copy(error)
        own.method = self.call.method
        self.finish(own)

    def leave_out(self, error: BatchError) -> None:
        """Finish because of another call: with that, unless an attempt may have done this one."""
        self.finish(self.lost or error)

    def judge(self, error: Bitrix24Error, session: Session) -> None:
        """Finish with an error, or leave the item open when it may be sent again."""
        if error.ambiguous:
            self.lost = error
        verdict = self.progress.judge(error)
        if isinstance(verdict, Again):
            session.observer.on_retry(verdict.cause)
            self.not_before = session.clock() + verdict.delay
        else:
            self.finish(verdict)

    def length(self) -> float:
        """How many bytes the item adds to a request: more than any when no batch can carry it."""
        return inf if self.command is None else len(self.command) + 16


def _has(reply: Reply, ref: Ref) -> bool:
    try:
        part_of(reply.result, ref)
    except LookupError:
        return False
    return True


def groups_of(items: Iterable[Item]) -> list[list[Item]]:
    """Put items together that need each other, in order; the others are groups of one."""
    group_of: dict[int, list[Item]] = {}
    for item in items:
        group = group_of[item.number] = [item]
        for need in item.open_needs() if item.needs else ():
            other = group_of[need.number]
            if other is not group:
                other += group
                group_of |= dict.fromkeys((one.number for one in group), other)
                group = other
    groups = {id(group): group for group in group_of.values()}.values()
    return [sorted(group, key=lambda item: item.number) if len(group) > 1 else group for group in groups]
