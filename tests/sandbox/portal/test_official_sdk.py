"""The official Python SDK talks to the sandbox as to any portal."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from urllib.parse import parse_qsl

import pytest
from b24pysdk import BitrixApp, BitrixToken, BitrixWebhook, Client
from b24pysdk.credentials import OAuthWorkflowData
from b24pysdk.errors import (
    BitrixAPIError,
    BitrixAPIInvalidArgValue,
    BitrixAPIInvalidCredentials,
    BitrixAPIInvalidToken,
)
from b24pysdk.errors.oauth import BitrixOAuthInvalidClient, BitrixOAuthInvalidGrant, BitrixOauthWrongClient
from urllib3.util import connection

from airflow_provider_b24.sandbox import CallRobot, SandboxPortal

NAME = "example.bitrix24.com"


@pytest.fixture
def https_portal(monkeypatch: pytest.MonkeyPatch) -> Iterator[SandboxPortal]:
    """A portal that is found under its own name and the authorization server's, as by a name server."""
    connect = connection.create_connection

    def find(address: tuple[str, int], *args: Any, **options: Any) -> Any:
        here = ("127.0.0.1", int(portal.host.rpartition(":")[2]))
        return connect(here if address[0] in (NAME, "oauth.bitrix24.tech") else address, *args, **options)

    with SandboxPortal(https=True, host_names=[NAME]) as portal:
        monkeypatch.setattr(connection, "create_connection", find)
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(portal.ca_file))
        yield portal


@pytest.fixture
def sdk_webhook(https_portal: SandboxPortal) -> BitrixWebhook:
    return BitrixWebhook(domain=NAME, webhook_token=f"1/{https_portal.webhook.code}")


@pytest.fixture
def sdk_token(https_portal: SandboxPortal) -> BitrixToken:
    application = https_portal.application
    return BitrixToken(
        domain=NAME,
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


def test_it_has_what_belongs_to_records(https_portal: Any, sdk_webhook: Any, sdk_token: Any) -> None:
    https_portal.add_records("deal", 1)
    https_portal.add_trigger("paid", "deal", "WON")
    crm = Client(sdk_webhook).crm
    assert crm.deal.contact.add(bitrix_id=1, fields={"CONTACT_ID": 4}).result is True
    row = crm.item.productrow.add(fields={"ownerId": 1, "ownerType": "D", "price": 5}).result["productRow"]
    payment = crm.item.payment.add(entity_id=1, entity_type_id=2).result
    assert crm.item.payment.product.add(payment_id=payment, row_id=row["id"], quantity=1.0).result == 1
    assert crm.item.payment.pay(bitrix_id=payment).result is True
    paid = crm.item.payment.get(bitrix_id=payment).result
    assert (paid["sum"], paid["paid"]) == (5, "Y")
    template = crm.deal.recurring.add(fields={"DEAL_ID": 1}).result
    copy = crm.deal.recurring.expose(bitrix_id=template).result["DEAL_ID"]
    assert [bound["CONTACT_ID"] for bound in crm.deal.contact.items.get(bitrix_id=copy).result] == [4]
    trigger = Client(sdk_token).crm.automation.trigger
    assert trigger.add(code="paid", name="Paid").result is True
    assert trigger.execute(code="paid", owner_type_id=2, owner_id=1).result is True
    assert https_portal.records("deal").get(1)["STAGE_ID"] == "WON"


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


@pytest.mark.parametrize("kind", ["lead", "deal", "contact", "company"])
def test_its_objects_of_the_crm_live_from_add_to_delete(sdk_webhook: Any, kind: str) -> None:
    objects = getattr(Client(sdk_webhook).crm, kind)
    name = "NAME" if kind == "contact" else "TITLE"
    number = objects.add(fields={name: "One"}).result
    assert objects.update(bitrix_id=number, fields={"COMMENTS": "two"}).result is True
    assert objects.get(bitrix_id=number).result["COMMENTS"] == "two"
    found = objects.list(filter={"=COMMENTS": "two"}, select=["ID", name], order={"ID": "DESC"}).result
    assert found == [{"ID": str(number), name: "One"}]
    assert objects.fields().result["ID"]["isReadOnly"] is True
    assert objects.delete(bitrix_id=number).result is True


def test_its_items_departments_users_and_tasks_are_known(https_portal: Any, sdk_webhook: Any) -> None:
    client = Client(sdk_webhook)
    https_portal.add_records("item:147", 1)
    item = client.crm.item.add(entity_type_id=147, fields={"title": "x"}).result["item"]
    assert client.crm.item.get(bitrix_id=item["id"], entity_type_id=147).result["item"]["title"] == "x"
    with pytest.raises(BitrixAPIInvalidArgValue, match="not allowed in filter"):
        client.crm.item.list(entity_type_id=147, filter={"><id": [1, 2]}).result  # noqa: B018
    assert client.department.get().result[0]["NAME"] == "Sandbox"
    assert client.user.get(filter={"NAME": "Ada"}).result[0]["ID"] == "1"
    task = client.tasks.task.add(fields={"TITLE": "x", "RESPONSIBLE_ID": 1}).result["task"]
    assert client.tasks.task.get(task_id=int(task["id"])).result["task"]["title"] == "x"


def test_it_knows_every_refusal_of_credentials(https_portal: Any, sdk_token: Any) -> None:
    def app(**changes: str) -> BitrixApp:
        known = {"client_id": https_portal.application.client_id, "client_secret": "wrong", **changes}
        return BitrixApp(**known)

    with pytest.raises(BitrixAPIInvalidCredentials):
        BitrixWebhook(domain=NAME, webhook_token="1/wrong").call_method("profile")
    with pytest.raises(BitrixAPIInvalidToken):
        BitrixToken(domain=NAME, auth_token="wrong", bitrix_app=app()).call_method("profile")
    with pytest.raises(BitrixOauthWrongClient):
        app(client_id="wrong").get_oauth_token(code="x")
    with pytest.raises(BitrixOAuthInvalidClient):
        app().get_oauth_token(code="x")
    https_portal.revoke_refresh_tokens()
    with pytest.raises(BitrixOAuthInvalidGrant):
        sdk_token.refresh_oauth_token()


def test_it_asks_the_authorization_server_whose_a_token_is(https_portal: Any, sdk_token: Any) -> None:
    told = sdk_token.get_app_info().result
    assert (told.client_id, told.user_id) == (https_portal.application.client_id, 1)
    assert told.install.member_id == https_portal.member_id
