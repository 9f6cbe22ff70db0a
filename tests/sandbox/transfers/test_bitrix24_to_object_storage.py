"""A list of a portal in object storage."""

import json
import logging
import re
import sys
import tracemalloc
from types import ModuleType, SimpleNamespace

import pytest
from airflow.providers.common.compat.sdk import AirflowFailException
from airflow.sdk import ObjectStoragePath
from airflow.sdk.io import attach
from fsspec.implementations.memory import MemoryFileSystem

from airflow_provider_b24.exceptions import ServerError
from airflow_provider_b24.hooks.bitrix24 import Bitrix24Hook
from airflow_provider_b24.sandbox import AnswerHtml, AnswerStatus, SandboxPortal
from airflow_provider_b24.transfers import _formats, bitrix24_to_object_storage
from airflow_provider_b24.transfers.bitrix24_to_object_storage import Bitrix24ToObjectStorageOperator

pytestmark = pytest.mark.usefixtures("webhook_connection", "impatient")


@pytest.fixture
def portal():
    """A portal whose limits do not hold up the tests; none of these is about them."""
    with SandboxPortal(limits=False) as portal:
        yield portal


@pytest.fixture(params=["file", "memory"])
def folder(request, tmp_path):
    """A folder on a disk, or in a storage that is none."""
    if request.param == "file":
        yield f"file://{tmp_path}/some/where"
    else:
        MemoryFileSystem.store.clear()
        attach("memory", fs=MemoryFileSystem())
        yield "memory://bucket/some/where"
        MemoryFileSystem.store.clear()


@pytest.fixture
def names(folder):
    """What is in the folder."""

    def names():
        storage = ObjectStoragePath(folder).fs
        return sorted(file.rpartition("/")[2] for file in storage.find(ObjectStoragePath(folder).path))

    return names


@pytest.fixture
def transfer(run_task, folder):
    def transfer(name="leads.jsonl", conf=None, **arguments):
        arguments = {"method": "crm.lead.list", "path": f"{folder}/{name}"} | arguments
        return run_task(Bitrix24ToObjectStorageOperator(task_id="write", **arguments), conf=conf)

    return transfer


def rows_of(path):
    with ObjectStoragePath(path).open("rb") as file:
        return [json.loads(line) for line in file.read().splitlines()]


@pytest.mark.parametrize("count", [0, 1, 50, 777])
def test_all_records_are_written_once_and_in_order(portal, transfer, folder, names, count):
    portal.add_records("lead", count)

    assert transfer() == {"path": f"{folder}/leads.jsonl", "rows": count}
    assert [int(row["ID"]) for row in rows_of(f"{folder}/leads.jsonl")] == list(range(1, count + 1))
    assert names() == ["leads.jsonl"]


def test_a_file_may_have_the_longest_name_that_there_is(portal, transfer, names):
    portal.add_records("lead", 1)
    name = "д" * 124 + ".jsonl"
    transfer(name)
    assert names() == [name]


@pytest.mark.skipif(
    ObjectStoragePath("leads.jsonl").path.startswith("/"),
    reason="universal-pathlib before 0.3 takes a path without a folder for one of the root folder",
)
@pytest.mark.parametrize("folder", ["file"], indirect=True)
def test_a_path_without_a_folder_is_written_to_where_the_worker_is(transfer, tmp_path, monkeypatch):
    seen = []

    def pages(*_, **__):
        seen.extend(file.suffix for file in tmp_path.iterdir())
        yield [{"ID": "1"}]

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(Bitrix24Hook, "pages", pages)
    transfer(path="leads.jsonl")
    assert seen == [".part"]
    assert [file.name for file in tmp_path.iterdir()] == ["leads.jsonl"]


def test_method_parameters_and_path_are_templates(portal, transfer, folder):
    portal.add_records("item:147", 130)
    done = transfer(
        name="{{ dag_run.conf.name }}",
        method="crm.{{ dag_run.conf.kind }}.list",
        parameters="{{ dag_run.conf.parameters }}",
        id_field="id",
        limit=100,
        conf={
            "name": "items.jsonl",
            "kind": "item",
            "parameters": {"entityTypeId": 147, "filter": {">id": 20}},
        },
    )

    assert done == {"path": f"{folder}/items.jsonl", "rows": 100}
    assert [row["id"] for row in rows_of(done["path"])] == list(range(21, 121))


def test_a_path_object_is_taken_as_it_is(portal, transfer, folder):
    portal.add_records("lead", 3)
    done = transfer(path=ObjectStoragePath(f"{folder}/leads.jsonl"))
    assert done["rows"] == len(rows_of(done["path"])) == 3


def test_texts_arrive_as_they_are(portal, transfer, folder):
    texts = ['ä\n"Ж\u2028', "\ud83d", "😀"]
    portal.add_records("lead", [{"TITLE": text} for text in texts])
    done = transfer()
    assert [row["TITLE"] for row in rows_of(done["path"])] == texts


def test_nothing_is_left_of_a_reading_that_fails_and_what_was_there_stays(portal, transfer, folder, names):
    portal.add_records("lead", 200)
    transfer()
    portal.add_records("lead", 6000)
    portal.faults.add(AnswerHtml(502), "batch", times=None)
    portal.faults.add(AnswerStatus(500), "crm.lead.list", times=None)

    with pytest.raises(ServerError):
        transfer()

    assert names() == ["leads.jsonl"]
    assert len(rows_of(f"{folder}/leads.jsonl")) == 200


def test_a_reading_that_fails_in_the_middle_leaves_nothing(portal, transfer, names, monkeypatch):
    portal.add_records("lead", 200)
    usual = Bitrix24Hook.pages

    def pages(hook, *args, **options):
        for page in usual(hook, *args, **options):
            assert [name for name in names() if not name.endswith(".part")] == []
            yield page
            raise KeyboardInterrupt  # as Airflow ends a task

    monkeypatch.setattr(Bitrix24Hook, "pages", pages)
    with pytest.raises(KeyboardInterrupt):
        transfer()
    assert names() == []


def test_a_retry_replaces_what_is_there(portal, transfer, folder):
    portal.add_records("lead", 60)
    transfer()
    portal.add_records("lead", 60)
    assert transfer()["rows"] == len(rows_of(f"{folder}/leads.jsonl")) == 120


def test_a_refusal_fails_at_once_and_leaves_nothing(transfer, names):
    with pytest.raises(AirflowFailException, match="no.such.list"):
        transfer(method="no.such.list")
    assert names() == []


@pytest.mark.parametrize("parameters", ["no mapping", {"start": 50}, {"filter": "x"}])
def test_parameters_that_make_no_sense_fail_at_once(portal, transfer, names, parameters):
    with pytest.raises(AirflowFailException):
        transfer(parameters=parameters)
    assert portal.requests == []
    assert names() == []


def test_progress_is_in_the_log(portal, transfer, monkeypatch, capsys, caplog):
    caplog.set_level(logging.INFO)
    monkeypatch.setattr(bitrix24_to_object_storage, "_SECONDS_BETWEEN_LINES", 0.0)
    portal.add_records("lead", 120)
    transfer()
    told = capsys.readouterr().out + caplog.text  # one or the other, by version
    assert re.search(r"50 records of crm\.lead\.list in \d+ s\.", told)
    assert "holds 120 records of crm.lead.list" in told


def test_an_unknown_format_is_refused_when_the_dag_is_parsed():
    with pytest.raises(ValueError, match="write: file_format is jsonl or parquet, not 'csv'"):
        Bitrix24ToObjectStorageOperator(task_id="write", method="m", path="p", file_format="csv")


@pytest.mark.parametrize("file_format", ["jsonl", "parquet"])
def test_it_takes_the_same_memory_however_long_the_list_is(
    portal, run_task, tmp_path, monkeypatch, file_format
):
    if file_format == "parquet":
        pytest.importorskip("pyarrow")

    def peak(after):
        before, _ = tracemalloc.get_traced_memory()
        done = write(after)
        return done["rows"], tracemalloc.get_traced_memory()[1] - before

    def write(after):
        arguments = {"method": "crm.lead.list", "parameters": {"filter": {">ID": after}}}
        path = f"file://{tmp_path}/leads"
        task = Bitrix24ToObjectStorageOperator(
            task_id="write", path=path, file_format=file_format, **arguments
        )
        return run_task(task)

    usual = Bitrix24Hook.pages

    def pages(hook, *arguments, **options):
        for number, page in enumerate(usual(hook, *arguments, **options)):
            if number == 0:
                # Before, the portal, which is in this process, has looked for the last page.
                tracemalloc.reset_peak()
            yield page

    monkeypatch.setattr(Bitrix24Hook, "pages", pages)
    # It remembers what it is asked.
    monkeypatch.setattr(portal, "record", lambda request: None)
    monkeypatch.setattr(_formats, "_ROWS_AT_A_TIME", 800)
    portal.add_records("lead", 8_000)
    write(6_000)
    tracemalloc.start()
    try:
        few, peak_of_few = peak(6_000)
        many, peak_of_many = peak(0)
    finally:
        tracemalloc.stop()

    assert (few, many) == (2_000, 8_000)
    assert peak_of_many < 1.5 * peak_of_few


class TestParquet:
    @pytest.fixture
    def table(self, portal, transfer, folder):
        """The table that records become."""
        pq = pytest.importorskip("pyarrow.parquet")

        def table(records, **arguments):
            portal.add_records("item:147", records)
            fields = dict.fromkeys(name for record in records for name in record)
            done = transfer(
                "items.parquet",
                method="crm.item.list",
                parameters={"entityTypeId": 147, "select": ["id", *fields]},
                file_format="parquet",
                **arguments,
            )
            with ObjectStoragePath(done["path"]).open("rb") as file:
                return pq.read_table(file)

        return table

    def test_columns_have_the_type_of_their_values(self, table):
        records = [
            {"flag": True, "sum": 5, "rate": 1, "text": "a", "mixed": "a", "many": [1], "big": 2**53 + 1},
            {"flag": None, "sum": None, "rate": 0.5, "text": None, "mixed": 5, "many": None, "big": 1},
        ]
        found = table(records)

        assert {name: str(found.schema.field(name).type) for name in found.schema.names} == {
            "flag": "bool",
            "sum": "int64",
            "rate": "double",
            "text": "string",
            "mixed": "string",
            "many": "string",
            "big": "int64",
            "id": "int64",
        }
        assert found.to_pylist() == [
            {**records[0], "rate": 1.0, "many": "[1]", "id": 1},
            {**records[1], "mixed": "5", "id": 2},
        ]

    def test_fields_that_come_late_are_columns_too(self, table):
        found = table([{"first": "x"}] * 300 + [{"last": 7}])

        assert found.schema.names == ["id", "first", "last"]
        assert found.column("last").to_pylist() == [None] * 300 + [7]
        assert found.num_rows == 301

    @pytest.mark.parametrize(
        ("values", "kept"),
        [
            ([2**53 + 1, 0.5], ["9007199254740993", "0.5"]),
            ([2**70, 1], ["1180591620717411303424", "1"]),
            ([True, 1], ["true", "1"]),
            ([None, None], [None, None]),
            (["half \ud83d", {"a": "ä"}], ["half ?", '{"a":"\\u00e4"}']),
        ],
    )
    def test_no_value_loses_anything_to_the_type_of_its_column(self, table, values, kept):
        assert table([{"value": value} for value in values]).column("value").to_pylist() == kept

    def test_a_list_without_records_is_a_table_without_rows(self, table):
        assert table([]).num_rows == 0

    def test_without_pyarrow_nothing_is_read(self, portal, transfer, names, monkeypatch):
        monkeypatch.setitem(sys.modules, "pyarrow", None)
        with pytest.raises(AirflowFailException, match=r"needs pyarrow.*airflow-provider-b24\[parquet\]"):
            transfer(file_format="parquet")
        assert portal.requests == []
        assert names() == []


class TestOpenLineage:
    @pytest.fixture(autouse=True)
    def _extractors(self, monkeypatch):
        """What the operator needs of the OpenLineage provider, which is not installed here."""
        extractors = ModuleType("airflow.providers.openlineage.extractors")
        extractors.OperatorLineage = SimpleNamespace
        monkeypatch.setitem(sys.modules, "airflow.providers.openlineage", ModuleType("openlineage"))
        monkeypatch.setitem(sys.modules, "airflow.providers.openlineage.extractors", extractors)

    def test_it_is_told_what_was_read_and_where_it_is_now(self, portal, run_task, tmp_path):
        portal.add_records("item:147", 70)
        task = Bitrix24ToObjectStorageOperator(
            task_id="write",
            method="crm.item.list",
            parameters={"entityTypeId": 147},
            path=f"file://{tmp_path}/items.jsonl",
        )
        run_task(task)
        lineage = task.get_openlineage_facets_on_complete(None)

        [source], [output] = lineage.inputs, lineage.outputs
        assert (source.namespace, source.name) == (f"bitrix24://{portal.host}", "crm.item.list/147")
        assert (output.namespace, output.name) == ("file", f"{tmp_path}/items.jsonl")
        assert output.outputFacets["outputStatistics"].rowCount == 70

    def test_of_a_task_that_has_failed_nothing_is_said_to_be_written(self, run_task, tmp_path):
        task = Bitrix24ToObjectStorageOperator(
            task_id="write", method="no.such.list", path=f"file://{tmp_path}/items.jsonl"
        )
        with pytest.raises(AirflowFailException):
            run_task(task)
        assert task.get_openlineage_facets_on_complete(None).outputs == []

    def test_a_bucket_is_a_namespace(self, portal, run_task):
        attach("memory", fs=MemoryFileSystem())
        path = "memory://bucket/some/leads.jsonl"
        if not ObjectStoragePath(path).bucket:
            pytest.skip("paths in memory have no bucket in this version of universal-pathlib")
        task = Bitrix24ToObjectStorageOperator(task_id="write", method="crm.lead.list", path=path)
        run_task(task)
        [output] = task.get_openlineage_facets_on_complete(None).outputs

        assert (output.namespace, output.name) == ("memory://bucket", "some/leads.jsonl")
