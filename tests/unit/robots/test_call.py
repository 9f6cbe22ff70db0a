"""A robot call: from the posted form to the run's conf and back."""

import dataclasses
import json
from types import SimpleNamespace
from typing import Any

import pendulum
import pytest

from airflow_provider_b24.robots import Property, RobotCall
from airflow_provider_b24.robots.answer_mark import AnswerMark
from airflow_provider_b24.robots.call import (
    RESERVED_KEYS,
    Document,
    MalformedCallError,
    UnfitCallError,
    is_robot_call,
)
from airflow_provider_b24.robots.definition import ENVELOPE_KEYS, RobotDefinition

TOKEN = "67e3db8e581121.72266518|A1|55.signature"
ROBOT = RobotDefinition(
    code="score_lead",
    name="Score",
    properties={
        "model": Property.select("Model", {"fast": "Fast", "deep": "Deep"}, required=True),
        "limit": Property.int("Limit", default=10),
        "note": Property.string("Note"),
        "owners": Property.user("Owners", multiple=True),
    },
)


def form(**changes: Any) -> dict[str, Any]:
    posted = {
        "workflow_id": "67e3db8e581121.72266518",
        "code": "score_lead",
        "document_id": ["crm", "CCrmDocumentLead", "LEAD_77"],
        "document_type": ["crm", "CCrmDocumentLead", "LEAD"],
        "event_token": TOKEN,
        "properties": {"model": "fast", "limit": "5", "note": "", "owners": ["user_1", "user_2"]},
        "use_subscription": "Y",
        "timeout_duration": "3600",
        "ts": "1700000000",
        "auth": {
            "access_token": "ACCESS-SECRET",
            "refresh_token": "REFRESH-SECRET",
            "application_token": "APPLICATION-SECRET",
            "member_id": "m1",
            "user_id": "14",
            "domain": "evil.example.com",
        },
    }
    return {key: value for key, value in (posted | changes).items() if value is not None}


def test_a_call_is_read_with_typed_values() -> None:
    call = RobotCall.from_form(form(), ROBOT)
    assert (call.workflow_id, call.code, call.member_id, call.user_id) == (
        "67e3db8e581121.72266518",
        "score_lead",
        "m1",
        14,
    )
    assert call.properties.model == "fast"
    assert call.properties["limit"] == 5
    assert dict(call.properties) == {"model": "fast", "limit": 5, "note": None, "owners": [1, 2]}
    assert call.document == Document("crm", "CCrmDocumentLead", "LEAD_77")
    assert call.document_type == ("crm", "CCrmDocumentLead", "LEAD")
    assert call.sent_at == pendulum.datetime(2023, 11, 14, 22, 13, 20)
    assert call.deadline == pendulum.datetime(2023, 11, 14, 23, 13, 20)
    assert call.use_subscription
    assert not call.started_by_hand


def test_the_conf_holds_everything_and_no_credential_but_the_event_token() -> None:
    conf = RobotCall.from_form(form(), ROBOT).to_conf()
    assert conf == {
        "model": "fast",
        "limit": 5,
        "note": None,
        "owners": [1, 2],
        "event_token": TOKEN,
        "workflow_id": "67e3db8e581121.72266518",
        "code": "score_lead",
        "document_id": ["crm", "CCrmDocumentLead", "LEAD_77"],
        "document_type": ["crm", "CCrmDocumentLead", "LEAD"],
        "ts": 1700000000,
        "timeout_duration": 3600,
        "use_subscription": "Y",
        "member_id": "m1",
        "user_id": 14,
        "properties": {"model": "fast", "limit": 5, "note": None, "owners": [1, 2]},
        "answer_by": None,
    }
    assert "SECRET" not in json.dumps(conf)
    assert is_robot_call(conf)


@pytest.mark.parametrize("changes", [{}, {"properties": {"model": "deep"}, "auth": None}])
def test_a_call_survives_the_conf(changes: dict[str, Any]) -> None:
    call = RobotCall.from_form(form(**changes), ROBOT)
    assert RobotCall.from_conf(json.loads(json.dumps(call.to_conf()))) == call


def test_every_key_of_the_conf_that_is_no_property_is_reserved() -> None:
    conf = AnswerMark("reply").put_into(RobotCall.from_form(form(), ROBOT).to_conf())
    assert conf.keys() - ROBOT.properties.keys() == ENVELOPE_KEYS


def test_what_the_dispatcher_adds_to_the_conf_is_read_by_the_tasks() -> None:
    call = dataclasses.replace(RobotCall.from_form(form(), ROBOT), answer_by=1_700_003_000)
    again = RobotCall.from_conf(AnswerMark("dispatcher").put_into(call.to_conf()))
    assert again == call
    assert RobotCall.from_conf(call.to_conf() | {"answer_by": None}).answer_by is None


def test_neither_repr_nor_str_shows_the_event_token() -> None:
    call = RobotCall.from_form(form(), ROBOT)
    assert "signature" not in f"{call!r} {call}"


def test_a_property_that_the_form_does_not_have_gets_its_default_an_emptied_one_does_not() -> None:
    assert RobotCall.from_form(form(properties={"model": "fast"}), ROBOT).properties.limit == 10
    assert (
        RobotCall.from_form(form(properties={"model": "fast", "limit": ""}), ROBOT).properties.limit is None
    )


def test_a_call_that_does_not_fit_says_which_values_and_what_is_wrong_with_each() -> None:
    with pytest.raises(UnfitCallError) as caught:
        RobotCall.from_form(form(properties={"model": "slow", "limit": "many"}), ROBOT)
    assert caught.value.reasons.keys() == {"model", "limit"}
    assert "'slow'" in str(caught.value)
    assert "limit: 'many' is no whole number" in str(caught.value)


@pytest.mark.parametrize("properties", [None, "", [], {}])
def test_php_posts_no_properties_in_many_ways(properties: object) -> None:
    with pytest.raises(UnfitCallError, match="^model: a value is required, but it is empty$"):
        RobotCall.from_form(form(properties=properties), ROBOT)


def test_a_property_that_the_robot_does_not_know_is_kept_in_the_record_only() -> None:
    call = RobotCall.from_form(form(properties={"model": "fast", "old": "x", "ts": "9"}), ROBOT)
    assert call.properties.old == "x"
    assert call.to_conf()["ts"] == 1700000000
    assert "old" not in call.to_conf()


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"event_token": None}, "event_token is missing"),
        ({"event_token": " "}, "event_token is missing"),
        ({"event_token": ["a"]}, "event_token is missing or no text"),
        ({"workflow_id": None}, "workflow_id"),
        ({"code": {"a": "b"}}, "code"),
        ({"document_id": None}, "document_id must have three parts"),
        ({"document_id": ["crm", "LEAD_77"]}, "three parts"),
        ({"document_id": "LEAD_77"}, "three parts"),
        ({"document_id": ["crm", ["x"], "LEAD_77"]}, "consist of texts"),
        ({"document_id": {"0": "crm", "1": "", "2": "LEAD_77"}}, "empty part"),
        ({"document_id": {"a": "crm", "b": "x", "c": "LEAD_77"}}, "consist of texts"),
        ({"document_type": ["crm"]}, "document_type"),
        ({"ts": "yesterday"}, "ts must be a whole number"),
        ({"ts": "9" * 20}, "ts must be a whole number"),
        ({"timeout_duration": "-1"}, "timeout_duration"),
        ({"properties": ["x"]}, "properties must have names"),
        ({"properties": "x"}, "properties must have names"),
    ],
)
def test_what_is_no_robot_call_is_refused_and_the_message_is_clean(
    changes: dict[str, Any], complaint: str
) -> None:
    with pytest.raises(MalformedCallError, match=complaint) as caught:
        RobotCall.from_form(form(**changes), ROBOT)
    assert "signature" not in str(caught.value)
    assert "SECRET" not in str(caught.value)


def test_a_document_id_may_arrive_as_a_mapping_of_numbers() -> None:
    posted = form(document_id={"0": "crm", "1": "CCrmDocumentDeal", "2": "DEAL_5"})
    assert RobotCall.from_form(posted, ROBOT).document.item_id == 5


@pytest.mark.parametrize(
    ("answer", "waits"), [("Y", True), ("", True), (None, True), ("N", False), ("n", False)]
)
def test_only_an_explicit_n_means_that_the_process_does_not_wait(answer: str | None, waits: bool) -> None:
    call = RobotCall.from_form(form(use_subscription=answer), ROBOT)
    assert call.use_subscription is waits
    assert RobotCall.from_conf(call.to_conf()).use_subscription is waits


@pytest.mark.parametrize("timeout", ["0", "", None])
def test_a_process_without_limit_has_no_deadline(timeout: str | None) -> None:
    assert RobotCall.from_form(form(timeout_duration=timeout), ROBOT).deadline is None


@pytest.mark.parametrize(
    ("module", "document_id", "entity_type_id", "item_id"),
    [
        ("crm", "LEAD_77", 1, 77),
        ("crm", "DEAL_5", 2, 5),
        ("crm", "CONTACT_9", 3, 9),
        ("crm", "COMPANY_2", 4, 2),
        ("crm", "QUOTE_3", 7, 3),
        ("crm", "SMART_INVOICE_12", 31, 12),
        ("crm", "DYNAMIC_147_1", 147, 1),
        ("crm", "DYNAMIC_1", None, None),
        ("crm", "ROBOT_1", None, None),
        ("crm", "LEAD", None, None),
        ("lists", "LEAD_77", None, None),
        ("disk", "155", None, None),
    ],
)
def test_a_crm_document_has_its_type_and_number(
    module: str, document_id: str, entity_type_id: int | None, item_id: int | None
) -> None:
    document = Document(module, "Entity", document_id)
    assert (document.entity_type_id, document.item_id) == (entity_type_id, item_id)


def test_an_unknown_property_is_an_error_that_names_the_known_ones() -> None:
    call = RobotCall.from_form(form(), ROBOT)
    with pytest.raises(AttributeError, match="no property 'modle'; there are model, limit, note, owners"):
        _ = call.properties.modle


@pytest.mark.parametrize("conf", [{}, {"event_token": "x"}, {**form(), "properties": ["x"]}])
def test_the_conf_of_another_run_is_no_call(conf: dict[str, Any]) -> None:
    with pytest.raises(MalformedCallError):
        RobotCall.from_conf(conf)


def test_a_task_finds_its_call_in_the_context() -> None:
    conf = RobotCall.from_form(form(), ROBOT).to_conf()
    context: Any = {"dag_run": SimpleNamespace(conf=conf)}
    assert RobotCall.from_context(context) == RobotCall.from_conf(conf)


def test_a_run_started_by_hand_has_the_values_of_the_form_and_nobody_to_answer() -> None:
    reply = SimpleNamespace(task_type="RobotReplyOperator", doc_json=json.dumps(ROBOT.to_json()))
    params = {"model": "deep", "limit": 10, "note": None, "owners": [], "other": 1}
    context: Any = {
        "dag_run": SimpleNamespace(conf={"model": "deep"}),
        "dag": SimpleNamespace(task_dict={"reply": reply}),
        "params": params,
    }
    call = RobotCall.from_context(context)
    assert call.started_by_hand
    assert call.properties.model == "deep"
    assert "other" not in call.properties
    assert call.deadline is None


@pytest.mark.parametrize("key", ["__classname__", "__id__", "__type", "__var"])
@pytest.mark.parametrize(
    "place", [lambda made: made, lambda made: {"note": made}, lambda made: {"other": [made]}]
)
def test_properties_cannot_pass_for_objects_of_airflows_serializers(key, place, serde) -> None:
    assert {serde.CLASSNAME, serde.SCHEMA_ID, serde.OLD_TYPE, serde.OLD_DATA} == RESERVED_KEYS
    with pytest.raises(MalformedCallError, match="must not hold"):
        RobotCall.from_form(
            form(properties={"model": "fast"} | place({key: "airflow.sdk.Connection"})), ROBOT
        )


def test_the_longest_patience_still_ends_at_a_moment_that_everybody_knows() -> None:
    call = RobotCall.from_form(form(ts="9" * 11, timeout_duration="9" * 11), ROBOT)

    assert call.deadline is not None
    assert call.deadline.year < 9999
    with pytest.raises(MalformedCallError, match="timeout_duration"):
        RobotCall.from_form(form(timeout_duration="9" * 12), ROBOT)
