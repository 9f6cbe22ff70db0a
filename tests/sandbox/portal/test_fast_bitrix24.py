"""The client fast-bitrix24, unchanged: its ways of reading many records at once."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from airflow_provider_b24.sandbox import SandboxPortal

fast_bitrix24 = pytest.importorskip("fast_bitrix24")


@pytest.fixture
def many(live_portal: SandboxPortal) -> SandboxPortal:
    for kind in ("deal", "lead", "item:147", "task"):
        live_portal.add_records(kind, [{"TITLE": f"{kind} {n}"} for n in range(1, 131)])
    return live_portal


@pytest.fixture
def client(many: SandboxPortal) -> Any:
    return fast_bitrix24.Bitrix(many.webhook.url, verbose=False)


@pytest.mark.parametrize(
    ("method", "params", "name"),
    [
        ("crm.deal.list", {"select": ["ID", "TITLE"]}, "ID"),
        ("crm.lead.list", {"filter": {"%TITLE": "lead"}}, "ID"),
        ("crm.item.list", {"entityTypeId": 147}, "id"),
        ("tasks.task.list", {"select": ["ID"]}, "id"),
        ("user.get", {}, "ID"),
    ],
)
def test_it_reads_whole_lists(client: Any, method: str, params: dict[str, Any], name: str) -> None:
    expected = 2 if method == "user.get" else 130
    rows = client.get_all(method, params)
    assert sorted(int(row[name]) for row in rows) == list(range(1, expected + 1))


def test_it_reads_records_by_their_numbers(client: Any) -> None:
    deals = client.get_by_ID("crm.deal.get", range(1, 61))
    assert {deal["TITLE"] for deal in deals.values()} == {f"deal {n}" for n in range(1, 61)}


def test_it_adds_changes_and_deletes_many(client: Any, many: SandboxPortal) -> None:
    added = client.call("crm.deal.add", [{"fields": {"TITLE": f"new {n}"}} for n in range(60)])
    assert sorted(added) == list(range(131, 191))
    client.call("crm.deal.update", [{"ID": n, "fields": {"COMMENTS": "seen"}} for n in added])
    found = client.get_all("crm.deal.list", {"filter": {"=COMMENTS": "seen"}, "select": ["ID"]})
    assert len(found) == 60
    client.call("crm.deal.delete", [{"ID": n} for n in added])
    assert len(many.records("deal")) == 130
