"""The example DAGs do what they say. The one with the external worker is what the whole loop is tested with."""

import ast
import base64
import json
import time

import pytest
import requests

from airflow_provider_b24.demo import example_dags
from airflow_provider_b24.sandbox import Answer, AskPerson, CallActivity, CallRobot, SandboxPortal, SetField
from airflow_provider_b24.testing.local_airflow import LocalAirflow

SECONDS = 90


def test_every_example_is_known_to_airflow_and_nothing_else_is_needed(live_airflow: LocalAirflow) -> None:
    names = {file.stem for file in example_dags().glob("*.py")}

    assert names == {
        "example_bitrix24_answer_without_robot_dag",
        "example_bitrix24_approval",
        "example_bitrix24_external_worker",
        "example_bitrix24_list_to_object_storage",
        "example_bitrix24_make_offer",
        "example_bitrix24_score_lead",
        "example_bitrix24_waiting_calls",
    }
    assert names <= set(live_airflow.dags())
    assert live_airflow.import_errors() == {}


@pytest.mark.parametrize("file", sorted(example_dags().glob("*.py")), ids=lambda file: file.stem)
def test_an_example_begins_with_what_it_shows_and_is_short(file) -> None:
    text = file.read_text()

    assert ast.get_docstring(ast.parse(text))
    assert len(text.splitlines()) <= 60


@pytest.mark.parametrize(
    ("budget", "source", "score", "verdict"),
    [(60000, "fair", 80, "hot"), (20000, "web", 20, "cold")],
)
def test_score_lead_answers_with_what_it_computed(
    live_airflow: LocalAirflow, live_portal: SandboxPortal, call_of, budget, source, score, verdict
) -> None:
    process = live_portal.start_process(
        [
            CallRobot("example_score_lead", {"budget": budget, "source": source}, name="Scoring"),
            SetField("SCORE", Answer("Scoring", "score")),
            SetField("VERDICT", Answer("Scoring", "verdict")),
        ]
    )
    run_id = json.loads(call_of(process).answer)["run_id"]

    process.wait(SECONDS)

    assert (int(process.values["SCORE"]), process.values["VERDICT"]) == (score, verdict)
    live_airflow.wait_for_run("example_bitrix24_score_lead", run_id, timeout=SECONDS)


def test_score_lead_can_be_started_by_hand_and_answers_nobody(
    live_airflow: LocalAirflow, live_portal: SandboxPortal
) -> None:
    before = len(live_portal.answers)

    run_id = live_airflow.trigger("example_bitrix24_score_lead", {"budget": 5000})
    live_airflow.wait_for_run("example_bitrix24_score_lead", run_id, timeout=SECONDS)

    assert live_airflow.xcom("example_bitrix24_score_lead", run_id, "score") == {
        "score": 5,
        "verdict": "cold",
    }
    assert len(live_portal.answers) == before


def test_an_ordinary_dag_answers_with_token_and_values_from_another_task(
    live_airflow: LocalAirflow, live_portal: SandboxPortal
) -> None:
    robot = {
        "auth": live_portal.application.access_token,
        "CODE": "check_credit",
        # Nobody is there: in this example the call reaches Airflow on another way.
        "HANDLER": "http://127.0.0.1:9/",
        "AUTH_USER_ID": 1,
        "USE_SUBSCRIPTION": "Y",
        "NAME": "Check the credit",
        "RETURN_PROPERTIES": {
            "approved": {"Name": "Approved", "Type": "bool"},
            "limit": {"Name": "Limit", "Type": "int"},
        },
    }
    requests.post(f"{live_portal.url}/rest/bizproc.robot.add", json=robot, timeout=30).raise_for_status()
    process = live_portal.start_process([CallRobot("check_credit", name="Credit")])
    order = {"token": process.waiting_for, "amount": 1250}

    run_id = live_airflow.trigger("example_bitrix24_answer_without_robot_dag", {"order": order})
    process.wait(SECONDS)

    assert process.answers["Credit"] == {"approved": "Y", "limit": "2000"}
    assert "Checked by example_bitrix24_answer_without_robot_dag against a limit of 2000" in [
        e.message for e in process.log
    ]
    live_airflow.wait_for_run("example_bitrix24_answer_without_robot_dag", run_id, timeout=SECONDS)


def test_waiting_calls_tells_a_person_of_a_call_whose_dag_is_paused(
    live_airflow: LocalAirflow, live_portal: SandboxPortal
) -> None:
    alarm, robot = "example_bitrix24_waiting_calls", "example_bitrix24_score_lead"
    live_airflow.add_connection(
        "airflow_api",
        {"conn_type": "http", "host": live_airflow.url, "login": "alarm", "password": "everybody is admin"},
    )
    live_airflow.request("PATCH", f"dags/{robot}", {"is_paused": True})
    try:
        process = live_portal.start_process([CallRobot("example_score_lead", {"budget": 1}, name="Scoring")])
        token = requests.get(f"{live_airflow.url}/auth/token", timeout=SECONDS).json()["access_token"]

        def waits() -> bool:
            told = requests.get(
                f"{live_airflow.url}/bitrix24-pages/waiting",
                headers={"Authorization": f"Bearer {token}"},
                timeout=SECONDS,
            ).json()
            return process.id in {call["process"] for call in told["calls"]}

        until = time.monotonic() + SECONDS
        while not waits():
            assert time.monotonic() < until, "the call does not wait"
            time.sleep(0.5)
        live_airflow.request("PATCH", f"dags/{alarm}", {"is_paused": False})
        run_id = live_airflow.trigger(alarm, {"person": 1})
        live_airflow.wait_for_run(alarm, run_id, timeout=SECONDS)
    finally:
        live_airflow.request("PATCH", f"dags/{alarm}", {"is_paused": True})
        live_airflow.request("PATCH", f"dags/{robot}", {"is_paused": False})

    told = [row["MESSAGE"] for row in live_portal.records("notification").rows()]
    assert f"{robot}: the DAG is paused" in str(told)
    process.wait(SECONDS)


def test_make_offer_gives_a_file_back_to_the_workflow(
    live_airflow: LocalAirflow, live_portal: SandboxPortal
) -> None:
    process = live_portal.start_process(
        [
            CallActivity(
                "example_make_offer",
                {"customer": "Ada & Co.", "positions": ["2 pianos", "1 stool"], "valid_until": "2026-12-31"},
                name="Offer",
            )
        ],
        document_id=("crm", "CCrmDocumentDeal", "DEAL_5"),
    )

    process.wait(SECONDS)

    name, content = process.answers["Offer"]["offer"]
    assert name == "offer_DEAL_5.txt"
    assert base64.b64decode(content).decode().splitlines() == [
        "Offer for Ada & Co.",
        "- 2 pianos",
        "- 1 stool",
        "Valid until 2026-12-31",
    ]


def test_approval_waits_for_a_person_and_answers_with_the_decision(
    live_airflow: LocalAirflow, live_portal: SandboxPortal
) -> None:
    question = AskPerson(1, "A discount of 20 %?")
    template = live_portal.add_template("Approval", [question])
    process = live_portal.start_process(
        [CallRobot("example_approval", {"template": template}, name="Approval")]
    )
    live_portal.wait_until(lambda: any(task.step == question for task in live_portal.tasks), SECONDS)
    [task] = [task for task in live_portal.tasks if task.step == question]

    requests.post(
        live_portal.webhook.url + "bizproc.task.complete",
        json={"TASK_ID": task.id, "STATUS": 1, "COMMENT": "fine"},
        timeout=10,
    ).raise_for_status()
    process.wait(SECONDS)

    assert process.answers["Approval"] == {"approved": "Y", "remark": "decided by 1"}


def test_list_to_object_storage_writes_all_leads_and_reads_them_again(
    live_airflow: LocalAirflow, live_portal: SandboxPortal, tmp_path
) -> None:
    dag_id = "example_bitrix24_list_to_object_storage"
    live_portal.add_records("lead", [{"TITLE": "new", "STATUS_ID": "NEW"}] * 120)
    leads = len(live_portal.records("lead"))

    run_id = live_airflow.trigger(dag_id, {"folder": f"file://{tmp_path}/out"})
    live_airflow.wait_for_run(dag_id, run_id, timeout=SECONDS)

    [file] = (tmp_path / "out").iterdir()
    assert live_airflow.xcom(dag_id, run_id, "leads") == {"path": f"file://{file}", "rows": leads}
    counts = live_airflow.xcom(dag_id, run_id, "count_by_status")
    assert counts["NEW"] >= 120
    assert sum(counts.values()) == len(file.read_text().splitlines()) == leads
