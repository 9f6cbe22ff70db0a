"""XComs of tasks: what Airflow 3.0 leaves of a mapped task is deleted all the same."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest
from airflow.sdk.execution_time import task_runner

from airflow_provider_b24._airflow import xcoms
from airflow_provider_b24._airflow.earlier_tries import TryMark
from airflow_provider_b24._airflow.xcoms import delete_of_earlier_tries


def running(**fields: Any) -> Any:
    place = {"dag_id": "dag", "run_id": "run", "task_id": "hand_out", "map_index": 2}
    return SimpleNamespace(**place | {"try_number": 2} | fields)


@pytest.fixture
def deleted(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Give what the API server is asked to delete."""
    asked: list[Any] = []

    def send(msg: Any) -> None:
        asked.append((msg.type, msg.key, msg.dag_id, msg.run_id, msg.task_id, msg.map_index))

    monkeypatch.setattr(task_runner, "SUPERVISOR_COMMS", SimpleNamespace(send=send), raising=False)
    monkeypatch.setattr(xcoms, "_begun", set())
    return asked


@pytest.fixture
def _in_3_0(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(xcoms, "airflow_version", lambda: (3, 0))


@pytest.mark.usefixtures("_in_3_0")
def test_a_mapped_task_that_is_tried_again_deletes_what_the_try_before_left(deleted: list[Any]) -> None:
    delete_of_earlier_tries("key", running())
    assert deleted == [("DeleteXCom", "key", "dag", "run", "hand_out", 2)]


@pytest.mark.usefixtures("_in_3_0")
def test_it_deletes_nothing_that_came_in_its_own_time(deleted: list[Any]) -> None:
    for _ in range(2):
        delete_of_earlier_tries("key", running())
    delete_of_earlier_tries("key", running(task_id="other", try_number=1))
    assert len(deleted) == 1
    delete_of_earlier_tries("key", running(try_number=3))
    assert len(deleted) == 2


@pytest.mark.usefixtures("_in_3_0")
def test_a_mapped_task_takes_back_its_own_mark(deleted: list[Any]) -> None:
    TryMark("mark", cast("Any", {"ti": running(try_number=1)})).take_back()
    assert deleted == [("DeleteXCom", "mark", "dag", "run", "hand_out", 2)]


@pytest.mark.parametrize(("version", "map_index"), [((3, 0), -1), ((3, 0), None), ((3, 1), 2)])
def test_what_airflow_deletes_itself_is_left_to_it(
    deleted: list[Any], monkeypatch: pytest.MonkeyPatch, version: tuple[int, int], map_index: int | None
) -> None:
    monkeypatch.setattr(xcoms, "airflow_version", lambda: version)
    delete_of_earlier_tries("key", running(map_index=map_index))
    assert deleted == []
