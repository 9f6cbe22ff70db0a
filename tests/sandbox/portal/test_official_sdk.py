"""The official Python SDK talks to the sandbox as to any portal."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from urllib.parse import parse_qsl

import pytest
from b24pysdk import BitrixApp, BitrixToken, BitrixWebhook, Client
from b24pysdk.api.requesters.bitrix_oauth_requester import BitrixOAuthRequester
from b24pysdk.credentials import OAuthWorkflowData
from b24pysdk.errors import BitrixAPIError

from airflow_provider_b24.sandbox import CallRobot, SandboxPortal


@pytest.fixture
def https_portal(monkeypatch: pytest.MonkeyPatch) -> Iterator[SandboxPortal]:
    with SandboxPortal(https=True) as portal:
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(portal.ca_file))
        monkeypatch.setattr(BitrixOAuthRequester, "_OAUTH_TOKEN_URL", portal.oauth_url)
        yield portal


@pytest.fixture
def sdk_webhook(https_portal: SandboxPortal) -> BitrixWebhook:
    return BitrixWebhook(domain=https_portal.host, webhook_token=f"1/{https_portal.webhook.code}")


@pytest.fixture
def sdk_token(https_portal: SandboxPortal) -> BitrixToken:
    application = https_portal.application
    return BitrixToken(
        domain=https_portal.host,
        auth_token=application.access_token,
        refresh_token=application.refresh_token,
        bitrix_app=BitrixApp(client_id=application.client_id, client_secret=application.client_secret),
    )


def test_it_calls_methods_through_a_webhook(sdk_webhook: Any) -> None:
    assert Client(sdk_webhook).profile().result["NAME"] == "Ada"
    with pytest.raises(BitrixAPIError, match="Method not found"):
        sdk_webhook.call_method("no.such.method")


def test_its_batches_arrive(sdk_webhook: Any) -> None:
    params = {"x": ["1", {"y": "ü &="}]}
    result = sdk_webhook.call_batch({"a": ("profile", {}), "b": ("sandbox.echo", params)})["result"]
    assert result["result"]["a"]["ID"] == "1"
    assert result["result"]["b"] == params


def test_it_lists_both_ways(https_portal: Any, sdk_webhook: Any) -> None:
    https_portal.add_records("lead", 120)
    for rows in (
        sdk_webhook.call_list("crm.lead.list")["result"],
        sdk_webhook.call_list_fast("crm.lead.list")["result"],
    ):
        assert [int(row["ID"]) for row in rows] == list(range(1, 121))


def test_it_renews_an_expired_token(https_portal: Any, sdk_token: Any) -> None:
    old = sdk_token.auth_token
    https_portal.expire_access_tokens()
    info = sdk_token.call_method("app.info")["result"]
    assert info["CODE"] == https_portal.application.client_id
    assert sdk_token.auth_token == https_portal.application.access_token != old


def test_it_registers_a_robot_reads_its_call_and_answers(
    https_portal: Any, sdk_token: Any, robot_handler: Any
) -> None:
    robot = {
        "CODE": "score",
        "HANDLER": robot_handler.url,
        "NAME": "Score",
        "RETURN_PROPERTIES": {"score": {"Name": "Score", "Type": "double"}},
    }
    assert sdk_token.call_method("bizproc.robot.add", robot)["result"] is True
    step = CallRobot("score", {"tags": ["a", "b"], "deep": True}, use_subscription="Y")
    process = https_portal.start_process([step])
    call = https_portal.wait_for_call()
    data = OAuthWorkflowData.from_dict(dict(parse_qsl(call.body.decode("ascii"))))
    assert (data.workflow_id, data.document_id) == (process.id, ["crm", "CCrmDocumentLead", "LEAD_77"])
    assert data.properties == {"tags": ["a", "b"], "deep": "Y"}
    assert data.use_subscription is True
    sent = {"EVENT_TOKEN": data.event_token, "RETURN_VALUES": {"score": 0.5}}
    assert sdk_token.call_method("bizproc.event.send", sent)["result"] is True
    assert process.wait().answers == {"A1": {"score": 0.5}}
