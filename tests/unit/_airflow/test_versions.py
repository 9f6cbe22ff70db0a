"""What is said of the version of Airflow that is there."""

from __future__ import annotations

import importlib
import logging
import re
from importlib.metadata import requires

import pytest

from airflow_provider_b24._airflow import versions
from airflow_provider_b24._airflow.versions import TESTED, gaps, untested
from airflow_provider_b24.doctor.airflow_checks import check_airflow
from airflow_provider_b24.get_provider_info import get_provider_info


@pytest.fixture(params=["2.11.0", "3.5.0"])
def other_airflow(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """A version that nobody has tested."""
    monkeypatch.setattr(versions, "full_version", lambda: request.param)
    monkeypatch.setattr("airflow_provider_b24.doctor.airflow_checks.full_version", lambda: request.param)
    versions.warn_if_untested.cache_clear()
    return str(request.param)


@pytest.mark.parametrize("version", ["2.11.0", "3.0.0", "3.0.5"])
def test_a_version_below_the_floor_is_told_of(version: str) -> None:
    assert f"Airflow {version} is older than {TESTED[0]}" in str(untested(version))


@pytest.mark.parametrize("version", ["3.5.0", "3.5.0b1", "3.10.0", "4.0.0.dev0"])
def test_a_series_after_the_newest_is_told_of(version: str) -> None:
    assert f"Airflow {version} is newer than {TESTED[-1]}" in str(untested(version))


@pytest.mark.parametrize("version", [*TESTED, "3.1.0", "3.4.0", "3.4.2+vendor.1"])
def test_nothing_is_said_of_a_series_that_was_tested(version: str) -> None:
    assert untested(version) is None


def test_it_is_logged_once_where_airflow_asks_for_the_provider(
    other_airflow: str, caplog: pytest.LogCaptureFixture
) -> None:
    infos = [get_provider_info(), get_provider_info()]

    said = [
        record
        for record in caplog.records
        if record.name == versions.__name__ and other_airflow in record.msg
    ]
    assert [record.levelno for record in said] == [logging.WARNING]
    assert infos[0] == infos[1]


def test_the_doctor_says_it_too(other_airflow: str) -> None:
    finding = check_airflow()

    assert (finding.check, finding.verdict) == ("Airflow", "warning")
    assert str(untested(other_airflow)) in finding.what


@pytest.mark.parametrize("version", TESTED)
def test_the_doctor_says_what_a_version_lacks(version: str, monkeypatch: pytest.MonkeyPatch) -> None:
    series = (int(version.split(".", maxsplit=1)[0]), int(version.split(".")[1]))
    monkeypatch.setattr("airflow_provider_b24.doctor.airflow_checks.full_version", lambda: version)
    monkeypatch.setattr("airflow_provider_b24.doctor.airflow_checks.airflow_version", lambda: series)

    finding = check_airflow()

    assert (finding.verdict, finding.advice) == ("ok", "")
    assert all(gap in finding.what for gap in gaps(series))
    assert bool(gaps(series)) == (series < (3, 2))


def test_the_metadata_admits_what_was_tested() -> None:
    [wanted] = [
        one for one in requires("airflow-provider-b24") or [] if re.match(r"apache-airflow\b[^-]", one)
    ]

    assert wanted == f"apache-airflow>={TESTED[0]}"


def test_every_old_path_says_when_it_may_go() -> None:
    table = re.findall(r"^3\.\d .*  (``\w+``(?:, ``\w+``)*)$", versions.__doc__ or "", re.MULTILINE)
    modules = {f"{versions.__package__}.{name}" for row in table for name in re.findall(r"\w+", row)}

    assert modules
    assert [
        name
        for name in sorted(modules)
        if "may go when" not in re.sub(r"\s+", " ", (importlib.import_module(name).__doc__ or "").lower())
    ] == []
