"""A task as REST 3.0 has it: its fields, and how the one store of records calls them.

Documented on https://apidocs.bitrix24.com/api-reference/tasks/fields-rest-v3.html.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow_provider_b24.sandbox.dto import Dto
from airflow_provider_b24.sandbox.records import filters
from airflow_provider_b24.sandbox.records.task_changes import belonging, chat_of
from airflow_provider_b24.sandbox.task_rights import RIGHTS, Seat, allowed

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from airflow_provider_b24.sandbox.callers import User
    from airflow_provider_b24.sandbox.records.store import Store
    from airflow_provider_b24.sandbox.records.table import Table

# Type, and name in the store: first what callers may write.
_WRITTEN: Mapping[str, tuple[str, str]] = {
    "title": ("string", "TITLE"),
    "description": ("string", "DESCRIPTION"),
    "creatorId": ("int", "CREATED_BY"),
    "responsibleId": ("int", "RESPONSIBLE_ID"),
    "deadline": ("DateTime", "DEADLINE"),
    "needsControl": ("bool", "TASK_CONTROL"),
    "startPlan": ("DateTime", "START_DATE_PLAN"),
    "endPlan": ("DateTime", "END_DATE_PLAN"),
    "groupId": ("int", "GROUP_ID"),
    "stageId": ("int", "STAGE_ID"),
    "flowId": ("int", "FLOW_ID"),
    "priority": ("string", "PRIORITY"),
    "status": ("string", "STATUS"),
    "accomplices": ("array", "ACCOMPLICES"),
    "auditors": ("array", "AUDITORS"),
    "parentId": ("int", "PARENT_ID"),
    "plannedDuration": ("int", "DURATION_PLAN"),
    "durationType": ("string", "DURATION_TYPE"),
    "estimatedTime": ("int", "TIME_ESTIMATE"),
    "replicate": ("bool", "REPLICATE"),
    "xmlId": ("string", "XML_ID"),
    "mark": ("string", "MARK"),
    "allowsChangeDeadline": ("bool", "ALLOW_CHANGE_DEADLINE"),
    "allowsTimeTracking": ("bool", "ALLOW_TIME_TRACKING"),
    "matchesWorkTime": ("bool", "MATCH_WORK_TIME"),
    "addInReport": ("bool", "ADD_IN_REPORT"),
    "isMultitask": ("bool", "MULTITASK"),
    "siteId": ("string", "SITE_ID"),
    "crmItemIds": ("array", "UF_CRM_TASK"),
}
#: What the store has of a task: type, and name there.
STORED: Mapping[str, tuple[str, str]] = {
    "id": ("int", "ID"),
    **_WRITTEN,
    "created": ("DateTime", "CREATED_DATE"),
    "statusChanged": ("DateTime", "STATUS_CHANGED_DATE"),
    "started": ("DateTime", "DATE_START"),
    "changed": ("DateTime", "CHANGED_DATE"),
    "changedById": ("int", "CHANGED_BY"),
    "statusChangedById": ("int", "STATUS_CHANGED_BY"),
    "closed": ("DateTime", "CLOSED_DATE"),
    "closedById": ("int", "CLOSED_BY"),
    "activity": ("DateTime", "ACTIVITY_DATE"),
    "actualDuration": ("int", "DURATION_FACT"),
    "guid": ("string", "GUID"),
    "exchangeId": ("string", "EXCHANGE_ID"),
    "exchangeModified": ("string", "EXCHANGE_MODIFIED"),
    "outlookVersion": ("int", "OUTLOOK_VERSION"),
    "forumTopicId": ("int", "FORUM_TOPIC_ID"),
    "forkedByTemplateId": ("int", "FORKED_BY_TEMPLATE_ID"),
    "emailId": ("int", "UF_MAIL_MESSAGE"),
    "fileIds": ("array", "UF_TASK_WEBDAV_FILES"),
}
# What is made of the records around it, and what is the same for all of them here.
_COMPUTED: Mapping[str, str] = {
    "chatId": "int",
    "containsChecklist": "bool",
    "containsSubTasks": "bool",
    "containsResults": "bool",
    "inFavorite": "array",
    "inPin": "array",
    "inGroupPin": "array",
    "inMute": "array",
    "link": "string",
    "rights": "array",
}
_ALIKE: Mapping[str, tuple[str, Any]] = {
    "archiveLink": ("string", None),
    "checklist": ("array", []),
    "epicId": ("int", None),
    "storyPoints": ("int", None),
    "containsRelatedTasks": ("bool", False),
    "containsGanttLinks": ("bool", False),
    "containsPlacements": ("bool", False),
    "numberOfReminders": ("int", 0),
    "deadlineCount": ("int", None),
    "declineReason": ("string", None),
    "maxDeadlineChangeDate": ("DateTime", None),
    "maxDeadlineChanges": ("int", None),
    "requireDeadlineChangeReason": ("bool", False),
    "requireResult": ("bool", False),
    "matchesSubTasksTime": ("bool", False),
    "autocompleteSubTasks": ("bool", False),
    "allowsChangeDatePlan": ("bool", False),
    "dependsOn": ("array", []),
    "scenarios": ("array", ["default"]),
}
#: Related people, by the field that says who it is.
PEOPLE: Mapping[str, str] = {
    "creator": "creatorId",
    "responsible": "responsibleId",
    "changedBy": "changedById",
    "statusChangedBy": "statusChangedById",
    "closedBy": "closedById",
}
_RELATED = ("group", "stage", "flow", "parent", "chat", "forkedByTemplate", "email", "elapsedTime", "source")
TASK = Dto(
    "TaskDto",
    {
        **{name: kind for name, (kind, _) in STORED.items()},
        **_COMPUTED,
        **{name: kind for name, (kind, _) in _ALIKE.items()},
        **dict.fromkeys((*PEOPLE, *_RELATED), "object"),
    },
    editable=frozenset(_WRITTEN) - {"creatorId"},
    sortable=frozenset(
        [
            "id",
            "title",
            "creatorId",
            "created",
            "responsibleId",
            "deadline",
            "startPlan",
            "endPlan",
            "groupId",
            "priority",
            "status",
            "started",
            "estimatedTime",
            "changed",
            "closed",
            "activity",
            "mark",
            "allowsChangeDeadline",
            "allowsTimeTracking",
        ]
    ),
)
_WORDS: Mapping[str, Mapping[str, str]] = {
    "priority": {"low": "0", "average": "1", "high": "2"},
    "status": {
        "pending": "2",
        "in_progress": "3",
        "supposedly_completed": "4",
        "completed": "5",
        "deferred": "6",
    },
}
_SWITCHES = {
    "inFavorite": "FAVORITE",
    "inPin": "IS_PINNED",
    "inGroupPin": "IS_PINNED_IN_GROUP",
    "inMute": "IS_MUTED",
}


def written(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Return fields as the store has them."""
    values: dict[str, Any] = {}
    for name, value in fields.items():
        stored = ("Y" if value else "N") if isinstance(value, bool) else value
        values[_WRITTEN[name][1]] = _WORDS[name].get(value, value) if name in _WORDS else stored
    return values


def read(table: Table, number: int, names: Iterable[str] = STORED) -> dict[str, Any]:
    """Return what the store has of a task, as REST 3.0 has it.

    :param names: of :data:`STORED`.
    :raises KeyError: when there is no such task.
    """
    row, fields = table.row(number), table.schema.fields
    found = {}
    for name in names:
        kind, stored = STORED[name]
        found[name] = _value(name, kind, row.get(stored, fields[stored].default))
    return found


def _value(name: str, kind: str, value: Any) -> Any:
    if name in _WORDS:
        words = {number: word for word, number in _WORDS[name].items()}
        return words.get(value, value)
    if kind == "bool":
        return value == "Y"
    if kind == "array":
        people = name in ("accomplices", "auditors", "fileIds")
        return [int(item) if people and str(item).isdecimal() else item for item in value or ()]
    if value is not None and kind == "int" and str(value).isdecimal():
        return int(value)
    # No parent is none, not the task number 0.
    return None if name == "parentId" and not value else value


def item(store: Store, number: int, user: User) -> dict[str, Any]:
    """Return a task without its related objects.

    :param user: who looks at it.
    :raises KeyError: when there is no such task.
    """
    table = store.table("task")
    task = table.get(number) or {}
    subtasks, _, _ = table.page(filters.CRM, filter_by={"=PARENT_ID": number}, start=-1)
    return {
        **read(table, number),
        **{name: value for name, (_, value) in _ALIKE.items()},
        **{name: [user.id] if task[stored] == "Y" else [] for name, stored in _SWITCHES.items()},
        "chatId": chat_of(number),
        "containsChecklist": bool(task["CHECKLIST"]),
        "containsSubTasks": bool(subtasks),
        "containsResults": bool(belonging(store, "task_result", number)),
        "link": f"/company/personal/user/{user.id}/tasks/task/view/{number}/",
        "rights": allowed(Seat.of(task, user.id, admin=user.admin), RIGHTS),
    }
