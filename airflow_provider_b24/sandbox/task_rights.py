"""Who may do what with a task: by the role a person has in it, and by its status.

Documented on https://apidocs.bitrix24.com/api-reference/tasks/fields.html and
https://apidocs.bitrix24.com/api-reference/tasks/tasks-task-access-get.html. Here everybody sees every task.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

_PENDING, _IN_PROGRESS, _SUPPOSEDLY_DONE, _DONE, _DEFERRED = "23456"
#: The roles of `tasks.task.counters.get`, and the fields that say who has them.
ROLES: Mapping[str, str] = {
    "view_role_responsible": "RESPONSIBLE_ID",
    "view_role_accomplice": "ACCOMPLICES",
    "view_role_auditor": "AUDITORS",
    "view_role_originator": "CREATED_BY",
}


def has_role(task: Mapping[str, Any], role: str, user_id: int) -> bool:
    """Return whether a person has a role in a task.

    :param task: with all its fields.
    :param role: one of :data:`ROLES`.
    """
    value = task[ROLES[role]]
    people = value if isinstance(value, list) else [value]
    return str(user_id) in map(str, people)


@dataclass(frozen=True, slots=True)
class Seat:
    """Where a person stands with regard to a task.

    :param task: with all its fields.
    :param owner: whether it is the creator, or an administrator.
    :param worker: whether it is the responsible person, or an accomplice.
    """

    task: Mapping[str, Any]
    admin: bool
    owner: bool
    responsible: bool
    worker: bool

    @classmethod
    def of(cls, task: Mapping[str, Any], user_id: int, *, admin: bool) -> Seat:
        """Return where a person stands."""
        creator, responsible, accomplice = (
            has_role(task, f"view_role_{name}", user_id)
            for name in ("originator", "responsible", "accomplice")
        )
        return cls(task, admin, admin or creator, responsible, responsible or accomplice)

    def is_at(self, *statuses: str) -> bool:
        """Return whether the task has one of these statuses."""
        return self.task["STATUS"] in statuses

    def yes(self, name: str) -> bool:
        """Return whether a switch of the task is on."""
        return str(self.task[name]) == "Y"

    @property
    def leads(self) -> bool:
        """Whether the task is this person's to lead: the owner and the responsible person do."""
        return self.owner or self.responsible

    @property
    def works(self) -> bool:
        """Whether it is this person's to work on."""
        return self.owner or self.worker


def _always(_: Seat) -> bool:
    return True


def _never(_: Seat) -> bool:
    return False


def _owner(seat: Seat) -> bool:
    return seat.owner


def _works(seat: Seat) -> bool:
    return seat.works


def _leads(seat: Seat) -> bool:
    return seat.leads


def _completes(seat: Seat) -> bool:
    return seat.works and not seat.is_at(_SUPPOSEDLY_DONE, _DONE)


def _starts(seat: Seat) -> bool:
    return seat.works and seat.is_at(_PENDING)


def _pauses(seat: Seat) -> bool:
    return seat.works and seat.is_at(_IN_PROGRESS)


def _renews(seat: Seat) -> bool:
    return seat.works and seat.is_at(_DONE, _DEFERRED)


def _judges(seat: Seat) -> bool:
    return seat.owner and seat.is_at(_SUPPOSEDLY_DONE)


def _delegates(seat: Seat) -> bool:
    return seat.leads and not seat.is_at(_DONE)


def _changes_deadline(seat: Seat) -> bool:
    return seat.owner or (seat.responsible and seat.yes("ALLOW_CHANGE_DEADLINE"))


def _tracks_time(seat: Seat) -> bool:
    return seat.works and seat.yes("ALLOW_TIME_TRACKING") and not seat.is_at(_DONE)


#: What the older methods call `action`; some of it by two names.
ACTIONS: Mapping[str, Callable[[Seat], bool]] = {
    "accept": _never,
    "decline": _never,
    "complete": _completes,
    "approve": _judges,
    "disapprove": _judges,
    "start": _starts,
    "pause": _pauses,
    "delegate": _delegates,
    "remove": _owner,
    "edit": _owner,
    "defer": _starts,
    "renew": _renews,
    "create": _always,
    "changeDeadline": _changes_deadline,
    "checklistAddItems": _works,
    "addFavorite": lambda seat: not seat.yes("FAVORITE"),
    "deleteFavorite": lambda seat: seat.yes("FAVORITE"),
    "rate": _owner,
    "take": _never,
    "edit.originator": _never,
    "checklist.reorder": _works,
    "elapsedtime.add": _works,
    "dayplan.timer.toggle": _tracks_time,
    "edit.plan": _owner,
    "checklist.add": _works,
    "favorite.add": lambda seat: not seat.yes("FAVORITE"),
    "favorite.delete": lambda seat: seat.yes("FAVORITE"),
}
#: What `tasks.task.access.get` of REST 3.0 tells.
RIGHTS: Mapping[str, Callable[[Seat], bool]] = {
    "read": _always,
    "watch": _always,
    "mute": _always,
    "createSubtask": _always,
    "createResult": _works,
    "edit": _owner,
    "remove": _owner,
    "complete": _completes,
    "approve": _judges,
    "disapprove": _judges,
    "start": _starts,
    "take": _never,
    "delegate": _delegates,
    "defer": _starts,
    "renew": _renews,
    "deadline": _changes_deadline,
    "datePlan": _owner,
    "changeDirector": _never,
    "changeResponsible": _leads,
    "changeAccomplices": _leads,
    "pause": _pauses,
    "timeTracking": _tracks_time,
    "mark": _owner,
    "changeStatus": _works,
    "reminder": _always,
    "addAuditors": _always,
    "elapsedTime": _works,
    "favorite": _always,
    "checklistAdd": _works,
    "checklistEdit": _works,
    "checklistSave": _works,
    "checklistToggle": _works,
    "automate": _owner,
    "resultEdit": _never,
    "completeResult": _works,
    "removeResult": _never,
    "resultRead": _never,
    "admin": lambda seat: seat.admin,
    "copy": _always,
    "saveAsTemplate": _always,
    "attachFile": _owner,
    "detachFile": _owner,
    "detachParent": _owner,
    "createGanttDependence": _owner,
    "sort": _never,
}


def allowed(seat: Seat | None, rules: Mapping[str, Callable[[Seat], bool]] = ACTIONS) -> dict[str, bool]:
    """Return what a person may do; nobody may do nothing."""
    return {name: seat is not None and rule(seat) for name, rule in rules.items()}


def in_capitals(names: Iterable[str]) -> dict[str, str]:
    """Return the names of actions as `tasks.task.getaccess` writes them: `CHANGE_DEADLINE`."""
    return {name: re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name).upper() for name in names}
