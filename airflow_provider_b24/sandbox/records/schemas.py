"""The fields of every kind of record, as the `fields` methods tell them.

Documented on https://apidocs.bitrix24.com/api-reference/crm/universal/object-fields.html,
https://apidocs.bitrix24.com/api-reference/tasks/fields.html and
https://apidocs.bitrix24.com/api-reference/user/user-fields.html.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING, Any

from airflow_provider_b24.sandbox.records.fields import ANY, Field, FieldType

if TYPE_CHECKING:
    from collections.abc import Mapping

_LEAD = """
integer r: ID
string q: TITLE
string: NAME SECOND_NAME LAST_NAME COMPANY_TITLE POST COMMENTS SOURCE_DESCRIPTION STATUS_DESCRIPTION
string: ORIGINATOR_ID ORIGIN_ID UTM_SOURCE UTM_MEDIUM UTM_CAMPAIGN UTM_CONTENT UTM_TERM
string: ADDRESS ADDRESS_2 ADDRESS_CITY ADDRESS_POSTAL_CODE ADDRESS_REGION ADDRESS_PROVINCE ADDRESS_COUNTRY
string: ADDRESS_COUNTRY_CODE
integer: ADDRESS_LOC_ADDR_ID
date: BIRTHDATE
crm_status: HONORIFIC SOURCE_ID STATUS_ID
string r: STATUS_SEMANTIC_ID
double: OPPORTUNITY
crm_currency: CURRENCY_ID
char: IS_MANUAL_OPPORTUNITY OPENED
char r: HAS_PHONE HAS_EMAIL HAS_IMOL IS_RETURN_CUSTOMER
user: ASSIGNED_BY_ID
user r: CREATED_BY_ID MODIFY_BY_ID MOVED_BY_ID LAST_ACTIVITY_BY
datetime r: DATE_CREATE DATE_MODIFY DATE_CLOSED MOVED_TIME LAST_ACTIVITY_TIME
crm_company: COMPANY_ID
crm_contact d: CONTACT_ID
crm_contact m: CONTACT_IDS
crm_multifield m: PHONE EMAIL WEB IM LINK
"""
_DEAL = """
integer r: ID
string: TITLE COMMENTS ADDITIONAL_INFO SOURCE_DESCRIPTION ORIGINATOR_ID ORIGIN_ID
string: UTM_SOURCE UTM_MEDIUM UTM_CAMPAIGN UTM_CONTENT UTM_TERM
crm_status: TYPE_ID STAGE_ID SOURCE_ID
string r: STAGE_SEMANTIC_ID
crm_category i: CATEGORY_ID
integer: PROBABILITY
double: OPPORTUNITY TAX_VALUE
crm_currency: CURRENCY_ID
char: IS_MANUAL_OPPORTUNITY OPENED CLOSED IS_RECURRING IS_RETURN_CUSTOMER IS_REPEATED_APPROACH
char r: IS_NEW
user: ASSIGNED_BY_ID
user r: CREATED_BY_ID MODIFY_BY_ID MOVED_BY_ID LAST_ACTIVITY_BY
date: BEGINDATE CLOSEDATE
datetime r: DATE_CREATE DATE_MODIFY MOVED_TIME LAST_ACTIVITY_TIME
location: LOCATION_ID
crm_company: COMPANY_ID
crm_contact d: CONTACT_ID
crm_contact m: CONTACT_IDS
crm_lead r: LEAD_ID
crm_quote r: QUOTE_ID
"""
_CONTACT = """
integer r: ID
crm_status: HONORIFIC TYPE_ID SOURCE_ID
string: NAME SECOND_NAME LAST_NAME POST COMMENTS SOURCE_DESCRIPTION ORIGINATOR_ID ORIGIN_ID ORIGIN_VERSION
string: UTM_SOURCE UTM_MEDIUM UTM_CAMPAIGN UTM_CONTENT UTM_TERM
string: ADDRESS ADDRESS_2 ADDRESS_CITY ADDRESS_POSTAL_CODE ADDRESS_REGION ADDRESS_PROVINCE ADDRESS_COUNTRY
string: ADDRESS_COUNTRY_CODE
integer: ADDRESS_LOC_ADDR_ID
file: PHOTO
date: BIRTHDATE
char: OPENED EXPORT
char r: HAS_PHONE HAS_EMAIL HAS_IMOL
user: ASSIGNED_BY_ID
user r: CREATED_BY_ID MODIFY_BY_ID LAST_ACTIVITY_BY
datetime r: DATE_CREATE DATE_MODIFY LAST_ACTIVITY_TIME
crm_company: COMPANY_ID
crm_company m: COMPANY_IDS
crm_lead r: LEAD_ID
integer r: FACE_ID
crm_multifield m: PHONE EMAIL WEB IM LINK
"""
_COMPANY = """
integer r: ID
string q: TITLE
crm_status: COMPANY_TYPE INDUSTRY EMPLOYEES
file: LOGO
string: COMMENTS BANKING_DETAILS ADDRESS_LEGAL ORIGINATOR_ID ORIGIN_ID ORIGIN_VERSION
string: UTM_SOURCE UTM_MEDIUM UTM_CAMPAIGN UTM_CONTENT UTM_TERM
string: ADDRESS ADDRESS_2 ADDRESS_CITY ADDRESS_POSTAL_CODE ADDRESS_REGION ADDRESS_PROVINCE ADDRESS_COUNTRY
string: ADDRESS_COUNTRY_CODE REG_ADDRESS REG_ADDRESS_2 REG_ADDRESS_CITY REG_ADDRESS_POSTAL_CODE
string: REG_ADDRESS_REGION REG_ADDRESS_PROVINCE REG_ADDRESS_COUNTRY REG_ADDRESS_COUNTRY_CODE
integer: ADDRESS_LOC_ADDR_ID REG_ADDRESS_LOC_ADDR_ID
double: REVENUE
crm_currency: CURRENCY_ID
char: OPENED IS_MY_COMPANY
char r: HAS_PHONE HAS_EMAIL HAS_IMOL
user: ASSIGNED_BY_ID
user r: CREATED_BY_ID MODIFY_BY_ID LAST_ACTIVITY_BY
datetime r: DATE_CREATE DATE_MODIFY LAST_ACTIVITY_TIME
string r: LAST_COMMUNICATION_TIME
crm_contact m: CONTACT_ID
crm_lead r: LEAD_ID
crm_multifield m: PHONE EMAIL WEB IM LINK
"""
_ITEM = """
integer r: ID
string: TITLE XML_ID
crm_status: STAGE_ID SOURCE_ID
crm_status r: PREVIOUS_STAGE_ID
crm_category: CATEGORY_ID
text: SOURCE_DESCRIPTION
double: OPPORTUNITY TAX_VALUE
crm_currency: CURRENCY_ID
boolean: IS_MANUAL_OPPORTUNITY
boolean q: OPENED
user: ASSIGNED_BY_ID
user r: CREATED_BY UPDATED_BY MOVED_BY LAST_ACTIVITY_BY
user m: OBSERVERS
date: BEGINDATE CLOSEDATE
datetime r: CREATED_TIME UPDATED_TIME MOVED_TIME LAST_ACTIVITY_TIME
crm_company: COMPANY_ID MYCOMPANY_ID
crm_contact d: CONTACT_ID
crm_contact m: CONTACT_IDS
crm_entity: PARENT_ID_1 PARENT_ID_2
integer: WEBFORM_ID
"""
# A task's title, and a name of an employee below, is found by a pattern with `%` and `_`.
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
_USER = """
integer r: ID
boolean: ACTIVE
string: XML_ID TITLE EMAIL TIME_ZONE USER_TYPE
pattern: NAME LAST_NAME SECOND_NAME
char r: IS_ONLINE
datetime r: LAST_LOGIN DATE_REGISTER TIMESTAMP_X LAST_ACTIVITY_DATE
string: PERSONAL_GENDER PERSONAL_PROFESSION PERSONAL_WWW PERSONAL_ICQ PERSONAL_PHONE PERSONAL_FAX
string: PERSONAL_MOBILE PERSONAL_PAGER PERSONAL_STREET PERSONAL_CITY PERSONAL_STATE PERSONAL_ZIP
string: PERSONAL_COUNTRY PERSONAL_MAILBOX PERSONAL_NOTES
date: PERSONAL_BIRTHDAY UF_EMPLOYMENT_DATE
file: PERSONAL_PHOTO WORK_LOGO
string: WORK_PHONE WORK_COMPANY WORK_POSITION WORK_DEPARTMENT WORK_WWW WORK_FAX WORK_PAGER WORK_STREET
string: WORK_MAILBOX WORK_CITY WORK_STATE WORK_ZIP WORK_COUNTRY WORK_PROFILE WORK_NOTES
string: UF_SKYPE_LINK UF_ZOOM UF_TIMEMAN UF_INTERESTS UF_SKILLS UF_WEB_SITES UF_XING UF_LINKEDIN UF_FACEBOOK
string: UF_TWITTER UF_SKYPE UF_DISTRICT UF_PHONE_INNER
crm_entity m: UF_DEPARTMENT
"""
_DEPARTMENT = """
integer r: ID
string q: NAME
integer: SORT
integer q: PARENT
user: UF_HEAD
"""
_NOTIFICATION = """
integer r: ID
user: USER_ID
string: MESSAGE MESSAGE_OUT TAG SUB_TAG CLIENT_ID
any: ATTACH
"""

_STATUS = """
integer r: ID
string i q: ENTITY_ID STATUS_ID
string q: NAME
string r: NAME_INIT SEMANTICS SYSTEM
integer: SORT
string: COLOR
integer i: CATEGORY_ID
"""
_USERFIELD = """
integer r: ID
string i q: ENTITY_ID FIELD_NAME USER_TYPE_ID
string: XML_ID MULTIPLE MANDATORY SHOW_FILTER SHOW_IN_LIST EDIT_IN_LIST IS_SEARCHABLE
integer: SORT
any: EDIT_FORM_LABEL LIST_COLUMN_LABEL LIST_FILTER_LABEL ERROR_MESSAGE HELP_MESSAGE LIST SETTINGS
"""

_STATUS_TYPES = {
    "HONORIFIC": "HONORIFIC",
    "SOURCE_ID": "SOURCE",
    "STATUS_ID": "STATUS",
    "COMPANY_TYPE": "COMPANY_TYPE",
    "INDUSTRY": "INDUSTRY",
    "EMPLOYEES": "EMPLOYEES",
    "STAGE_ID": "STAGE",
    "TYPE_ID": "TYPE",
}
# The entity type of what a field binds to.
_PARENTS = {"crm_lead": 1, "crm_company": 4, "crm_quote": 7}
# What `crm.item.*` calls otherwise than by the name of the older methods.
_ITEM_NAMES = {
    "STATUS_ID": "stageId",
    "STATUS_SEMANTIC_ID": "stageSemanticId",
    "DATE_CREATE": "createdTime",
    "DATE_MODIFY": "updatedTime",
    "CREATED_BY_ID": "createdBy",
    "MODIFY_BY_ID": "updatedBy",
    "MOVED_BY_ID": "movedBy",
    "COMPANY_TYPE": "typeId",
}
_MONEY = {"OPPORTUNITY": 0.0, "CURRENCY_ID": "USD", "IS_MANUAL_OPPORTUNITY": "N"}
_PEOPLE = {"ASSIGNED_BY_ID": 1, "CREATED_BY_ID": 1, "MODIFY_BY_ID": 1, "LAST_ACTIVITY_BY": 1, "OPENED": "Y"}
_CONTACTS = {"HAS_PHONE": "N", "HAS_EMAIL": "N", "HAS_IMOL": "N"}


@dataclass(frozen=True, slots=True)
class Schema:
    """One kind of record.

    :param kind: `lead`, `deal`, `contact`, `company`, `item:147`, `task`, `user`, `department`, `notification`.
    :param fields: by name in the rows.
    :param entity_type_id: what `crm.item.*` calls the type; 0 outside the CRM.
    :param stage: the field that says where a record stands, empty where there is none.
    :param created: the fields that hold when a record was created and last changed: both are set at once.
    :param title: what a record without a title is called, before its number.
    """

    kind: str
    fields: Mapping[str, Field]
    entity_type_id: int = 0
    stage: str = ""
    created: tuple[str, ...] = ()
    title: str = ""
    by_name: Mapping[str, Field] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        names = {}
        for known in self.fields.values():
            names[_plain(known.name)] = names[_plain(known.item_name)] = known
        object.__setattr__(self, "by_name", names)

    def find(self, name: str) -> Field | None:
        """Return a declared field by any of its names, without regard to case and underscores."""
        return self.by_name.get(_plain(name))


def own_field(name: str) -> Field:
    """Return a field that the portal's users have made: `UF_CRM_1` or `ufCrm_1`; any value fits."""
    upper = name if name.isupper() else re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).upper()
    return Field(upper, ANY, item_name(upper), dynamic=True)


def item_name(name: str) -> str:
    """Return `stageId` for `STAGE_ID`, and `ufCrm_1` for `UF_CRM_1`, as `crm.item.*` writes names."""
    if name in _ITEM_NAMES:
        return _ITEM_NAMES[name]
    if name.startswith("UF_CRM_"):
        return "ufCrm_" + name.removeprefix("UF_CRM_").lower()
    first, *rest = name.lower().split("_")
    return first + "".join(word.capitalize() for word in rest)


def schema_of(kind: str) -> Schema:
    """Return the schema of a kind.

    :raises ValueError: when there is no such kind.
    """
    number = kind.removeprefix("item:")
    if number != kind and number.isdecimal() and int(number) > 4:
        return _item_schema(int(number))
    if kind not in _KINDS:
        raise ValueError(f"No records of kind {kind!r}: choose {', '.join(_KINDS)} or item:<entity type id>")
    return _fixed_schema(kind)


@cache
def _fixed_schema(kind: str) -> Schema:
    text, entity_type_id, stage, created, title, defaults = _KINDS[kind]
    return Schema(kind, _read(kind, text, defaults), entity_type_id, stage, created, title)


@cache
def _item_schema(number: int) -> Schema:
    defaults = {
        **_MONEY,
        "STAGE_ID": f"DT{number}_1:NEW",
        "CATEGORY_ID": 1,
        "OPENED": "Y",
        "TAX_VALUE": 0.0,
        **dict.fromkeys(("ASSIGNED_BY_ID", "CREATED_BY", "UPDATED_BY", "MOVED_BY", "LAST_ACTIVITY_BY"), 1),
        "COMPANY_ID": 0,
        "CONTACT_ID": 0,
        "MYCOMPANY_ID": 0,
    }
    times = ("CREATED_TIME", "UPDATED_TIME", "MOVED_TIME", "LAST_ACTIVITY_TIME")
    return Schema(
        f"item:{number}", _read(f"dynamic_{number}", _ITEM, defaults), number, "STAGE_ID", times, "Item #"
    )


_OLD_TIMES = ("DATE_CREATE", "DATE_MODIFY", "LAST_ACTIVITY_TIME")
_KINDS: dict[str, tuple[str, int, str, tuple[str, ...], str, Mapping[str, Any]]] = {
    "lead": (
        _LEAD,
        1,
        "STATUS_ID",
        (*_OLD_TIMES, "MOVED_TIME"),
        "Lead #",
        {
            **_MONEY,
            **_PEOPLE,
            **_CONTACTS,
            "MOVED_BY_ID": 1,
            "STATUS_ID": "NEW",
            "STATUS_SEMANTIC_ID": "P",
            "IS_RETURN_CUSTOMER": "N",
        },
    ),
    "deal": (
        _DEAL,
        2,
        "STAGE_ID",
        (*_OLD_TIMES, "MOVED_TIME"),
        "Deal #",
        {
            **_MONEY,
            **_PEOPLE,
            "MOVED_BY_ID": 1,
            "STAGE_ID": "NEW",
            "STAGE_SEMANTIC_ID": "P",
            "CATEGORY_ID": 0,
            "TYPE_ID": "SALE",
            "TAX_VALUE": 0.0,
            **dict.fromkeys(
                ("CLOSED", "IS_NEW", "IS_RECURRING", "IS_RETURN_CUSTOMER", "IS_REPEATED_APPROACH"), "N"
            ),
        },
    ),
    "contact": (
        _CONTACT,
        3,
        "",
        _OLD_TIMES,
        "",
        {**_PEOPLE, **_CONTACTS, "EXPORT": "Y", "TYPE_ID": "CLIENT"},
    ),
    "company": (
        _COMPANY,
        4,
        "",
        _OLD_TIMES,
        "Company #",
        {
            **_PEOPLE,
            **_CONTACTS,
            "COMPANY_TYPE": "CUSTOMER",
            "REVENUE": 0.0,
            "CURRENCY_ID": "USD",
            "IS_MY_COMPANY": "N",
        },
    ),
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
    "user": (
        _USER,
        0,
        "",
        ("DATE_REGISTER", "TIMESTAMP_X"),
        "",
        {
            "ACTIVE": "Y",
            "IS_ONLINE": "N",
            "USER_TYPE": "employee",
            "UF_DEPARTMENT": [1],
            **dict.fromkeys(
                ("NAME", "LAST_NAME", "EMAIL", "TIME_ZONE", "PERSONAL_GENDER", "WORK_POSITION"), ""
            ),
        },
    ),
    "department": (_DEPARTMENT, 0, "", (), "", {"SORT": 500}),
    "notification": (_NOTIFICATION, 0, "", (), "", {}),
    "status": (_STATUS, 0, "", (), "", {"SORT": 10, "SYSTEM": "N"}),
    "userfield": (
        _USERFIELD,
        0,
        "",
        (),
        "",
        {
            "SORT": 100,
            "SHOW_IN_LIST": "Y",
            "EDIT_IN_LIST": "Y",
            **dict.fromkeys(("MULTIPLE", "MANDATORY", "SHOW_FILTER", "IS_SEARCHABLE"), "N"),
        },
    ),
}


def _read(kind: str, text: str, defaults: Mapping[str, Any]) -> dict[str, Field]:
    fields = {}
    for line in text.strip().splitlines():
        head, _, names = line.partition(":")
        type_name, *flags = head.split(" ")
        for name in names.split():
            fields[name] = Field(
                name,
                FieldType(type_name, multiple="m" in flags),
                item_name(name),
                default=defaults.get(name),
                read_only="r" in flags,
                immutable="i" in flags,
                required="q" in flags,
                deprecated="d" in flags,
                status_type=_status_type(kind, name) if type_name == "crm_status" else "",
                parent=0 if "m" in flags or name.startswith("MY") else _PARENTS.get(type_name, 0),
            )
    return fields


def _status_type(kind: str, name: str) -> str:
    known = _STATUS_TYPES.get(name, "")
    # Stages and types have their own directory for each kind of record.
    return f"{kind.upper()}_{known}" if name in ("STAGE_ID", "TYPE_ID") else known


def _plain(name: str) -> str:
    return name.replace("_", "").upper()
