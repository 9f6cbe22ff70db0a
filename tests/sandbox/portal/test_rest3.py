"""REST 3.0 as the portal speaks it, byte by byte."""

import pytest
import requests

PREFIX = "BITRIX_REST_V3_EXCEPTION_"
FIELDS = {"title": "Report", "creatorId": 1, "responsibleId": 2, "deadline": "2026-12-31T23:59:59+02:00"}


@pytest.fixture
def post(portal):
    def post(method, body=None, *, key=None, address=None, **options):
        address = address or portal.webhook.url.replace("/rest/", "/rest/api/")
        headers = {"Idempotency-Key": key} if key is not None else {}
        return requests.post(address + method, json=body, headers=headers, timeout=10, **options)

    return post


def code_of(response):
    return response.json()["error"]["code"].removeprefix(PREFIX)


def test_what_succeeds_has_result_and_time(post):
    body = post("tasks.task.add", {"fields": FIELDS}).json()
    assert set(body) == {"result", "time"}
    assert body["result"]["item"]["responsibleId"] == 2
    assert body["result"]["item"]["deadline"] == FIELDS["deadline"]
    assert {"start", "operating", "operating_reset_at"} < set(body["time"])


def test_an_application_passes_its_token_in_the_body(portal, post):
    address = f"{portal.url}/rest/api/"
    token = portal.application.access_token
    assert post("tasks.task.list", {"auth": token}, address=address).json()["result"] == {"items": []}
    refused = post("tasks.task.list", {"auth": "wrong"}, address=address)
    assert (refused.status_code, code_of(refused)) == (401, "ACCESSDENIEDEXCEPTION")


def test_a_body_that_is_no_json_is_refused(portal):
    address = portal.webhook.url.replace("/rest/", "/rest/api/") + "tasks.task.get"
    for options in ({"data": {"id": 1}}, {"data": "{", "headers": {"Content-Type": "application/json"}}):
        response = requests.post(address, timeout=10, **options)
        assert (response.status_code, code_of(response)) == (400, "INVALIDJSONEXCEPTION")


def test_parameters_in_the_query_are_not_read(portal):
    address = portal.webhook.url.replace("/rest/", "/rest/api/") + "tasks.task.get?id=1"
    response = requests.get(address, timeout=10)
    assert code_of(response) == "VALIDATION_REQUESTVALIDATIONEXCEPTION"
    assert response.json()["error"]["validation"] == [
        {"message": "Required field `id` is not specified", "field": "id"}
    ]


@pytest.mark.parametrize(
    ("method", "body", "status", "code"),
    [
        ("tasks.task.get", {"id": "1"}, 400, "VALIDATION_REQUESTVALIDATIONEXCEPTION"),
        ("tasks.task.get", {"id": 2}, 400, "ENTITYNOTFOUNDEXCEPTION"),
        ("tasks.task.get", {"id": 1, "select": ["responsible.x"]}, 400, "UNKNOWNDTOPROPERTYEXCEPTION"),
        ("tasks.task.add", {}, 400, "VALIDATION_REQUESTVALIDATIONEXCEPTION"),
        ("tasks.task.add", {"fields": {"colour": 1}}, 400, "UNKNOWNDTOPROPERTYEXCEPTION"),
        (
            "tasks.task.update",
            {"id": 1, "fields": {"creatorId": 2}},
            400,
            "VALIDATION_REQUESTVALIDATIONEXCEPTION",
        ),
        ("tasks.task.delete", {"id": 2}, 400, "ACCESSDENIEDEXCEPTION"),
        ("tasks.task.get", {"id": 1, "select": 5}, 400, "INVALIDSELECTEXCEPTION"),
        ("tasks.task.list", {"select": 5}, 400, "INVALIDSELECTEXCEPTION"),
        ("tasks.task.list", {"order": {"id": "UP"}}, 400, "INVALIDORDEREXCEPTION"),
        ("tasks.task.list", {"pagination": {"limit": "abc"}}, 400, "INVALIDPAGINATIONEXCEPTION"),
        ("tasks.task.list", {"pagination": {"limit": 0}}, 400, "INVALIDPAGINATIONEXCEPTION"),
        ("tasks.task.list", {"filter": [["id", "~", 1]]}, 400, "UNKNOWNFILTEROPERATOREXCEPTION"),
        ("crm.lead.list", {}, 404, "METHODNOTFOUNDEXCEPTION"),
        ("batch", {"halt": 0, "cmd": {"a": "tasks.task.get?id=1"}}, 400, "INVALIDSELECTEXCEPTION"),
    ],
)
def test_refusals_are_the_documented_ones(portal, post, method, body, status, code):
    portal.add_records("task", 1)
    response = post(method, body)
    assert (response.status_code, code_of(response)) == (status, code)


@pytest.mark.parametrize(
    ("filter_by", "ids"),
    [
        ([["id", "=", 3]], [3]),
        ([["id", 3]], [3]),
        ([["id", [1, 2]]], [1, 2]),
        ([["id", "in", [4, 9]]], [4]),
        ([["id", "between", [2, 4]]], [2, 3, 4]),
        ([["id", ">", 1], ["id", "<=", 3]], [2, 3]),
        ([["id", "!=", 1]], [2, 3, 4]),
    ],
)
def test_lists_are_filtered_by_conditions(portal, post, filter_by, ids):
    portal.add_records("task", 4)
    items = post("tasks.task.list", {"filter": filter_by}).json()["result"]["items"]
    assert items == [{"id": number} for number in ids]


def test_lists_have_order_and_pages(portal, post):
    portal.add_records("task", 5)
    page = {"order": {"id": "DESC"}, "pagination": {"page": 2, "limit": 2}, "select": ["id", "title"]}
    items = post("tasks.task.list", page).json()["result"]["items"]
    assert items == [{"id": 3, "title": "task 3"}, {"id": 2, "title": "task 2"}]


def test_the_old_and_the_new_list_have_the_same_tasks(portal, post):
    post("tasks.task.add", {"fields": FIELDS})
    old = requests.get(portal.webhook.url + "tasks.task.list", timeout=10).json()
    assert [(task["id"], task["title"]) for task in old["result"]["tasks"]] == [("1", "Report")]


def test_the_number_of_a_deleted_task_is_not_given_again(portal, post):
    portal.add_records("task", 2)
    assert post("tasks.task.delete", {"id": 2}).json()["result"] == {"result": True}
    assert post("tasks.task.add", {"fields": FIELDS}).json()["result"]["item"]["id"] == 3


def test_a_batch_is_an_array_of_calls_and_of_results(portal, post):
    portal.add_records("task", 2)
    calls = [{"method": "tasks.task.get", "query": {"id": n, "select": ["id"]}} for n in (1, 2)]
    assert post("batch", calls).json()["result"] == [{"item": {"id": 1}}, {"item": {"id": 2}}]


def test_a_batch_ends_at_the_first_refusal_and_what_was_done_before_stays_done(portal, post):
    calls = [
        {"method": "tasks.task.add", "query": {"fields": FIELDS}},
        {"method": "tasks.task.get", "query": {"id": 99}},
        {"method": "tasks.task.add", "query": {"fields": FIELDS}},
    ]
    assert code_of(post("batch", calls)) == "ENTITYNOTFOUNDEXCEPTION"
    assert len(portal.records("task")) == 1


def test_a_batch_with_an_unknown_method_does_nothing(portal, post):
    calls = [{"method": name, "query": {"fields": FIELDS}} for name in ("tasks.task.add", "nobody.knows")]
    assert code_of(post("batch", calls)) == "METHODNOTFOUNDEXCEPTION"
    assert len(portal.records("task")) == 0


def test_a_batch_hands_on_results(portal, post):
    portal.add_records("task", 1)
    calls = [
        {"method": "tasks.task.get", "query": {"id": 1, "select": ["id"]}},
        {"method": "tasks.task.delete", "query": {"id": {"$ref": "0.item.id"}}},
    ]
    assert post("batch", calls).json()["result"][1] == {"result": True}


class TestKeys:
    def test_a_repetition_is_answered_with_the_kept_result_and_says_so(self, portal, post):
        first, second = (post("tasks.task.add", {"fields": FIELDS}, key="k1") for _ in range(2))
        assert first.json()["result"] == second.json()["result"]
        assert [response.headers.get("Idempotency-Key") for response in (first, second)] == ["k1", "k1"]
        assert [response.headers.get("Idempotent-Replayed") for response in (first, second)] == [None, "true"]
        assert len(portal.records("task")) == 1

    def test_another_body_is_refused(self, portal, post):
        post("tasks.task.add", {"fields": FIELDS}, key="k1")
        response = post("tasks.task.add", {"fields": {**FIELDS, "title": "x"}}, key="k1")
        assert (response.status_code, code_of(response)) == (422, "IDEMPOTENCYKEYREUSEDEXCEPTION")

    def test_the_access_token_belongs_to_the_body(self, portal, post):
        application = portal.application
        bodies = [{"fields": FIELDS, "auth": application.access_token}]
        bodies.append({"fields": FIELDS, "auth": application.issue_tokens().access_token})
        answers = [post("tasks.task.add", b, key="k1", address=f"{portal.url}/rest/api/") for b in bodies]
        assert [response.status_code for response in answers] == [200, 422]

    @pytest.mark.parametrize("key", ["x" * 256, "a b"])
    def test_what_is_no_key_is_refused(self, post, key):
        response = post("tasks.task.add", {"fields": FIELDS}, key=key)
        assert (response.status_code, code_of(response)) == (400, "INVALIDIDEMPOTENCYKEYEXCEPTION")

    def test_keys_are_apart_by_caller_and_by_method(self, portal, post):
        other = portal.create_webhook(user_id=2).url.replace("/rest/", "/rest/api/")
        post("tasks.task.add", {"fields": FIELDS}, key="k1")
        post("tasks.task.add", {"fields": FIELDS}, key="k1", address=other)
        assert len(portal.records("task")) == 2
        response = post("tasks.task.update", {"id": 1, "fields": {"title": "x"}}, key="k1")
        assert "Idempotent-Replayed" not in response.headers

    def test_methods_that_read_and_the_old_api_take_no_notice(self, portal, post):
        assert "Idempotency-Key" not in post("tasks.task.list", {}, key="k1").headers
        for _ in range(2):
            post("crm.lead.add", {"fields": {}}, key="k1", address=portal.webhook.url)
        assert len(portal.records("lead")) == 2
