"""What belongs to a task as REST 3.0 has it: messages, files, results, and who may do what.

Documented on https://apidocs.bitrix24.com/api-reference/tasks/result/tasks-task-result-list-rest-v3.html and
https://apidocs.bitrix24.com/api-reference/tasks/tasks-task-chat-message-field-list.html.
"""

from __future__ import annotations

from airflow_provider_b24.sandbox.dto import Dto

ACCESS = Dto("AccessDto", {"id": "int"})
MESSAGE = Dto(
    "ChatMessageDto",
    {"id": "int", "taskId": "int", "text": "string"},
    editable=frozenset({"taskId", "text"}),
)
FILE = Dto("FileDto", {"taskId": "int", "fileIds": "array"}, editable=frozenset({"taskId", "fileIds"}))
RESULT = Dto(
    "ResultDto",
    {
        "id": "int",
        "taskId": "int",
        "text": "string",
        "authorId": "int",
        "author": "object",
        "createdAt": "DateTime",
        "updatedAt": "DateTime",
        "status": "string",
        "fileIds": "array",
        "rights": "object",
        "messageId": "int",
    },
    filterable=frozenset({"taskId", "id", "authorId", "status", "messageId"}),
    sortable=frozenset({"id", "authorId", "createdAt", "updatedAt", "status", "messageId"}),
    editable=frozenset({"text"}),
)
