"""`tasks.task.chat.message.send`: what people write into a task's chat; the record of it is a `task_message`.

Documented on https://apidocs.bitrix24.com/api-reference/tasks/tasks-task-chat-message-send.html.
"""

from __future__ import annotations

from airflow_provider_b24.sandbox import dto
from airflow_provider_b24.sandbox.errors import invalid
from airflow_provider_b24.sandbox.method import Rest3Call, Rest3Method
from airflow_provider_b24.sandbox.task_objects import MESSAGE


def _send(call: Rest3Call) -> dict[str, bool]:
    fields = MESSAGE.fields(call.params)
    lacking = [name for name in ("taskId", "text") if not fields.get(name) and fields.get(name) != 0]
    if lacking:
        raise dto.missing(lacking)
    problems = MESSAGE.misfits(fields)
    if problems:
        raise invalid(problems)
    if fields["taskId"] not in call.portal.store.table("task"):
        raise dto.denied()
    message = {"TASK_ID": fields["taskId"], "TEXT": fields["text"]}
    call.portal.store.create("task_message", message, call.caller.user.id)
    return {"result": True}


METHODS3 = (Rest3Method("tasks.task.chat.message.send", "tasks", _send, keeps_result=True),)
