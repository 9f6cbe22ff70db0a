"""What a property accepts, what it becomes in a DAG, in the trigger form and in the portal."""

import datetime as dt
import json
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import ParamValidationError
from hypothesis import given, settings
from hypothesis import strategies as st

from airflow_provider_b24.operators._values import encode_return_values
from airflow_provider_b24.robots import Property
from airflow_provider_b24.robots._types import VALUE_TYPES

MODELS = {"fast": "Fast", "deep": "Deep"}


def declare(kind: str, **arguments: Any) -> Property:
    if kind == "select":
        return Property.select("Name", MODELS, **arguments)
    return getattr(Property, kind)("Name", **arguments)


@pytest.mark.parametrize(
    ("kind", "posted", "value"),
    [
        ("bool", "Y", True),
        ("bool", "N", False),
        ("bool", "1", True),
        ("bool", "false", False),
        ("int", "14", 14),
        ("int", "-3", -3),
        ("int", "12.00", 12),
        ("int", str(2**63 - 1), 2**63 - 1),
        ("int", str(-(2**63)), -(2**63)),
        ("double", "1.5", 1.5),
        ("double", "7", 7.0),
        ("string", "text", "text"),
        ("string", "  spaces count ", "  spaces count "),
        ("text", "two\nlines", "two\nlines"),
        ("select", "deep", "deep"),
        ("user", "user_14", 14),
        ("user", "14", 14),
        ("file", "1027", "1027"),
        ("date", "2026-12-25", "2026-12-25"),
        ("date", "25.12.2026", "2026-12-25"),
        ("date", "12/25/2026", "2026-12-25"),
        ("date", "2026-12-25T23:00:00-05:00", "2026-12-25"),
        ("datetime", "2026-12-25T10:00:00+03:00", "2026-12-25T10:00:00+03:00"),
        ("datetime", "2026-12-25T10:00:00Z", "2026-12-25T10:00:00+00:00"),
        ("datetime", "2026-12-25 10:00", "2026-12-25T10:00:00+00:00"),
        ("datetime", "25.12.2026 10:00:00", "2026-12-25T10:00:00+00:00"),
        ("datetime", "12/25/2026 10:00:00 pm", "2026-12-25T22:00:00+00:00"),
        ("datetime", "12/25/2026 12:30 am", "2026-12-25T00:30:00+00:00"),
        ("datetime", "25.12.2026 10:00:00 [10800]", "2026-12-25T10:00:00+03:00"),
        ("datetime", "25.12.2026", "2026-12-25T00:00:00+00:00"),
    ],
)
def test_a_posted_value_becomes_typed(kind: str, posted: str, value: object) -> None:
    parsed = declare(kind).parse(posted)
    assert parsed == value
    assert type(parsed) is type(value)


@pytest.mark.parametrize(
    ("kind", "posted"),
    [
        ("bool", "maybe"),
        ("bool", 2),
        ("int", "1.5"),
        ("int", "1_000"),
        ("int", str(2**63)),
        ("int", "-9223372036854775809.0"),
        ("int", "9" * 4000),
        ("int", 1e300),
        ("int", True),
        ("double", "nan"),
        ("double", "1e999"),
        ("double", "150|EUR"),
        ("double", "1_0"),
        ("string", True),
        ("select", "slow"),
        ("user", "group_2"),
        ("user", "user_0"),
        ("date", "25-12-2026"),
        ("date", "2026-02-30"),
        ("date", "13/25/2026"),
        ("datetime", "2026-12-25T25:00:00"),
        ("datetime", "12/25/2026 13:00 pm"),
        ("datetime", 1700000000),
        ("string", {"nested": "x"}),
        ("string", ["two", "values"]),
    ],
)
def test_a_value_of_another_type_is_refused(kind: str, posted: object) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        declare(kind).parse(posted)


@pytest.mark.parametrize("kind", VALUE_TYPES)
@pytest.mark.parametrize("empty", [None, "", [], [""]])
def test_an_empty_value_is_none_or_an_empty_list_or_an_error(kind: str, empty: object) -> None:
    assert declare(kind).parse(empty) is None
    assert declare(kind, multiple=True).parse(empty) == []
    with pytest.raises(ValueError, match="required"):
        declare(kind, required=True).parse(empty)


@pytest.mark.parametrize("posted", [["1", "", "2"], {"0": "1", "7": "2"}, {10: "2", 2: "1"}])
def test_a_multiple_value_is_a_list_in_order_whatever_php_made_of_it(posted: object) -> None:
    assert Property.int("Numbers", multiple=True).parse(posted) == [1, 2]


def test_one_value_of_a_multiple_property_is_a_list_of_one() -> None:
    assert Property.int("Numbers", multiple=True).parse("1") == [1]


POSTED = {
    "bool": st.sampled_from(["Y", "N"]),
    "int": st.integers(-(2**63), 2**63 - 1).map(str),
    "double": st.floats(allow_nan=False, allow_infinity=False).map(str),
    "string": st.text(min_size=1),
    "text": st.text(min_size=1),
    "file": st.text(min_size=1),
    "select": st.sampled_from(list(MODELS)),
    "user": st.integers(1, 10**17).map("user_{}".format),
    "date": st.dates().map(dt.date.isoformat),
    "datetime": st.datetimes(
        min_value=dt.datetime(1000, 1, 2),  # noqa: DTZ001 - hypothesis wants it naive
        max_value=dt.datetime(9999, 1, 1),  # noqa: DTZ001
        timezones=st.just(dt.UTC),
    ).map(dt.datetime.isoformat),
}


@pytest.mark.parametrize("kind", VALUE_TYPES)
@pytest.mark.parametrize("required", [True, False])
@pytest.mark.parametrize("multiple", [True, False])
@settings(deadline=None)
@given(data=st.data())
def test_whatever_is_read_fits_the_dag_param_and_survives_the_way_back(
    kind: str, required: bool, multiple: bool, data: st.DataObject
) -> None:
    prop = declare(kind, required=required, multiple=multiple)
    posted = data.draw(st.lists(POSTED[kind], min_size=1, max_size=3) if multiple else POSTED[kind])
    value = prop.parse(posted)
    assert json.loads(json.dumps(value)) == value
    assert prop.to_param().resolve(value) == value
    assert prop.parse(prop.check(value)) == value


@pytest.mark.parametrize("kind", VALUE_TYPES)
@pytest.mark.parametrize("multiple", [True, False])
def test_an_optional_property_without_default_has_a_param_that_may_stay_empty(
    kind: str, multiple: bool
) -> None:
    assert declare(kind, multiple=multiple).to_param().resolve() is None


@pytest.mark.parametrize("kind", VALUE_TYPES)
def test_a_required_property_without_default_has_a_param_that_must_be_filled_in(kind: str) -> None:
    with pytest.raises((ValueError, ParamValidationError), match="No value"):
        declare(kind, required=True).to_param().resolve()


@pytest.mark.parametrize(
    ("prop", "schema"),
    [
        (Property.bool("Name", required=True), {"type": "boolean"}),
        (Property.int("Name"), {"type": ["null", "integer"]}),
        (Property.double("Name", required=True), {"type": "number"}),
        (Property.date("Name", required=True), {"type": "string", "format": "date"}),
        (Property.datetime("Name"), {"type": ["null", "string"], "format": "date-time"}),
        (Property.string("Name", required=True), {"type": "string", "minLength": 1}),
        (Property.text("Name"), {"type": ["null", "string"], "format": "multiline"}),
        (
            Property.select("Name", MODELS, required=True),
            {"type": "string", "enum": ["fast", "deep"], "values_display": MODELS},
        ),
        (
            Property.select("Name", MODELS),
            {"type": ["null", "string"], "enum": ["fast", "deep", None], "values_display": MODELS},
        ),
        (
            Property.select("Name", MODELS, multiple=True, required=True),
            {
                "type": "array",
                "examples": ["fast", "deep"],
                "values_display": MODELS,
                "items": {"type": "string", "enum": ["fast", "deep"]},
                "minItems": 1,
            },
        ),
        (Property.string("Name", multiple=True), {"type": ["null", "array"], "items": {"type": "string"}}),
    ],
)
def test_the_param_has_the_schema_that_gives_the_right_form_field(
    prop: Property, schema: dict[str, Any]
) -> None:
    assert prop.to_param().schema == {**schema, "title": "Name"}


def test_the_form_speaks_english_when_it_can() -> None:
    param = Property.string({"de": "Modell", "en": "Model"}, description={"de": "Welches"}).to_param()
    assert (param.schema["title"], param.description) == ("Model", "Welches")


def test_the_portal_gets_everything_in_its_own_words() -> None:
    prop = Property.select(
        {"en": "Model", "de": "Modell"}, MODELS, description="Which", required=True, default="fast"
    )
    assert prop.to_bitrix() == {
        "Name": {"en": "Model", "de": "Modell"},
        "Description": "Which",
        "Type": "select",
        "Required": "Y",
        "Multiple": "N",
        "Options": MODELS,
        "Default": "fast",
    }


@pytest.mark.parametrize(
    ("prop", "default"),
    [
        (Property.bool("Name", default=True), "Y"),
        (Property.user("Name", default=14), "user_14"),
        (Property.int("Name", multiple=True, default=[1, 2]), [1, 2]),
        (Property.user("Name", default="Author;"), "Author;"),
        (Property.int("Name", default="{=Document:ID}"), "{=Document:ID}"),
    ],
)
def test_a_default_goes_to_the_portal_as_it_writes_it(prop: Property, default: object) -> None:
    prop.validate()
    assert prop.to_bitrix()["Default"] == default


def test_a_default_is_the_params_default_unless_only_the_process_can_compute_it() -> None:
    assert Property.user("Name", default="user_14").to_param().resolve() == 14
    assert Property.user("Name", default="Author;").to_param().resolve() is None


@pytest.mark.parametrize(
    ("prop", "complaint"),
    [
        (Property.select("Name", MODELS, default="slow"), "none of the options"),
        (Property.select("Name", {}), "needs options"),
        (Property.select("Name", {1: "One"}), "must be a text"),  # type: ignore[dict-item]
        (Property.int("Name", default="many"), "default"),
        (Property.int("Name", default=[1, 2]), "not multiple"),
        (Property.string("Name", default=""), "default is empty"),
        (Property.string(""), "name"),
        (Property.string({}), "name"),
        (Property.string({"english": "Name"}), "english"),
        (Property.string({"en": " "}), "empty in 'en'"),
        (Property.string("Name", description=""), "description"),
        (Property("strnig", "Name"), "no property type"),  # type: ignore[arg-type]
        (Property("int", "Name", options=MODELS), "options belong to a select"),
    ],
)
def test_a_wrong_declaration_is_refused_with_its_reason(prop: Property, complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        prop.validate()


@pytest.mark.parametrize(
    ("prop", "value", "sent"),
    [
        (Property.bool("Name"), True, "Y"),
        (Property.bool("Name"), "N", "N"),
        (Property.double("Name"), 3, 3.0),
        (Property.int("Name"), 3.0, 3),
        (Property.string("Name"), 3, "3"),
        (Property.user("Name"), 14, "user_14"),
        (Property.user("Name", multiple=True), [1, "user_2"], ["user_1", "user_2"]),
        (Property.date("Name"), dt.date(2026, 12, 25), "2026-12-25"),
        (Property.datetime("Name"), dt.datetime(2026, 12, 25, tzinfo=dt.UTC), "2026-12-25T00:00:00+00:00"),
        (Property.file("Name"), ("offer.pdf", "UERG"), ["offer.pdf", "UERG"]),
        (Property.file("Name"), "1027", "1027"),
        (Property.string("Name"), None, ""),
        (Property.string("Name", multiple=True), None, []),
    ],
)
def test_an_answer_is_converted_to_what_the_portal_takes(prop: Property, value: object, sent: object) -> None:
    assert prop.check(encode_return_values({"x": value})["x"]) == sent
