"""Where the request limits of portals are kept is a setting, and no reason to fail."""

import json
import logging
import sys

import pytest

from airflow_provider_b24.hooks.bitrix24 import Bitrix24Hook
from airflow_provider_b24.hooks.limits import _limit_at, configured_limit

SETTING = "AIRFLOW__BITRIX24__SHARED_LIMITS"


@pytest.fixture(autouse=True)
def _read_anew():
    _limit_at.cache_clear()
    yield
    _limit_at.cache_clear()


def test_without_a_setting_it_is_a_folder_among_the_temporary_files(monkeypatch, tmp_path):
    monkeypatch.delenv(SETTING)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))

    assert configured_limit().folder.parent == tmp_path


def test_all_hooks_of_a_process_use_one_place(monkeypatch, tmp_path):
    monkeypatch.setenv(SETTING, str(tmp_path))
    connection = {"conn_type": "bitrix24", "host": "https://shared.bitrix24.com/rest/1/c0de/"}
    monkeypatch.setenv("AIRFLOW_CONN_CRM", json.dumps(connection))

    for _ in range(3):
        Bitrix24Hook("crm").get_conn()._session.pacer.reserve()

    [record] = tmp_path.iterdir()
    assert record.name.startswith("shared.bitrix24.com-")
    assert configured_limit() is configured_limit()


def test_each_process_by_itself(monkeypatch):
    monkeypatch.setenv(SETTING, "process")
    assert configured_limit() is None


@pytest.mark.parametrize(
    "place", ["somewhere", "redis://:s3cr3t@127.0.0.1/x y", "http://u:s3cr3t@example.com"]
)
def test_a_setting_that_cannot_be_used_is_told_once(monkeypatch, caplog, place):
    monkeypatch.setenv(SETTING, place)
    if place.startswith("redis"):
        monkeypatch.setitem(sys.modules, "redis", None)  # It is not installed.
    with caplog.at_level(logging.WARNING):
        assert [configured_limit() for _ in range(3)] == [None] * 3

    assert len(caplog.records) == 1
    assert "shared_limits" in caplog.text
    assert "s3cr3t" not in caplog.text
