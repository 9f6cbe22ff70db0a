"""Records as the documents of processes, and automation that records start."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest

from airflow_provider_b24.sandbox import AskPerson, CallRobot, SetField

LEAD = ("crm", "CCrmDocumentLead", "LEAD_77")


def test_a_process_reads_and_changes_its_record(live_portal: Any, rest: Any) -> None:
    live_portal.add_records("lead", [{"ID": 77, "TITLE": "Big", "OPPORTUNITY": 5}])
    steps = [
        AskPerson(1),
        SetField("COMMENTS", "{=Document:TITLE} for {=Document:OPPORTUNITY}"),
        SetField("SCORE", 7),
    ]
    process = live_portal.start_process(steps, LEAD)
    rest.result("crm.lead.update", {"id": 77, "fields": {"TITLE": "Bigger"}})
    [task] = rest.result("bizproc.task.list", {"select": ["DOCUMENT_NAME"]})
    assert task["DOCUMENT_NAME"] == "Bigger"
    rest.result("bizproc.task.complete", {"TASK_ID": 1, "STATUS": 1})
    lead = rest.result("crm.lead.get", {"id": 77})
    assert (lead["COMMENTS"], lead["SCORE"]) == ("Bigger for 5.0", "7")
    assert process.values == {"COMMENTS": "Bigger for 5.0", "SCORE": 7}


@pytest.mark.parametrize(
    ("document_id", "entity_type_id", "number"),
    [
        (LEAD, 1, 77),
        (("crm", "CCrmDocumentDeal", "DEAL_5"), 2, 5),
        (("crm", "Bitrix\\Crm\\Integration\\BizProc\\Document\\Dynamic", "DYNAMIC_147_1"), 147, 1),
        (("crm", "Bitrix\\Crm\\Integration\\BizProc\\Document\\SmartInvoice", "SMART_INVOICE_3"), 31, 3),
    ],
)
def test_a_document_that_is_not_there_comes_into_being(
    live_portal: Any, rest: Any, document_id: Any, entity_type_id: int, number: int
) -> None:
    live_portal.start_process([SetField("TITLE", "from a process")], document_id, {"OPPORTUNITY": 3})
    item = rest.result("crm.item.get", {"entityTypeId": entity_type_id, "id": number})["item"]
    assert (item["title"], item["opportunity"]) == ("from a process", 3)
    assert live_portal.event_calls == []


@pytest.mark.parametrize("element", ["LEAD_0", "LEAD_x", "DYNAMIC_2_1", "DYNAMIC_147", "LIST_5"])
def test_what_is_no_record_is_a_document_of_its_own(live_portal: Any, element: str) -> None:
    process = live_portal.start_process([SetField("A", 1)], ("crm", "CCrmDocumentLead", element), {"B": 2})
    assert (process.values, len(live_portal.records("lead"))) == ({"A": 1, "B": 2}, 0)


def test_a_process_says_what_it_could_not_write(live_portal: Any, rest: Any) -> None:
    process = live_portal.start_process(
        [SetField("OPPORTUNITY", "much"), AskPerson(1), SetField("TITLE", "x")], LEAD
    )
    rest.result("crm.lead.delete", {"id": 77})
    rest.result("bizproc.task.complete", {"TASK_ID": 1, "STATUS": 1})
    assert process.status == "completed"
    first, second = process.problems
    assert first.startswith("OPPORTUNITY was not set to 'much'")
    assert second == "The document is gone: TITLE was not set"
    with pytest.raises(ValueError, match="opportunity"):
        live_portal.start_process([], LEAD, {"OPPORTUNITY": "much"})


def test_a_record_that_is_created_in_a_stage_or_moved_there_starts_automation(
    live_portal: Any, rest: Any
) -> None:
    live_portal.add_automation("deal", "PREPARATION", [SetField("COMMENTS", "prepared")])
    live_portal.add_automation("deal", None, [SetField("SOURCE_DESCRIPTION", "{=Document:STAGE_ID}")])
    live_portal.add_records("deal", [{"STAGE_ID": "PREPARATION"}])
    assert live_portal.processes == {}
    number = rest.result("crm.deal.add", {"fields": {"TITLE": "x"}})
    assert rest.result("crm.deal.get", {"id": number})["SOURCE_DESCRIPTION"] == "NEW"
    rest.result("crm.item.update", {"entityTypeId": 2, "id": number, "fields": {"stageId": "PREPARATION"}})
    deal = rest.result("crm.deal.get", {"id": number})
    assert (deal["COMMENTS"], deal["SOURCE_DESCRIPTION"]) == ("prepared", "PREPARATION")
    rest.result("crm.deal.update", {"id": number, "fields": {"STAGE_ID": "PREPARATION", "TITLE": "y"}})
    assert [process.document_id[2] for process in live_portal.processes.values()] == [f"DEAL_{number}"] * 3


def test_a_robot_of_a_stage_is_called_for_the_record(live_portal: Any, rest: Any, register: Any) -> None:
    register()
    live_portal.add_records("item:147", 1)
    live_portal.add_automation(
        "item:147", "DT147_1:NEW", [CallRobot("score"), SetField("XML_ID", "{=A1:verdict}")]
    )
    rest.result("crm.item.add", {"entityTypeId": 147, "fields": {"title": "x"}})
    call = live_portal.wait_for_call()
    assert call.fields["document_id"] == [
        "crm",
        "Bitrix\\Crm\\Integration\\BizProc\\Document\\Dynamic",
        "DYNAMIC_147_2",
    ]
    answer = {"EVENT_TOKEN": call.fields["event_token"], "RETURN_VALUES": {"verdict": "hot"}}
    rest.result("bizproc.event.send", answer)
    assert rest.result("crm.item.get", {"entityTypeId": 147, "id": 2})["item"]["xmlId"] == "hot"


def test_processes_that_move_a_record_in_a_circle_end(live_portal: Any, rest: Any) -> None:
    live_portal.add_automation("deal", "NEW", [SetField("STAGE_ID", "PREPARATION")])
    live_portal.add_automation("deal", "PREPARATION", [SetField("STAGE_ID", "NEW")])
    rest.result("crm.deal.add", {"fields": {}})
    assert 5 < len(live_portal.processes) < 100


def test_an_application_adds_changes_and_deletes_templates(
    live_portal: Any, rest: Any, error_of: Any
) -> None:
    steps = [{"type": "set_field", "field": "COMMENTS", "value": "by a template"}]
    data = base64.b64encode(json.dumps(steps).encode()).decode()
    given = {
        "DOCUMENT_TYPE": ["crm", "CCrmDocumentLead", "LEAD"],
        "NAME": "On creation",
        "TEMPLATE_DATA": ["template.bpt", data],
        "AUTO_EXECUTE": 1,
    }
    number = rest.application("bizproc.workflow.template.add", given).json()["result"]
    lead = rest.result("crm.lead.add", {"fields": {}})
    assert rest.result("crm.lead.get", {"id": lead})["COMMENTS"] == "by a template"
    changed = {"ID": number, "FIELDS": {"NAME": "By hand", "AUTO_EXECUTE": 0}}
    assert rest.application("bizproc.workflow.template.update", changed).json()["result"] == number
    rows = rest.result(
        "bizproc.workflow.template.list", {"select": ["NAME", "AUTO_EXECUTE"], "filter": {"ID": number}}
    )
    assert rows == [{"AUTO_EXECUTE": "0", "NAME": "By hand"}]
    own = live_portal.add_template("The portal's", [])
    for verb, params, code in (
        ("add", {**given, "DOCUMENT_TYPE": ["crm"]}, "ERROR_TEMPLATE_VALIDATION_FAILURE"),
        ("add", {**given, "NAME": ""}, "ERROR_TEMPLATE_VALIDATION_FAILURE"),
        ("add", {**given, "AUTO_EXECUTE": 4}, "ERROR_TEMPLATE_VALIDATION_FAILURE"),
        ("add", {**given, "TEMPLATE_DATA": "?"}, "ERROR_TEMPLATE_VALIDATION_FAILURE"),
        ("update", {"ID": number, "FIELDS": {}}, "ERROR_TEMPLATE_VALIDATION_FAILURE"),
        ("update", {"ID": own, "FIELDS": {"NAME": "x"}}, "ERROR_TEMPLATE_NOT_OWNER"),
        ("update", {"ID": 99, "FIELDS": {"NAME": "x"}}, "ERROR_TEMPLATE_NOT_FOUND"),
        ("delete", {"ID": 99}, "ERROR_TEMPLATE_NOT_FOUND"),
    ):
        refused = error_of(rest.application(f"bizproc.workflow.template.{verb}", params))
        assert refused[:2] == (400, code), params
    assert rest.application("bizproc.workflow.template.delete", {"ID": number}).json()["result"] is None
    assert list(live_portal.templates) == [own]
    assert error_of(rest.webhook("bizproc.workflow.template.add", given))[1] == "ACCESS_DENIED"


def test_what_goes_wrong_around_a_robot_is_in_the_process_and_in_the_terminal(
    live_portal: Any, register: Any, robot_handler: Any, caplog: pytest.LogCaptureFixture
) -> None:
    register(PROPERTIES={"model": {"Name": "Model", "Required": "Y"}, "depth": {"Name": "Depth"}})
    robot_handler.status = 404
    process = live_portal.start_process([CallRobot("gone"), CallRobot("score")])
    live_portal.wait_for_call()
    missing, empty, refused = process.problems
    assert missing == "The robot gone is not registered, the process goes on without it. Registered: score"
    assert "without its required properties model" in empty
    assert refused == f"The handler of score, {robot_handler.url}, answered 404. Bitrix24 does not call again"
    assert [entry.message for entry in process.log] == [missing, empty]
    for problem in process.problems:
        assert problem in caplog.text
