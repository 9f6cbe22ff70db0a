"""The connection form, as Airflow's UI is told of it: the same in each version."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping
from importlib.metadata import version
from typing import Any

import pytest

from airflow_provider_b24.hooks.bitrix24 import Bitrix24Hook
from airflow_provider_b24.hooks.connection_type import CONN_FIELDS, FIELD_BEHAVIOUR

ASK = """
import json
from airflow.api_fastapi.core_api.services.ui.connections import HookMetaService
[form] = [one for one in HookMetaService.hook_meta_data() if one.connection_type == "bitrix24"]
print(json.dumps(form.model_dump(mode="json"), default=str))
"""
# To ask takes seconds: one worker does.
pytestmark = pytest.mark.xdist_group("connection_form")
BEFORE_3_2 = version("apache-airflow") < "3.2"


@pytest.fixture(scope="module")
def form() -> dict[str, Any]:
    """Ask Airflow in a process of its own: some versions put stand-ins in the place of modules to find it out."""
    asked = subprocess.run([sys.executable, "-c", ASK], capture_output=True, text=True, check=True)
    found: dict[str, Any] = json.loads(asked.stdout.splitlines()[-1])
    return found


def test_all_fields_are_there_in_their_order(form: Mapping[str, Any]) -> None:
    assert list(form["extra_fields"]) == list(CONN_FIELDS)


@pytest.mark.parametrize("name", CONN_FIELDS)
def test_a_field_says_what_it_is_for(form: Mapping[str, Any], name: str) -> None:
    shown, wanted = form["extra_fields"][name], CONN_FIELDS[name]
    kinds = dict(wanted["schema"])
    default = kinds.get("default")
    if BEFORE_3_2:  # whole numbers only
        kinds["type"] = [kind.replace("number", "integer") for kind in kinds["type"]]

    assert (shown["schema"]["title"], shown["description"]) == (wanted["label"], wanted["description"])
    assert (shown["value"], shown["schema"]["type"]) == (default, kinds["type"])
    assert [shown["schema"].get(part) for part in ("format", "enum")] == [
        kinds.get(part) for part in ("format", "enum")
    ]


def test_secrets_are_not_shown(form: Mapping[str, Any]) -> None:
    secret = {name for name, field in form["extra_fields"].items() if field["schema"].get("format")}

    assert secret == {"application_token", "client_secret", "access_token", "refresh_token"}


def test_the_usual_fields_are_renamed_or_hidden(form: Mapping[str, Any]) -> None:
    fields = {name: field for name, field in form["standard_fields"].items() if field}

    assert {name for name, field in fields.items() if field["hidden"]} == {"url_schema"}
    assert {name: field["title"] for name, field in fields.items() if field["title"]} == FIELD_BEHAVIOUR[
        "relabeling"
    ]
    assert {name: field["placeholder"] for name, field in fields.items() if field["placeholder"]} == (
        FIELD_BEHAVIOUR["placeholders"]
    )


def test_the_form_has_the_name_of_the_hook(form: Mapping[str, Any]) -> None:
    assert (form["hook_name"], form["connection_type"]) == (Bitrix24Hook.hook_name, Bitrix24Hook.conn_type)
