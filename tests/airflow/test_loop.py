"""A process calls, a DAG works, the process goes on: through a real scheduler, triggerer, worker and API server."""

import json

import pytest

from airflow_provider_b24.demo.appraiser import Appraiser
from airflow_provider_b24.sandbox import Answer, CallRobot, Process, SandboxPortal, SetField
from airflow_provider_b24.testing.local_airflow import LocalAirflow

SECONDS = 90


def answers_to(portal: SandboxPortal, process: Process) -> list:
    return [answer for answer in portal.answers if answer.process_id == process.id]


@pytest.fixture(scope="module")
def appraised(live_airflow: LocalAirflow, live_portal: SandboxPortal, appraiser: Appraiser, call_of) -> dict:
    """A process whose robot handed its work to an external worker, from the call to the end."""
    process = live_portal.start_process(
        [
            CallRobot("example_appraise", {"item": "grand piano"}, timeout_duration=600, name="Appraisal"),
            SetField("PRICE", Answer("Appraisal", "price")),
            SetField("REMARK", Answer("Appraisal", "remark")),
        ]
    )
    token = process.waiting_for
    run_id = json.loads(call_of(process).answer)["run_id"]
    order = appraiser.next_order(timeout=SECONDS)
    live_airflow.wait_for_task(
        "example_bitrix24_external_worker", run_id, "appraisal", ["deferred"], timeout=SECONDS
    )
    assert not process.finished
    first, second = appraiser.deliver(order), appraiser.deliver(order)
    process.wait(SECONDS)
    live_airflow.wait_for_run("example_bitrix24_external_worker", run_id, timeout=SECONDS)
    return {
        "process": process,
        "run_id": run_id,
        "order": order,
        "token": token,
        "deliveries": [first.status, second.status],
    }


def test_the_process_goes_on_with_what_the_external_worker_delivered(appraised: dict) -> None:
    process = appraised["process"]

    assert process.status == "completed"
    assert float(process.values["PRICE"]) == 1110
    assert process.values["REMARK"] == "grand piano: well kept"


def test_the_process_is_answered_once_and_the_worker_heard_once(
    appraised: dict, live_portal: SandboxPortal
) -> None:
    (answer,) = answers_to(live_portal, appraised["process"])

    assert (answer.count, answer.refused) == (1, 0)
    assert appraised["deliveries"] == [202, 409]


def test_the_same_call_again_starts_no_second_run(
    appraised: dict, live_airflow: LocalAirflow, live_portal: SandboxPortal
) -> None:
    (call,) = [call for call in live_portal.calls if call.fields["event_token"] == appraised["token"]]

    again = live_portal.repost(call).wait(30)

    assert again.status == 200
    assert json.loads(again.answer)["run_id"] == appraised["run_id"]
    runs = [run["dag_run_id"] for run in live_airflow.dag_runs("example_bitrix24_external_worker")]
    assert runs.count(appraised["run_id"]) == 1


def test_a_robot_whose_dag_fails_is_answered_once_with_its_on_failure_values(
    live_airflow: LocalAirflow, live_portal: SandboxPortal, call_of
) -> None:
    process = live_portal.start_process(
        [
            CallRobot("fail", {"reason": "holiday"}, name="Failing"),
            SetField("VERDICT", Answer("Failing", "verdict")),
        ]
    )
    run_id = json.loads(call_of(process).answer)["run_id"]

    live_airflow.wait_for_run("failing_robot", run_id, states=["failed"], timeout=SECONDS)
    process.wait(SECONDS)

    assert process.status == "completed"
    assert process.values["VERDICT"] == "not scored"
    (answer,) = answers_to(live_portal, process)
    assert answer.values == {"verdict": "not scored"}
    assert (answer.count, answer.refused) == (1, 0)
    assert answer.log_message
    states = {
        name: task["state"] for name, task in live_airflow.task_instances("failing_robot", run_id).items()
    }
    assert states == {"work": "failed", "reply": "upstream_failed"}


def test_no_secret_is_in_any_log(
    appraised: dict, live_airflow: LocalAirflow, live_portal: SandboxPortal
) -> None:
    application = live_portal.application
    reference = appraised["order"].deliver_to.rpartition("/")[2]
    secrets = {
        "event token": appraised["token"].rpartition(".")[2],
        "result reference": reference,
        "application token": application.application_token,
        "client secret": application.client_secret,
        "access token": application.access_token,
        "refresh token": application.refresh_token,
    }
    files = [live_airflow.output, *(file for file in live_airflow.logs.rglob("*") if file.is_file())]
    texts = {str(file.relative_to(live_airflow.home)): file.read_text(errors="replace") for file in files}

    found = [
        f"{name} in {file}" for file, text in texts.items() for name, it in secrets.items() if it in text
    ]

    assert found == []
    assert any("The portal has taken the answer" in text for text in texts.values())
