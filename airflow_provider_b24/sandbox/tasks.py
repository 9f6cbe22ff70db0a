"""What people are asked inside a process."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from airflow_provider_b24.sandbox.errors import RestError
from airflow_provider_b24.sandbox.steps import TASK_STATUSES

if TYPE_CHECKING:
    from airflow_provider_b24.sandbox.processes import Process
    from airflow_provider_b24.sandbox.steps import AskPerson

_STATUSES = {"1": 1, "yes": 1, "2": 2, "no": 2, "3": 3, "ok": 3, "4": 4, "cancel": 4}


@dataclass(slots=True)
class Task:
    """One question to one person.

    :param status: 0 in progress, 1 approved, 2 rejected, 3 completed, 4 cancelled.
    """

    id: int
    process: Process
    step: AskPerson
    activity: str
    user_id: int
    created: float
    status: int = 0


class Tasks:
    """All tasks of a portal."""

    def __init__(self) -> None:
        self._tasks: dict[int, Task] = {}

    def all(self) -> list[Task]:
        """Return every task, done ones included."""
        return list(self._tasks.values())

    def create(self, process: Process, step: AskPerson, activity: str, now: float) -> Task:
        """Give a task to the person the step names."""
        task = Task(len(self._tasks) + 1, process, step, activity, step.user_id, now)
        self._tasks[task.id] = task
        return task

    def get(self, number: int) -> Task | None:
        """Return one task, `None` when there is none with this number."""
        return self._tasks.get(number)

    def forget(self) -> None:
        """Forget every task."""
        self._tasks.clear()

    def cancel(self, process: Process) -> None:
        """Withdraw what a process that has ended still asks."""
        for task in self._tasks.values():
            if task.process is process and task.status == 0:
                task.status = 4

    def complete(
        self,
        user_id: int,
        parameters: Mapping[str, Any],
        go_on: Callable[[Process, str, Mapping[str, Any]], None],
    ) -> None:
        """Complete a task of one's own.

        :param go_on: what lets the task's process continue with the values of the task.
        :raises RestError: with the documented codes.
        """
        number = parameters.get("TASK_ID")
        if not number:
            raise RestError(400, "ERROR_TASK_VALIDATION", "empty TASK_ID")
        status = _STATUSES.get(str(parameters.get("STATUS", "")).lower())
        if status is None:
            raise RestError(400, "ERROR_TASK_VALIDATION", "incorrect STATUS")
        task = self._tasks.get(int(number)) if str(number).isdecimal() else None
        if task is None or task.user_id != user_id:
            raise RestError(400, "ERROR_TASK_NOT_FOUND", "Task not found")
        if task.status != 0:
            raise RestError(400, "ERROR_TASK_COMPLETED", "Task already completed")
        if status not in TASK_STATUSES[task.step.activity]:
            raise RestError(400, "ERROR_TASK_VALIDATION", "incorrect STATUS")
        fields = parameters.get("FIELDS")
        given = fields if isinstance(fields, Mapping) else {}
        if status != 4:
            for declared in task.step.fields:
                if declared.get("Required") and given.get(declared["Id"]) in (None, "", []):
                    raise RestError(
                        400, "ERROR_TASK_EXECUTION", f"The field {declared['Id']} must be filled in"
                    )
        task.status = status
        values = {declared["Id"]: given.get(declared["Id"]) for declared in task.step.fields}
        comment = str(parameters.get("COMMENT") or "")
        go_on(task.process, task.activity, {**values, "Status": status, "Comment": comment})

    def delegate(self, parameters: Mapping[str, Any], users: set[int]) -> None:
        """Hand tasks over to someone else.

        :param users: who there is to delegate to.
        :raises RestError: with the documented codes.
        """
        numbers = parameters.get("TASK_IDS")
        if isinstance(numbers, str | int):
            numbers = [numbers]
        if not isinstance(numbers, list) or not numbers or not all(str(n).isdecimal() for n in numbers):
            raise RestError(400, "ERROR_TASK_VALIDATION", "Invalid TASK_IDS")
        people = {}
        for name in ("FROM_USER_ID", "TO_USER_ID"):
            value = str(parameters.get(name, ""))
            if not value.isdecimal() or int(value) not in users:
                raise RestError(400, "ERROR_INVALID_USER_ID", f"Invalid {name}")
            people[name] = int(value)
        tasks = [self._tasks.get(int(number)) for number in numbers]
        for task in tasks:
            if task is None or task.status != 0 or task.user_id != people["FROM_USER_ID"]:
                raise RestError(400, "ERROR_DELEGATION_NOT_ALLOWED", "User is not responsible for the task")
        for task in tasks:
            if task is not None:
                task.user_id = people["TO_USER_ID"]
