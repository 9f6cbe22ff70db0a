"""Whether DAG files have changed."""

import pytest

from airflow_provider_b24.dev.dag_files import AGAIN_SECONDS, DagFilesWatch


@pytest.fixture
def now():
    return [0.0]


@pytest.fixture
def watch(tmp_path, now):
    (tmp_path / "old.py").write_text("old")
    return DagFilesWatch(str(tmp_path), clock=lambda: now[0])


@pytest.mark.parametrize(
    "change",
    [
        lambda folder: (folder / "new.py").write_text("new"),
        lambda folder: (folder / "old.py").write_text("changed"),
        lambda folder: (folder / "old.py").unlink(),
    ],
    ids=["added", "changed", "removed"],
)
def test_a_change_is_told_again_until_somebody_is_done_with_it(tmp_path, watch, now, change):
    assert not watch.have_changed()
    change(tmp_path)
    assert watch.have_changed()
    assert not watch.have_changed()
    now[0] += AGAIN_SECONDS
    assert watch.have_changed()
    watch.done()
    now[0] += AGAIN_SECONDS
    assert not watch.have_changed()


def test_another_change_is_told_at_once(tmp_path, watch):
    (tmp_path / "new.py").write_text("new")
    assert watch.have_changed()
    (tmp_path / "new.py").write_text("newer")
    assert watch.have_changed()


def test_a_change_while_somebody_works_on_an_earlier_one_is_told(tmp_path, watch):
    (tmp_path / "new.py").write_text("new")
    assert watch.have_changed()
    (tmp_path / "new.py").write_text("newer")
    watch.done()
    assert watch.have_changed()
