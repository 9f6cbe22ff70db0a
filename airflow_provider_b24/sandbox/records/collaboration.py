"""The fields of tasks with what belongs to them, and of notifications.

Documented on https://apidocs.bitrix24.com/api-reference/tasks/fields.html and
https://apidocs.bitrix24.com/api-reference/chats/notifications/im-notify-get.html.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

# A task's title is found by a pattern with `%` and `_`.
_TASK = """
integer r: ID
pattern q: TITLE
string: DESCRIPTION GUID SITE_ID XML_ID
integer q: CREATED_BY RESPONSIBLE_ID
integer: PARENT_ID GROUP_ID STAGE_ID SPRINT_ID BACKLOG_ID FLOW_ID FORUM_ID FORUM_TOPIC_ID OUTLOOK_VERSION
integer: CHANGED_BY STATUS_CHANGED_BY CLOSED_BY TIME_ESTIMATE TIME_SPENT_IN_LOGS DURATION_PLAN DURATION_FACT
integer: COMMENTS_COUNT SERVICE_COMMENTS_COUNT NEW_COMMENTS_COUNT EXCHANGE_ID MATCH_WORK_TIME
double: SORTING
enum: STATUS PRIORITY MARK MULTITASK NOT_VIEWED REPLICATE ADD_IN_REPORT ALLOW_CHANGE_DEADLINE
enum: ALLOW_TIME_TRACKING TASK_CONTROL DURATION_TYPE SUBORDINATE FAVORITE IS_MUTED IS_PINNED IS_PINNED_IN_GROUP
enum: FORKED_BY_TEMPLATE_ID DESCRIPTION_IN_BBCODE
datetime: CREATED_DATE CHANGED_DATE STATUS_CHANGED_DATE CLOSED_DATE ACTIVITY_DATE DATE_START DEADLINE
datetime: START_DATE_PLAN END_DATE_PLAN VIEWED_DATE EXCHANGE_MODIFIED
array m: ACCOMPLICES AUDITORS CHECKLIST TAGS UF_CRM_TASK UF_TASK_WEBDAV_FILES
mail_message: UF_MAIL_MESSAGE
"""
_HISTORY = """
integer r: ID
integer: TASK_ID USER_ID
datetime: CREATED_DATE
string: FIELD FROM_VALUE TO_VALUE
"""
# What is written in a task's chat; in older task cards it is a comment.
_MESSAGE = """
integer r: ID
integer: TASK_ID CREATED_BY
datetime: CREATED_DATE
string: TEXT
"""
_RESULT = """
integer r: ID
integer: TASK_ID CREATED_BY MESSAGE_ID
datetime: CREATED_DATE UPDATED_DATE
string: TEXT
enum: STATUS
"""
_FILE = """
integer r: ID
integer: TASK_ID CREATED_BY FILE_ID
"""
_NOTIFICATION = """
integer r: ID
user: USER_ID AUTHOR_ID
datetime: DATE_CREATE
string: MESSAGE MESSAGE_OUT TAG SUB_TAG CLIENT_ID
integer: NOTIFY_TYPE
string: NOTIFY_MODULE NOTIFY_EVENT NOTIFY_TITLE ANSWER
char: NOTIFY_READ CAN_ANSWER
any: ATTACH NOTIFY_BUTTONS
"""
#: What there is of each kind: fields, entity type, field of the stage, fields of dates, title, defaults.
KINDS: Mapping[str, tuple[str, int, str, tuple[str, ...], str, Mapping[str, Any]]] = {
    "task": (
        _TASK,
        0,
        "",
        ("CREATED_DATE", "CHANGED_DATE", "STATUS_CHANGED_DATE", "ACTIVITY_DATE"),
        "Task #",
        {
            "STATUS": "2",
            "PRIORITY": "1",
            "DURATION_TYPE": "days",
            "DESCRIPTION": "",
            "DESCRIPTION_IN_BBCODE": "Y",
            "SITE_ID": "s1",
            **dict.fromkeys(("CREATED_BY", "RESPONSIBLE_ID", "CHANGED_BY"), 1),
            **dict.fromkeys(("GROUP_ID", "STAGE_ID", "TIME_ESTIMATE", "NEW_COMMENTS_COUNT"), 0),
            **dict.fromkeys(
                (
                    "MULTITASK",
                    "NOT_VIEWED",
                    "REPLICATE",
                    "ADD_IN_REPORT",
                    "ALLOW_CHANGE_DEADLINE",
                    "ALLOW_TIME_TRACKING",
                    "TASK_CONTROL",
                    "MATCH_WORK_TIME",
                    "FAVORITE",
                    "IS_MUTED",
                    "IS_PINNED",
                    "IS_PINNED_IN_GROUP",
                    "SUBORDINATE",
                ),
                "N",
            ),
        },
    ),
    "task_history": (_HISTORY, 0, "", ("CREATED_DATE",), "", {}),
    "task_message": (_MESSAGE, 0, "", ("CREATED_DATE",), "", {"CREATED_BY": 1, "TEXT": ""}),
    "task_result": (_RESULT, 0, "", ("CREATED_DATE",), "", {"CREATED_BY": 1, "TEXT": "", "STATUS": "open"}),
    "task_file": (_FILE, 0, "", (), "", {"CREATED_BY": 1}),
    "notification": (
        _NOTIFICATION,
        0,
        "",
        ("DATE_CREATE",),
        "",
        {
            "AUTHOR_ID": 0,
            "NOTIFY_TYPE": 4,
            "NOTIFY_MODULE": "rest",
            "NOTIFY_EVENT": "rest_notify",
            **dict.fromkeys(("MESSAGE", "MESSAGE_OUT", "TAG", "SUB_TAG", "NOTIFY_TITLE"), ""),
            **dict.fromkeys(("NOTIFY_READ", "CAN_ANSWER"), "N"),
        },
    ),
}
