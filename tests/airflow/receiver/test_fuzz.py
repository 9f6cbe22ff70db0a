"""Whatever is posted, the receiver gives one of its own responses, and no stranger gets on record."""

from __future__ import annotations

import time
import uuid
from typing import Any
from urllib.parse import quote, urlencode

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from airflow_provider_b24.hooks.connection import PortalConnection
from airflow_provider_b24.sensors.result_reference import ResultReference

ROUTE = "/bitrix24_default/robots/score_lead"

fuzz = settings(
    max_examples=80,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)

names = st.text(max_size=12) | st.sampled_from(
    [
        "event_token",
        "auth",
        "auth[application_token]",
        "document_id[0]",
        "document_id[]",
        "properties[model]",
        "ts",
    ]
)
brackets = st.lists(
    st.sampled_from(["[", "]", "[]", "[0]", "[a]", "&", "=", "%", "%5B", "+", ";", "\x00"])
).map("".join)
forms = st.dictionaries(st.tuples(names, brackets).map("".join), st.text(max_size=30)).map(
    lambda fields: urlencode(fields).encode()
)
raw_forms = st.lists(st.tuples(names, brackets, st.just("="), st.text(max_size=10)).map("".join)).map(
    lambda pairs: "&".join(pairs).encode("utf-8", "surrogatepass")
)
segments = (
    st.text(min_size=1, max_size=30)
    .map(lambda text: quote(text, safe=""))
    .filter(lambda text: text.strip("."))
)


def refused(answer: Any, *statuses: int) -> None:
    assert answer.status_code in statuses, answer.text
    assert set(answer.json()) == {"error", "message"}


@fuzz
@given(body=st.binary(max_size=300) | forms | raw_forms)
def test_a_form_without_the_portals_secrets_is_not_on_record(receiver, robot, on_record, body):
    refused(receiver.post(ROUTE, content=body), 400, 403)
    assert on_record() == []


@fuzz
@given(
    changes=st.dictionaries(
        st.sampled_from(
            [
                "workflow_id",
                "code",
                "document_id[0]",
                "document_id[3]",
                "document_type[0]",
                "event_token",
                "properties[model]",
                "properties[limit]",
                "properties[limit][a]",
                "properties",
                "use_subscription",
                "timeout_duration",
                "ts",
                "auth[user_id]",
                "auth[user_id][]",
                "unfit[model]",
            ]
        ),
        st.text(max_size=20) | st.sampled_from(["", "0", "-1", "9" * 13, "1e9", "NaN", "Y", "[]"]),
        min_size=1,
    )
)
def test_a_genuine_call_of_any_content_is_on_record_or_refused(
    receiver, robot, call_fields, on_record, changes
):
    before = len(on_record())
    body = urlencode(call_fields | changes, errors="surrogatepass")
    response = receiver.post(ROUTE, content=body.encode())
    added = len(on_record()) - before
    if response.status_code == 202:
        assert (added, "spooled" in response.json()) == (1, False)
        return
    assert added == 0
    if response.status_code != 200:
        refused(response, 400)


@fuzz
@given(conn_id=segments)
def test_any_other_connection_is_unknown(receiver, robot, call_fields, on_record, conn_id):
    refused(receiver.post(f"/{conn_id}/robots/score_lead", data=call_fields), 404)
    assert on_record() == []


@fuzz
@given(dag_id=segments)
def test_any_dag_may_be_called(receiver, robot, call_fields, dag_id):
    fields = call_fields | {"event_token": uuid.uuid4().hex}
    response = receiver.post(f"/bitrix24_default/robots/{dag_id}", data=fields)
    if response.status_code == 202:
        assert "spooled" not in response.json()
    else:
        refused(response, 400, 404)


@fuzz
@given(
    reference=segments.filter(lambda text: "%2F" not in text)
    | st.from_regex(r"\A[A-Za-z0-9_-]{1,80}\.[A-Za-z0-9_-]{1,60}\Z"),
    route=st.sampled_from(["", "/fail", "/heartbeat"]),
    body=st.binary(max_size=100),
)
def test_any_other_reference_is_forged(receiver, robot, reference, route, body):
    refused(receiver.post(f"/results/{reference}{route}", content=body), 403)


@pytest.mark.parametrize("route", ["", "/fail"])
@fuzz
@given(
    body=st.binary(max_size=200) | st.text(max_size=100).map(lambda text: f'{{"message": "{text}"}}'.encode())
)
def test_any_body_with_a_genuine_reference_is_delivered_once_or_refused(
    receiver, robot, start_run, airflow_session, route, body
):
    run_id = f"run_{time.monotonic_ns()}"
    run = start_run("score_lead", run_id, {"model": "fast"})
    run.get_task_instance("score", session=airflow_session).state = "running"
    airflow_session.commit()
    reference = ResultReference("bitrix24_default", "score_lead", run_id, "score", -1, int(time.time()) + 60)
    signed = reference.sign(PortalConnection.load("bitrix24_default").signing_key("result"))
    first = receiver.post(f"/results/{signed}{route}", content=body)
    if first.status_code == 202:
        refused(receiver.post(f"/results/{signed}{route}", content=body), 409)
    else:
        refused(first, 400)


@fuzz
@given(
    method=st.sampled_from(["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]),
    path=st.lists(segments, min_size=1, max_size=4).map("/".join),
)
def test_any_other_route_is_refused(receiver, robot, method, path):
    refused(receiver.request(method, f"/{path}"), 403, 404, 405)
