"""What a robot definition refuses, what is registered, and how it travels with the DAG."""

import json
from typing import Any

import pytest

from airflow_provider_b24.robots import Property
from airflow_provider_b24.robots.definition import RobotDefinition

HANDLER = "https://airflow.example.com/bitrix24/bitrix24_default/robots/score_lead"


def define(**fields: Any) -> RobotDefinition:
    return RobotDefinition(**{"code": "score_lead", "name": "Score the lead", **fields})


@pytest.mark.parametrize(
    ("fields", "complaint"),
    [
        ({"code": "score lead"}, "code must consist of"),
        ({"code": ""}, "code must consist of"),
        ({"name": ""}, "name"),
        ({"description": {"en": ""}}, "description is empty in 'en'"),
        ({"kind": "rule"}, "kind"),
        ({"properties": {"1st": Property.int("First")}}, "property '1st': its key"),
        ({"properties": {"my-model": Property.int("Model")}}, "property 'my-model': its key"),
        ({"properties": {"event_token": Property.int("Token")}}, "property 'event_token'.*choose another"),
        ({"properties": {"model": "string"}}, "property 'model': use Property"),
        ({"properties": [Property.int("Model")]}, "give a mapping"),
        (
            {"properties": {"model": Property.select("Model", {"a": "A"}, default="b")}},
            "property 'model'.*'b'",
        ),
        ({"return_properties": {"score": Property.double("")}}, "return property 'score'.*name"),
        ({"on_failure": {"score": 1}}, "on_failure: score: no such return property"),
        (
            {"return_properties": {"score": Property.double("Score")}, "on_failure": {"score": "bad"}},
            "on_failure: return property 'score': 'bad' is no number",
        ),
        (
            {
                "return_properties": {"ok": Property.bool("Fine")},
                "on_failure": {"ok": False},
                "use_subscription": False,
            },
            "no process waits",
        ),
        ({"document_type": ("crm", "LEAD")}, "three parts"),
        ({"document_type": "crm"}, "three parts"),
        ({"filter": {"include": []}}, "INCLUDE and EXCLUDE"),
        ({"filter": {"INCLUDE": [1]}}, "each rule"),
        ({"filter": {"INCLUDE": "box"}}, "each rule"),
        ({"use_placement": True}, "placement_handler"),
        ({"auth_user_id": "1"}, "auth_user_id"),
        ({"auth_user_id": 0}, "auth_user_id"),
    ],
)
def test_what_the_portal_would_refuse_is_refused_with_its_place_and_reason(
    fields: dict[str, Any], complaint: str
) -> None:
    with pytest.raises(ValueError, match=complaint):
        define(**fields).validate()


FULL = define(
    kind="activity",
    name={"en": "Score", "de": "Bewerten"},
    properties={"model": Property.select("Model", {"fast": "Fast"}, required=True)},
    return_properties={"score": Property.double("Score", required=True), "late": Property.bool("Late")},
    on_failure={"late": True},
    description="Scores a lead",
    auth_user_id=1,
    document_type=("crm", "CCrmDocumentLead", "LEAD"),
    filter={"INCLUDE": [("crm", "CCrmDocumentLead"), "b24"]},
    use_placement=True,
    placement_handler="https://example.com/settings",
)


def test_everything_is_registered_in_the_portals_words() -> None:
    FULL.validate()
    registration = FULL.to_registration(HANDLER)
    assert registration == {
        "CODE": "score_lead",
        "HANDLER": HANDLER,
        "AUTH_USER_ID": 1,
        "USE_SUBSCRIPTION": "Y",
        "NAME": {"en": "Score", "de": "Bewerten"},
        "DESCRIPTION": "Scores a lead",
        "PROPERTIES": {"model": FULL.properties["model"].to_bitrix()},
        "RETURN_PROPERTIES": {
            "score": FULL.return_properties["score"].to_bitrix(),
            "late": FULL.return_properties["late"].to_bitrix(),
        },
        "DOCUMENT_TYPE": ["crm", "CCrmDocumentLead", "LEAD"],
        "FILTER": {"INCLUDE": [["crm", "CCrmDocumentLead"], "b24"]},
        "USE_PLACEMENT": "Y",
        "PLACEMENT_HANDLER": "https://example.com/settings",
    }
    assert json.loads(json.dumps(registration)) == registration


def test_what_was_not_said_is_not_registered() -> None:
    assert define(use_subscription=False).to_registration(HANDLER) == {
        "CODE": "score_lead",
        "HANDLER": HANDLER,
        "USE_SUBSCRIPTION": "N",
        "NAME": "Score the lead",
        "PROPERTIES": {},
        "RETURN_PROPERTIES": {},
        "USE_PLACEMENT": "N",
    }


@pytest.mark.parametrize("definition", [FULL, define()])
def test_a_definition_survives_json(definition: RobotDefinition) -> None:
    again = RobotDefinition.from_json(json.loads(json.dumps(definition.to_json())))
    again.validate()
    assert again.to_json() == json.loads(json.dumps(definition.to_json()))
    assert again.to_registration(HANDLER) == definition.to_registration(HANDLER)


@pytest.mark.parametrize(
    "data", [{}, {"properties": [], "return_properties": {}}, {"properties": {}, "colour": 1}]
)
def test_other_json_is_no_definition(data: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="no robot definition"):
        RobotDefinition.from_json(data)


def test_an_answer_must_be_complete_unless_it_reports_a_failure() -> None:
    assert FULL.answer({"score": 5, "late": False}) == {"score": 5.0, "late": "N"}
    assert FULL.answer({"late": True}, complete=False) == {"late": "Y"}
    with pytest.raises(ValueError, match="'score' is required"):
        FULL.answer({"late": True})


@pytest.mark.parametrize(
    ("values", "complaint"),
    [
        ({"score": 1, "grade": "A"}, "grade: no such return property of 'score_lead'; there are score, late"),
        ({"score": "high"}, "return property 'score': 'high' is no number"),
        ({"score": {"of": 1}}, "score"),
        ({"score": None}, "return property 'score': a value is required"),
    ],
)
def test_a_wrong_answer_is_refused_by_name(values: dict[str, Any], complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        FULL.answer(values)
