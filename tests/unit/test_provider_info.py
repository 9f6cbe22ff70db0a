"""What Airflow discovers about this provider."""

import json
from importlib import import_module, resources
from importlib.metadata import entry_points
from pathlib import Path

import jsonschema
import pytest

from airflow_provider_b24.get_provider_info import get_provider_info

ROOT = Path(__file__).parents[2]
INFO = get_provider_info()


def schema(name):
    return json.loads(resources.files("airflow").joinpath(name).read_text())


def test_it_passes_the_schema_that_airflow_validates_with():
    jsonschema.validate(INFO, schema("provider_info.schema.json"))


@pytest.mark.parametrize("part", INFO)
def test_it_passes_the_stricter_schema_of_airflows_own_providers(part):
    strict = schema("provider.yaml.schema.json")
    if part not in strict["properties"]:
        pytest.skip("this Airflow does not know it yet")
    jsonschema.validate(INFO[part], {"definitions": strict["definitions"]} | strict["properties"][part])


def test_airflow_finds_it_by_its_entry_point():
    [entry] = [
        entry
        for entry in entry_points(group="apache_airflow_provider")
        if entry.dist.name == "airflow-provider-b24"
    ]
    assert entry.load()() == INFO


def test_the_guides_and_the_logo_that_it_names_exist():
    [integration] = INFO["integrations"]
    named = [*integration["how-to-guide"], integration["logo"]]

    assert len(named) > 1
    assert [file for file in named if not (ROOT / file.removeprefix("/")).is_file()] == []


MODULES = [
    module
    for part in ("hooks", "operators", "sensors", "triggers")
    for entry in INFO[part]
    for module in entry["python-modules"]
] + [entry["python-module"] for entry in INFO["transfers"]]


@pytest.mark.parametrize("module", MODULES)
def test_every_module_it_names_can_be_imported(module):
    import_module(module)


@pytest.mark.parametrize(
    "path",
    [
        *[kind["hook-class-name"] for kind in INFO["connection-types"]],
        *[plugin["plugin-class"] for plugin in INFO["plugins"]],
        *INFO["notifications"],
        *INFO["db-managers"],
    ],
)
def test_every_class_it_names_exists(path):
    module, _, name = path.rpartition(".")
    assert isinstance(getattr(import_module(module), name), type)


def test_secret_fields_of_the_connection_form_are_password_fields():
    [kind] = INFO["connection-types"]
    secret = {
        name for name, field in kind["conn-fields"].items() if field["schema"].get("format") == "password"
    }
    assert secret == {"application_token", "client_secret", "access_token", "refresh_token"}


def test_the_defaults_that_it_tells_are_those_of_the_code():
    from airflow_provider_b24.calls.dispatcher import DEFAULT_KEEP_DAYS
    from airflow_provider_b24.calls.starting import DEFAULT_HOLD_HOURS

    options = INFO["config"]["bitrix24"]["options"]
    assert options["keep_calls_days"]["default"] == str(DEFAULT_KEEP_DAYS)
    assert options["hold_calls_hours"]["default"] == str(DEFAULT_HOLD_HOURS)
