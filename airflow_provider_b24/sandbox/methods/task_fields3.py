"""`tasks.task.field.*` and its like: what REST 3.0 says of the fields of tasks, messages, files and rights.

Documented on https://apidocs.bitrix24.com/api-reference/tasks/tasks-task-field-list.html.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow_provider_b24.sandbox import dto
from airflow_provider_b24.sandbox.errors import invalid
from airflow_provider_b24.sandbox.method import Rest3Call, Rest3Method
from airflow_provider_b24.sandbox.task_dto import TASK
from airflow_provider_b24.sandbox.task_objects import ACCESS, FILE, MESSAGE

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_OF: Mapping[str, dto.Dto] = {
    "tasks.task": TASK,
    "tasks.task.access": ACCESS,
    "tasks.task.chat.message": MESSAGE,
    "tasks.task.file": FILE,
}


def _list(kind: dto.Dto) -> Callable[[Rest3Call], Any]:
    return lambda call: {"items": dto.described(kind, call.params)}


def _get(kind: dto.Dto) -> Callable[[Rest3Call], Any]:
    def run(call: Rest3Call) -> dict[str, Any]:
        name = call.params.get("name")
        if name is None:
            raise invalid({"name": "Required field `name` is not specified"})
        [item] = dto.described(kind, call.params, str(name))
        return {"item": item}

    return run


METHODS3 = tuple(
    Rest3Method(f"{family}.field.{verb}", "tasks", make(kind))
    for family, kind in _OF.items()
    for verb, make in (("get", _get), ("list", _list))
)
