"""What one call means for the others that are put on record together with it."""

from __future__ import annotations

import asyncio
import datetime as dt
import threading

import pytest
from sqlalchemy.exc import DataError

from airflow_provider_b24.calls import intake as intake_module
from airflow_provider_b24.calls.intake import Intake, Taken
from airflow_provider_b24.calls.new_call import NewCall
from airflow_provider_b24.calls.spool import Spool


def call(number):
    form = {"event_token": f"t{number}", "workflow_id": "1", "code": "c", "document_id": ["a", "b", "c"]}
    return NewCall("crm", "score_dag", form, dt.datetime.now(dt.UTC))


@pytest.mark.parametrize("error", [DataError("INSERT", {}, Exception()), ValueError("no such letter")])
def test_a_call_that_the_database_refuses_goes_into_the_spool_alone(tmp_path, monkeypatch, error):
    calls = [call(number) for number in [*range(9), 1]]
    bad, on_record, all_wait = calls[5].id, set(), threading.Event()

    def put_on_record(portion):
        assert all_wait.wait(30)
        ids = {one.id for one in portion}
        if bad in ids:
            raise error
        new = ids - on_record
        on_record.update(ids)
        return new

    async def take_all(intake):
        waiting = [asyncio.ensure_future(intake.take(one)) for one in calls]
        await asyncio.sleep(0)
        all_wait.set()
        return await asyncio.gather(*waiting)

    monkeypatch.setattr(intake_module, "put_on_record", put_on_record)
    intake = Intake(Spool(tmp_path), database_seconds=30)
    taken = asyncio.run(take_all(intake))
    assert taken == [Taken(number != 9, in_spool=number == 5) for number in range(10)]
    assert [path.stem for path in tmp_path.iterdir()] == [bad]
