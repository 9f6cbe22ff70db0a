"""REST 3.0 over HTTP: the same conversation, written and read in another way."""

import logging

import pytest

from airflow_provider_b24.exceptions import (
    AuthError,
    Bitrix24Error,
    OperationTimeLimitError,
    TransportError,
)
from airflow_provider_b24.rest import (
    Call,
    MemoryTokenStore,
    MethodFacts,
    Reply,
)
from airflow_provider_b24.rest.encoding import UnsendableValueError
from airflow_provider_b24.sandbox import AnswerStatus, DropConnection

FIELDS = {"title": "Report", "creatorId": 1, "responsibleId": 2}


@pytest.fixture
def make_client(make_any_client):
    def make(credentials, **options):
        return make_any_client(credentials, api="v3", **options)

    return make


@pytest.fixture(params=["webhook", "application"])
def client(request, make_client, portal_webhook, portal_app, portal_tokens):
    if request.param == "webhook":
        return make_client(portal_webhook)
    return make_client(portal_app, token_store=MemoryTokenStore(portal_tokens))


@pytest.fixture
def webhook_client(make_client, portal_webhook):
    return make_client(portal_webhook)


def titles(portal):
    return [row["TITLE"] for row in portal.records("task").rows()]


def test_values_keep_their_types_on_both_ways(client):
    made = client.call("tasks.task.add", {"fields": {**FIELDS, "needsControl": True, "crmItemIds": []}})
    item = client.call("tasks.task.get", {"id": made.result["item"]["id"]}).result["item"]

    assert (item["needsControl"], item["crmItemIds"], item["parentId"]) == (True, [], None)
    assert client.call("tasks.task.update", {"id": item["id"], "fields": {"title": "Ä"}}).result == {
        "result": True
    }
    related = client.call("tasks.task.get", {"id": item["id"], "select": ["title", "responsible.name"]})
    assert related.result["item"] == {"title": "Ä", "responsible": {"name": "Emil"}}
    assert related.time is not None


def test_it_is_called_at_an_address_of_its_own_with_json_alone(portal, webhook_client):
    webhook_client.call("tasks.task.list")

    [request] = portal.requests
    code = portal.webhook.code
    assert (request.verb, request.path) == ("POST", f"/rest/api/1/{code}/tasks.task.list")
    assert request.headers["content-type"] == "application/json"
    assert "idempotency-key" not in request.headers


def test_errors_show_what_is_wrong_with_each_parameter(client):
    with pytest.raises(Bitrix24Error) as caught:
        client.call("tasks.task.add", {"fields": {"title": 7}})

    error = caught.value
    assert type(error) is Bitrix24Error
    assert error.code == "BITRIX_REST_V3_EXCEPTION_VALIDATION_REQUESTVALIDATIONEXCEPTION"
    assert "title: Field `title` requires data type `string`" in str(error)
    assert "creatorId: Required field `creatorId` is not specified" in str(error)
    assert (error.retryable, error.ambiguous, error.status) == (False, False, 400)


@pytest.mark.parametrize(
    ("method", "params", "kind", "advice"),
    [
        ("tasks.task.get", {"id": 99}, Bitrix24Error, "ID = `99` not found"),
        ("tasks.task.update", {"id": 99, "fields": {}}, AuthError, "there is no such object"),
        ("tasks.task.list", {"filter": [["title", "=", "x"]]}, Bitrix24Error, "Filterable"),
        ("crm.lead.get", {"id": 1}, Bitrix24Error, "call it without api='v3'"),
    ],
)
def test_refusals_say_what_to_do(client, method, params, kind, advice):
    with pytest.raises(Bitrix24Error, match=advice) as caught:
        client.call(method, params)
    assert type(caught.value) is kind


def test_a_method_that_only_rest3_has_is_named_so(portal, webhook_client):
    with pytest.raises(Bitrix24Error, match="api='v3'"):
        webhook_client.call("tasks.task.chat.message.send", {"fields": {"taskId": 1, "text": "x"}}, api="v2")


def test_a_missing_scope_is_named(portal, make_client, portal_webhook):
    from airflow_provider_b24.rest import Webhook

    narrow = make_client(Webhook.from_url(portal.create_webhook(scope=["crm"]).url))
    with pytest.raises(AuthError, match="missing permission"):
        narrow.call("tasks.task.list")


def test_an_expired_token_is_renewed_though_the_portal_says_only_that_access_is_denied(
    portal, make_client, portal_app, portal_tokens
):
    client = make_client(portal_app, token_store=MemoryTokenStore(portal_tokens))
    portal.expire_access_tokens()

    assert client.call("tasks.task.list").result == {"items": []}
    assert [request.method for request in portal.requests] == [
        "tasks.task.list", "oauth.token", "tasks.task.list",
    ]  # fmt: skip


def test_a_webhook_that_does_not_exist_is_told_from_missing_rights(portal, make_client):
    from airflow_provider_b24.rest import Webhook

    client = make_client(Webhook(portal.url, "1", "mistyped"))
    with pytest.raises(AuthError, match="mistyped, or it was deleted"):
        client.call("tasks.task.list")


def test_a_method_closed_for_its_operating_time_waits_like_any_other(make_client):
    from airflow_provider_b24.rest import Webhook
    from airflow_provider_b24.sandbox import SandboxPortal

    with SandboxPortal() as portal:
        portal.operating_costs["tasks.task.list"] = 500.0
        client = make_client(Webhook.from_url(portal.webhook.url), operating_limit=None)
        client.call("tasks.task.list")
        with pytest.raises(OperationTimeLimitError):
            client.call("tasks.task.list", deadline=5)


def test_the_portal_that_has_moved_is_followed(portal, webhook_client):
    from airflow_provider_b24.sandbox import SandboxPortal

    with SandboxPortal(limits=False) as new:
        portal.move_to(new)
        client = webhook_client
        client._client._session.trusted_hosts = frozenset({new.host})
        assert client.call("tasks.task.list").result == {"items": []}


class TestKeys:
    def test_a_creating_call_is_repeated_after_a_lost_answer_and_done_once(self, portal, client):
        portal.faults.add(DropConnection(after_work=True), method="tasks.task.add")

        reply = client.call("tasks.task.add", {"fields": FIELDS}, idempotency_key="k1")

        assert reply.replayed
        assert reply.result["item"]["id"] == 1
        assert titles(portal) == ["Report"]

    def test_the_repetition_waits_until_the_first_cannot_be_running_any_more(
        self, portal, webhook_client, free_clock
    ):
        portal.faults.add(DropConnection(after_work=True), method="tasks.task.add")
        begun = free_clock()
        webhook_client.call("tasks.task.add", {"fields": FIELDS}, idempotency_key="k1")
        assert free_clock() - begun >= 59

    def test_without_a_key_it_is_not_repeated(self, portal, client):
        portal.faults.add(DropConnection(after_work=True), method="tasks.task.add")
        with pytest.raises(TransportError) as caught:
            client.call("tasks.task.add", {"fields": FIELDS})
        assert (caught.value.retryable, caught.value.ambiguous) == (False, True)
        assert titles(portal) == ["Report"]

    def test_a_method_of_which_nobody_says_that_it_keeps_results_is_not_repeated(self, portal, client):
        portal.faults.add(DropConnection(after_work=True), method="mail.message.send")
        with pytest.raises(TransportError) as caught:
            client.call("mail.message.send", idempotency_key="k1")
        assert not caught.value.retryable

    def test_who_says_that_it_must_not_be_repeated_is_obeyed(self, portal, client):
        portal.faults.add(DropConnection(after_work=True), method="tasks.task.add")
        with pytest.raises(TransportError):
            client.call("tasks.task.add", {"fields": FIELDS}, idempotency_key="k1", repeatable=False)

    def test_the_same_key_gives_the_same_result_for_a_day(self, portal, webhook_client):
        first = webhook_client.call("tasks.task.add", {"fields": FIELDS}, idempotency_key="k1")
        second = webhook_client.call("tasks.task.add", {"fields": FIELDS}, idempotency_key="k1")
        assert (first.replayed, second.replayed) == (False, True)
        assert first.result == second.result

        portal.clock.advance(24 * 3600 + 1)
        third = webhook_client.call("tasks.task.add", {"fields": FIELDS}, idempotency_key="k1")
        assert (third.replayed, len(titles(portal))) == (False, 2)

    def test_a_refused_call_leaves_its_key_free(self, portal, webhook_client):
        with pytest.raises(Bitrix24Error):
            webhook_client.call("tasks.task.add", {"fields": {}}, idempotency_key="k1")
        assert not webhook_client.call("tasks.task.add", {"fields": FIELDS}, idempotency_key="k1").replayed

    def test_the_same_key_for_another_call_is_an_error_that_says_so(self, portal, webhook_client):
        webhook_client.call("tasks.task.add", {"fields": FIELDS}, idempotency_key="k1")
        with pytest.raises(Bitrix24Error, match="take another key") as caught:
            webhook_client.call(
                "tasks.task.add", {"fields": {**FIELDS, "title": "Other"}}, idempotency_key="k1"
            )
        assert (caught.value.status, caught.value.retryable) == (422, False)
        assert titles(portal) == ["Report"]

    def test_a_deletion_that_is_repeated_is_told_as_done(self, portal, client):
        portal.add_records("task", 1)
        portal.faults.add(DropConnection(after_work=True), method="tasks.task.delete")
        assert client.call("tasks.task.delete", {"id": 1}, idempotency_key="k1").result == {"result": True}

    def test_a_portal_that_takes_no_notice_of_keys_is_told_and_trusted_no_further(
        self, portal, webhook_client, caplog
    ):
        from dataclasses import replace

        portal.methods3["tasks.task.add"] = replace(portal.methods3["tasks.task.add"], keeps_result=False)
        with caplog.at_level(logging.WARNING):
            webhook_client.call("tasks.task.add", {"fields": FIELDS}, idempotency_key="k1")
        assert "takes no notice of the idempotency key" in caplog.text

        portal.faults.add(DropConnection(after_work=True), method="tasks.task.add")
        with pytest.raises(TransportError):
            webhook_client.call("tasks.task.add", {"fields": FIELDS}, idempotency_key="k2")
        assert len(titles(portal)) == 2

    @pytest.mark.parametrize("key", ["", "a b", "ä", "x" * 256, 7])
    def test_what_is_no_key_is_refused_before_anything_is_sent(self, portal, client, key):
        with pytest.raises(UnsendableValueError, match="idempotency key"):
            client.call("tasks.task.add", {"fields": FIELDS}, idempotency_key=key)
        assert portal.requests == []

    def test_the_old_api_takes_none(self, client):
        with pytest.raises(UnsendableValueError, match="REST 3.0"):
            client.call("crm.lead.add", {}, api="v2", idempotency_key="k1")


class TestBatches:
    def test_calls_that_read_share_requests(self, portal, client):
        portal.add_records("task", 120)
        calls = [("tasks.task.get", {"id": number, "select": ["id"]}) for number in range(1, 121)]

        replies = client.batch(calls)

        assert [reply.result["item"]["id"] for reply in replies] == list(range(1, 121))
        assert [request.method for request in portal.requests] == ["batch"] * 3

    def test_one_that_is_refused_is_found_and_the_others_have_their_results(self, portal, client):
        portal.add_records("task", 50)
        numbers = [*range(1, 20), 99, *range(20, 50)]
        outcomes = client.batch([("tasks.task.get", {"id": number}) for number in numbers])

        failed = [index for index, outcome in enumerate(outcomes) if not isinstance(outcome, Reply)]
        assert [numbers[index] for index in failed] == [99]
        assert [o.result["item"]["id"] for o in outcomes if isinstance(o, Reply)] == numbers[:19] + numbers[
            20:
        ]
        assert len(portal.requests) < 15

    def test_calls_that_create_go_alone_and_are_done_once_whatever_the_others_do(self, portal, client):
        portal.add_records("task", [{"title": "old"}])
        outcomes = client.batch(
            [
                ("tasks.task.add", {"fields": {**FIELDS, "title": "a"}}),
                ("tasks.task.get", {"id": 99}),
                ("tasks.task.add", {"fields": {**FIELDS, "title": "b"}}),
                ("tasks.task.update", {"id": 1, "fields": {"title": "new"}}),
            ]
        )
        assert [isinstance(outcome, Reply) for outcome in outcomes] == [True, False, True, True]
        assert sorted(titles(portal)) == ["a", "b", "new"]

    def test_calls_of_both_versions_do_not_share_a_request(self, portal, client):
        portal.add_records("task", 2)
        calls = [
            Call("tasks.task.get", {"id": 1}, api="v3"),
            Call("profile"),
            Call("tasks.task.get", {"id": 2}, api="v3"),
            Call("server.time"),
        ]
        outcomes = client.batch(calls)
        assert [type(outcome) for outcome in outcomes] == [Reply] * 4
        assert outcomes[1].result["ID"] == "1"
        assert [request.path.startswith("/rest/api/") for request in portal.requests].count(True) == 1

    def test_in_order_none_is_made_after_the_first_that_fails(self, portal, client):
        portal.add_records("task", 3)
        outcomes = client.batch(
            [
                ("tasks.task.get", {"id": 1}),
                ("tasks.task.get", {"id": 2}),
                ("tasks.task.get", {"id": 99}),
                ("tasks.task.get", {"id": 3}),
                ("tasks.task.add", {"fields": FIELDS}),
            ],
            halt=True,
        )
        assert [isinstance(outcome, Reply) for outcome in outcomes] == [True, True, False, False, False]
        assert [outcome.code for outcome in outcomes[3:]] == ["halted", "halted"]
        assert len(titles(portal)) == 3

    def test_each_call_with_a_key_keeps_it(self, portal, client):
        calls = [
            Call("tasks.task.add", {"fields": FIELDS}, api="v3", idempotency_key=key)
            for key in ("a", "b", "a")
        ]
        for _ in range(2):
            client.batch(calls[:2])
        assert len(titles(portal)) == 2

    def test_what_looks_like_a_reference_to_another_call_goes_alone(self, portal, client):
        portal.add_records("task", 1)
        outcomes = client.batch(
            [
                ("tasks.task.get", {"id": 1}),
                ("tasks.task.get", {"id": {"$ref": "0.item.id"}}),
                ("tasks.task.get", {"id": 1}),
            ]
        )
        assert "data type `int`" in str(outcomes[1])

    def test_a_failure_inside_is_repeated_where_that_does_no_harm(self, portal, client):
        portal.add_records("task", 2)
        portal.faults.add(AnswerStatus(500), method="tasks.task.get")
        outcomes = client.batch([("tasks.task.get", {"id": number}) for number in (1, 2)])
        assert all(isinstance(outcome, Reply) for outcome in outcomes)

    def test_a_batch_by_hand_is_refused(self, client):
        with pytest.raises(UnsendableValueError, match=r"batch\(\.\.\., api='v3'\)"):
            client.call("batch", {"0": {}})


class TestLists:
    def test_a_list_is_read_by_id_from_the_first_to_the_last_record(self, portal, client):
        portal.add_records("task", 130)
        rows = client.iterate("tasks.task.list", {"select": ["title"]})
        assert [row["id"] for row in rows] == list(range(1, 131))
        assert rows[0]["title"] == "task 1"

    def test_the_order_that_a_list_is_read_in_may_be_said(self, portal, client):
        portal.add_records("task", 60)
        rows = client.iterate("tasks.task.list", {"order": {"id": "asc"}})
        assert [row["id"] for row in rows] == list(range(1, 61))

    def test_larger_pages_need_fewer_requests(self, portal, client):
        portal.add_records("task", 130)
        assert len(client.iterate("tasks.task.list", {"pagination": {"limit": 1000}})) == 130
        assert len(portal.requests) == 2

    def test_a_filter_is_kept_and_a_limit_too(self, portal, client):
        portal.add_records("task", 130)
        rows = client.iterate("tasks.task.list", {"filter": [["id", ">", 20]]}, limit=60)
        assert [row["id"] for row in rows] == list(range(21, 81))

    def test_a_page_that_is_smaller_than_asked_for_is_not_the_end(self, portal, client, monkeypatch):
        monkeypatch.setattr("airflow_provider_b24.sandbox.dto.LARGEST_PAGE", 7)
        portal.add_records("task", 30)
        assert len(client.iterate("tasks.task.list")) == 30

    def test_methods_that_know_offsets_alone_are_read_so(self, portal, make_client, portal_webhook):
        portal.add_records("task", 130)
        client = make_client(portal_webhook, methods={"tasks.task.list": MethodFacts(read_by="offset")})
        assert len(client.iterate("tasks.task.list", {"order": {"id": "DESC"}})) == 130

    @pytest.mark.parametrize(
        ("params", "reason"),
        [
            ({"order": {"title": "ASC"}}, "order"),
            ({"order": {"id": "DESC"}}, "order"),
            ({"order": {"id": "ASC", "title": "ASC"}}, "order"),
            ({"pagination": {"page": 2}}, "pagination"),
            ({"pagination": {"limit": "50"}}, "number of records"),
            ({"filter": {">ID": 1}}, "array of conditions"),
        ],
    )
    def test_what_the_reading_decides_itself_is_refused(self, client, params, reason):
        with pytest.raises(UnsendableValueError, match=reason):
            client.iterate("tasks.task.list", params)

    def test_a_list_that_ignores_the_filter_is_not_read_for_ever(self, portal, client):
        from dataclasses import replace

        everything = replace(
            portal.methods3["tasks.task.list"], run=lambda call: {"items": [{"id": 1}, {"id": 2}]}
        )
        portal.methods3["tasks.task.list"] = everything
        with pytest.raises(Bitrix24Error, match="cannot be read by id"):
            client.iterate("tasks.task.list")

    def test_a_list_that_ignores_the_offset_is_not_read_for_ever(self, portal, make_client, portal_webhook):
        from dataclasses import replace

        same = [{"id": number, "title": f"task {number}"} for number in range(50)]
        stuck = replace(portal.methods3["tasks.task.list"], run=lambda call: {"items": same})
        portal.methods3["tasks.task.list"] = stuck
        client = make_client(portal_webhook, methods={"tasks.task.list": MethodFacts(read_by="offset")})
        with pytest.raises(Bitrix24Error, match="ignores 'offset'"):
            client.iterate("tasks.task.list")

    def test_what_is_no_list_is_named(self, portal, client):
        portal.add_records("task", 1)
        with pytest.raises(Bitrix24Error, match="no list"):
            client.iterate("tasks.task.get", {"id": 1, "select": ["title"]})
