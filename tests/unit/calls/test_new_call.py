"""From the form that Bitrix24 posts to the row that puts it on record."""

from __future__ import annotations

import datetime as dt
import hashlib
import json
from typing import Any

import pytest
from airflow.models.crypto import get_fernet
from cryptography.fernet import Fernet

from airflow_provider_b24._airflow.encryption import encrypt
from airflow_provider_b24.calls.new_call import NewCall, UnreadablePayloadError
from airflow_provider_b24.calls.table import call_table
from airflow_provider_b24.robots.call import MalformedCallError

NOON = dt.datetime(2026, 5, 4, 12, 0, tzinfo=dt.UTC)
FORM: dict[str, Any] = {
    "event_token": "token|A1|1.signature",
    "workflow_id": "67e3.1",
    "code": "score_lead",
    "document_id": ["crm", "CCrmDocumentLead", "LEAD_77"],
    "document_type": ["crm", "CCrmDocumentLead", "LEAD"],
    "properties": {"model": "deep"},
    "use_subscription": "Y",
    "timeout_duration": "0",
    "ts": str(int(NOON.timestamp()) - 2),
    "auth": {
        "application_token": "the-application-token",
        "access_token": "the-access-token",
        "refresh_token": "the-refresh-token",
        "member_id": "member",
        "user_id": "1",
    },
}


def call(**changes: Any) -> NewCall:
    return NewCall.from_form("crm", "score_dag", FORM | changes, NOON)


def test_the_row_says_which_call_it_is():
    row = call().to_row()
    name = hashlib.sha256(b"token|A1|1.signature").hexdigest()[:32]
    assert row == {
        "id": name,
        "conn_id": "crm",
        "code": "score_lead",
        "dag_id": "score_dag",
        "run_id": f"bitrix24__{name}",
        "process": "67e3.1",
        "document": "crm/CCrmDocumentLead/LEAD_77",
        "waits": True,
        "sent_at": NOON - dt.timedelta(seconds=2),
        "received_at": NOON,
        "process_ends_at": None,
        "state": "received",
        "reason": None,
        "attempts": 0,
        "due_at": NOON,
    }
    assert set(row) <= set(call_table.c.keys())


@pytest.mark.parametrize(
    ("changes", "ends"),
    [
        ({"timeout_duration": "60"}, NOON + dt.timedelta(seconds=58)),
        ({"timeout_duration": "60", "ts": ""}, NOON + dt.timedelta(seconds=60)),
        # The portal's clock is ahead: the process does not wait longer for that.
        (
            {"timeout_duration": "60", "ts": str(int(NOON.timestamp()) + 3600)},
            NOON + dt.timedelta(seconds=60),
        ),
        ({"timeout_duration": "60", "use_subscription": "N"}, None),
    ],
)
def test_the_row_says_how_long_the_process_waits(changes, ends):
    assert call(**changes).to_row()["process_ends_at"] == ends


def test_credentials_are_left_out():
    one = call()
    assert one.fields["auth"] == {"member_id": "member", "user_id": "1"}
    kept = get_fernet().decrypt(one.to_payload().encode()).decode()
    for secret in ("the-application-token", "the-access-token", "the-refresh-token"):
        assert secret not in kept


def test_the_fields_do_not_show_in_a_repr():
    assert "signature" not in repr(call())


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"event_token": ""}, "event_token"),
        ({"workflow_id": None}, "workflow_id"),
        ({"document_id": ["crm", "x"]}, "document_id"),
        ({"ts": "never"}, "ts"),
        ({"workflow_id": "x" * 256}, "process is longer than 255"),
        ({"code": "x" * 256}, "code is longer than 255"),
        ({"document_id": ["a" * 300, "b" * 300, "c" * 300]}, "document is longer than 765"),
    ],
)
def test_what_is_no_call_or_does_not_fit_into_the_table_is_refused(changes, complaint):
    with pytest.raises(MalformedCallError, match=complaint):
        call(**changes)


def test_a_dag_id_that_no_dag_can_have_is_refused():
    with pytest.raises(MalformedCallError, match="dag_id is longer than 250"):
        NewCall.from_form("crm", "d" * 251, FORM, NOON)


def test_a_payload_comes_back_as_it_was_kept():
    assert NewCall.from_payload(call().to_payload()) == call()


def test_a_payload_of_version_0_1_is_read():
    """The spool of version 0.1 kept this JSON, which does not say when the call came."""
    kept = json.dumps(
        {"conn_id": "crm", "dag_id": "score_dag", "run_id": "bitrix24__0", "fields": call().fields}
    )
    assert NewCall.from_payload(encrypt(kept), NOON.timestamp()) == call()


@pytest.mark.parametrize(
    "kept",
    ["x", "{}", "[]", '{"conn_id": "c", "dag_id": "d", "fields": {}}', '{"conn_id": "c", "fields": 1}'],
)
def test_a_damaged_payload_says_so(kept):
    with pytest.raises(UnreadablePayloadError, match="damaged"):
        NewCall.from_payload(encrypt(kept), NOON.timestamp())


def test_a_payload_of_another_fernet_key_says_what_to_do():
    payload = Fernet(Fernet.generate_key()).encrypt(b"{}").decode()
    with pytest.raises(UnreadablePayloadError, match="fernet_key"):
        NewCall.from_payload(payload)


def test_a_payload_that_was_erased_says_so():
    with pytest.raises(UnreadablePayloadError, match="gone"):
        NewCall.from_payload(None)
