"""Processes: they call robots, wait for one answer, and go on with it."""

from __future__ import annotations

import contextlib
import re
import threading
from typing import Any

import pytest

from airflow_provider_b24.sandbox import (
    Answer,
    AnswerStatus,
    AskPerson,
    CallActivity,
    CallRobot,
    Clock,
    Finish,
    SandboxPortal,
    SetField,
)

DENIED = (403, "ACCESS_DENIED", "Access denied!")
OVER = (400, 404, "Workflow not found")
OVER_OLDER = (400, "", "Empty root activity")
TERMINATED = (400, 499, "Workflow terminated")
LOCKED = (400, 423, "Workflow locked")


def _send(rest: Any, token: Any, values: Any = None, **more: Any) -> Any:
    return rest.webhook("bizproc.event.send", {"event_token": token, "return_values": values, **more})


def test_a_process_waits_for_its_answer_and_goes_on_with_it(
    live_portal: Any, rest: Any, register: Any
) -> None:
    register()
    process = live_portal.start_process(
        [
            CallRobot("score", {"model": "deep"}),
            SetField("SCORE", Answer("A1", "score")),
            SetField("COMMENT", "{=Document:TITLE} is {=A1:verdict}"),
        ],
        values={"TITLE": "Lead"},
    )
    assert process.status == "waiting"
    assert live_portal.processes == {process.id: process}
    answered = _send(rest, process.waiting_for, {"score": 0.9, "verdict": "hot"}, log_message="scored")
    assert answered.json()["result"] is True
    assert process.wait().status == "completed"
    assert process.values == {"TITLE": "Lead", "SCORE": 0.9, "COMMENT": "Lead is hot"}
    assert [entry.message for entry in process.log] == ["scored"]
    assert process.waiting_for is None


def test_an_answer_may_come_from_any_caller_and_in_any_format(
    live_portal: Any, rest: Any, register: Any
) -> None:
    register()
    steps = [CallRobot("score")]
    by_application, by_employee, by_form, by_batch = (live_portal.start_process(steps) for _ in range(4))
    rest.application("bizproc.event.send", {"EVENT_TOKEN": by_application.waiting_for})
    rest.employee("bizproc.event.send", {"Event_Token": by_employee.waiting_for})
    rest.http.post(
        live_portal.webhook.url + "bizproc.event.send",
        data={"event_token": by_form.waiting_for, "return_values[score]": "1"},
    )
    rest.webhook("batch", {"cmd": [f"bizproc.event.send?event_token={by_batch.waiting_for}"]})
    for process in (by_application, by_employee, by_form, by_batch):
        process.wait()
    assert by_form.answers == {"A1": {"score": "1"}}


def _log(rest: Any, token: Any, message: str) -> Any:
    return rest.webhook("bizproc.activity.log", {"event_token": token, "log_message": message})


def _messages(process: Any) -> list[str]:
    return [entry.message for entry in process.log]


def test_values_nobody_declared_are_ignored(live_portal: Any, rest: Any, register: Any) -> None:
    register()
    process = live_portal.start_process([CallRobot("score")])
    _send(rest, process.waiting_for, {"score": 1, "extra": 2})
    assert process.wait().answers == {"A1": {"score": 1}}
    (answer,) = live_portal.answers
    assert (answer.values, answer.process_id, answer.activity) == ({"score": 1}, process.id, "A1")


@pytest.mark.parametrize("values", [None, [], "text", 7])
def test_an_answer_may_be_empty(live_portal: Any, rest: Any, register: Any, values: Any) -> None:
    register()
    process = live_portal.start_process([CallRobot("score"), SetField("S", "{=A1:score}")])
    assert _send(rest, process.waiting_for, values).status_code == 200
    assert process.wait().values == {"S": None}


def test_names_of_values_are_matched_without_regard_to_case(
    live_portal: Any, rest: Any, register: Any
) -> None:
    register(RETURN_PROPERTIES={"Score": {"Name": "Score"}, "verdict": {"Name": "Verdict"}})
    process = live_portal.start_process([CallRobot("score")])
    _send(rest, process.waiting_for, {"SCORE": 1, "Verdict": "hot"})
    assert process.wait().answers == {"A1": {"Score": 1, "verdict": "hot"}}


def test_what_is_not_sent_keeps_its_default(live_portal: Any, rest: Any, register: Any) -> None:
    declared = {
        "score": {"Name": "Score", "Default": 0},
        "verdict": {"NAME": "Verdict", "DEFAULT": "unknown"},
        "why": {"Name": "Why"},
    }
    register(RETURN_PROPERTIES=declared)
    process = live_portal.start_process([CallRobot("score"), SetField("V", "{=A1:verdict}{=A1:why}")])
    _send(rest, process.waiting_for, {"score": 7})
    assert process.wait().answers == {"A1": {"score": 7, "verdict": "unknown"}}
    assert process.values == {"V": "unknown"}
    assert live_portal.answers[0].values == {"score": 7}


def test_a_second_answer_is_ignored_while_the_process_goes_on(
    live_portal: Any, rest: Any, register: Any
) -> None:
    register()
    process = live_portal.start_process([CallRobot("score"), CallRobot("score")])
    first = process.waiting_for
    for score in (1, 2, 3):
        answered = _send(rest, first, {"score": score}, log_message=f"answer {score}")
        assert (answered.status_code, answered.json()["result"]) == (200, True)
    assert process.answers == {"A1": {"score": 1}}
    assert process.waiting.activity == "A2"
    assert _messages(process) == ["answer 1"]
    (accepted,) = live_portal.answers
    assert (accepted.token, accepted.values) == (first, {"score": 1})
    assert (accepted.count, accepted.ignored, accepted.refused, process.ignored) == (1, 2, 0, 2)
    assert first not in repr(live_portal.answers)


def test_an_answer_to_an_earlier_step_is_ignored_while_a_person_is_asked(
    live_portal: Any, rest: Any, register: Any
) -> None:
    register()
    process = live_portal.start_process([CallRobot("score"), AskPerson(1)])
    first = process.waiting_for
    for _ in range(2):
        assert _send(rest, first).json()["result"] is True
    assert (process.status, process.ignored) == ("waiting", 1)


@contextlib.contextmanager
def _portal_by(rules: str, make_rest: Any, robot_handler: Any) -> Any:
    """A portal that answers by these rules, and its process that waits at the first of two steps."""
    with SandboxPortal(answers=rules) as portal:
        rest = make_rest(portal)
        robot = {"CODE": "r", "NAME": "R", "USE_SUBSCRIPTION": "Y", "HANDLER": robot_handler.url}
        assert rest.application("bizproc.robot.add", robot).json()["result"] is True
        yield portal, rest, portal.start_process([CallRobot("r", timeout_duration=60), CallRobot("r")])


@pytest.mark.parametrize("method", [_send, _log])
@pytest.mark.parametrize("batch", [False, True])
@pytest.mark.parametrize(
    ("rules", "end", "refusal"),
    [
        ("portal", "completed", OVER),
        ("portal", "terminated", TERMINATED),
        ("portal", "killed", OVER),
        ("older-portal", "completed", OVER_OLDER),
        ("older-portal", "terminated", OVER_OLDER),
        ("older-portal", "killed", OVER_OLDER),
        ("documentation", "completed", DENIED),
        ("documentation", "terminated", DENIED),
        ("documentation", "killed", DENIED),
    ],
)
def test_nothing_is_taken_for_a_process_that_is_over(
    make_rest: Any,
    robot_handler: Any,
    error_of: Any,
    rules: str,
    end: str,
    refusal: Any,
    method: Any,
    batch: bool,
) -> None:
    with _portal_by(rules, make_rest, robot_handler) as (portal, rest, process):
        first = process.waiting_for
        _send(rest, first)
        if end == "completed":
            _send(rest, process.waiting_for)
        else:
            verb = {"terminated": "terminate", "killed": "kill"}[end]
            rest.result(f"bizproc.workflow.{verb}", {"ID": process.id})
        before = _messages(process.wait())

        if batch:
            name = "bizproc.event.send" if method is _send else "bizproc.activity.log"
            cmd = {"a": f"{name}?event_token={first}&log_message=late", "b": "profile"}
            result = rest.result("batch", {"cmd": cmd})
            error = result["result_error"]["a"]
            assert (error["error"], error["error_description"]) == refusal[1:]
            assert list(result["result"]) == ["b"]
        else:
            assert error_of(method(rest, first, "late")) == refusal
        assert _messages(process) == before
        accepted = portal.answers[0]
        assert (accepted.count, accepted.ignored) == (1, 0)
        assert accepted.refused == (1 if method is _send else 0)


@pytest.mark.parametrize(("rules", "ignored"), [("portal", 1), ("older-portal", 1), ("documentation", 0)])
@pytest.mark.parametrize("method", [_send, _log])
def test_a_token_of_an_earlier_step_is_ignored_or_by_the_documentation_denied(
    make_rest: Any, robot_handler: Any, error_of: Any, rules: str, ignored: int, method: Any
) -> None:
    with _portal_by(rules, make_rest, robot_handler) as (portal, rest, process):
        token = process.waiting_for
        portal.clock.advance(60)
        assert (process.status, process.waiting.activity) == ("waiting", "A2")
        late = method(rest, token, "late")
        if ignored:
            assert (late.status_code, late.json()["result"]) == (200, True)
        else:
            assert error_of(late) == DENIED
        assert (process.status, process.waiting.activity) == ("waiting", "A2")
        assert _messages(process) == ["No answer in time"]
        assert process.ignored == (ignored if method is _send else 0)
        assert portal.answers == []


def test_a_portal_answers_by_rules_that_there_are() -> None:
    with pytest.raises(ValueError, match="'guess': choose one of portal, older-portal, documentation"):
        SandboxPortal(answers="guess")  # type: ignore[arg-type]


@pytest.mark.parametrize("rules", ["portal", "older-portal", "documentation"])
def test_a_locked_process_takes_nothing_until_it_is_unlocked(
    make_rest: Any, robot_handler: Any, error_of: Any, rules: str
) -> None:
    with _portal_by(rules, make_rest, robot_handler) as (portal, rest, process):
        token = process.waiting_for
        portal.lock_process(process)
        portal.clock.advance(30)
        assert error_of(_send(rest, token, log_message="now")) == LOCKED
        assert error_of(_log(rest, token, "now")) == LOCKED
        assert (portal.answers, _messages(process), process.ignored) == ([], [], 0)
        portal.unlock_process(process)
        assert _send(rest, token, log_message="then").status_code == 200
        assert _messages(process) == ["then"]
        portal.lock_process(process)
        assert error_of(_send(rest, token)) == LOCKED
        assert [(a.count, a.refused, a.ignored) for a in portal.answers] == [(1, 0, 0)]


def test_a_lock_ends_by_the_portals_clock_and_concerns_one_process(
    make_rest: Any, robot_handler: Any, error_of: Any
) -> None:
    with SandboxPortal(clock=Clock(frozen=True)) as portal:
        rest = make_rest(portal)
        robot = {"CODE": "r", "NAME": "R", "USE_SUBSCRIPTION": "Y", "HANDLER": robot_handler.url}
        rest.application("bizproc.robot.add", robot)
        one, other = (portal.start_process([CallRobot("r")]) for _ in range(2))
        portal.lock_process(one, 5)
        assert _send(rest, other.waiting_for).status_code == 200
        portal.clock.advance(4)
        assert error_of(_send(rest, one.waiting_for)) == LOCKED
        portal.clock.advance(1)
        assert _send(rest, one.waiting_for).status_code == 200


@pytest.mark.parametrize("seconds", [0, -1])
def test_a_lock_that_never_was_is_an_error(live_portal: Any, seconds: float) -> None:
    with pytest.raises(ValueError, match="locked for some time"):
        live_portal.lock_process(live_portal.start_process([Finish()]), seconds)


def test_a_locked_process_that_ends_is_over(
    live_portal: Any, rest: Any, register: Any, error_of: Any
) -> None:
    register()
    process = live_portal.start_process([CallRobot("score")])
    token = process.waiting_for
    live_portal.lock_process(process)
    rest.result("bizproc.workflow.kill", {"ID": process.id})
    assert error_of(_send(rest, token)) == OVER


def test_answers_can_meet_an_error_of_their_own_for_a_while(
    live_portal: Any, rest: Any, register: Any, error_of: Any
) -> None:
    register()
    process = live_portal.start_process([CallRobot("score")])
    fault = AnswerStatus(400, 402, "Not in your tariff")
    live_portal.faults.add(fault, method="bizproc.event.send", times=None)
    cmd = {"a": f"bizproc.event.send?event_token={process.waiting_for}", "b": "profile"}
    for _ in range(2):
        assert error_of(_send(rest, process.waiting_for)) == (400, 402, "Not in your tariff")
        result = rest.result("batch", {"cmd": cmd})
        assert result["result_error"] == {"a": {"error": 402, "error_description": "Not in your tariff"}}
        assert list(result["result"]) == ["b"]
    assert live_portal.answers == []
    live_portal.faults.clear()
    assert rest.result("batch", {"cmd": cmd})["result"]["a"] is True


def test_a_test_can_wait_for_whatever_it_wants(live_portal: Any, rest: Any, register: Any) -> None:
    register()
    processes = [live_portal.start_process([CallRobot("score")]) for _ in range(3)]
    threads = [threading.Thread(target=_send, args=(rest, process.waiting_for)) for process in processes]
    for thread in threads:
        thread.start()
    live_portal.wait_until(lambda: len(live_portal.answers) == 3)
    for thread in threads:
        thread.join()
    with pytest.raises(TimeoutError, match="did not happen"):
        live_portal.wait_until(lambda: len(live_portal.answers) == 4, timeout=0.01)


def test_only_one_of_many_answers_at_the_same_time_is_accepted(
    make_rest: Any, live_portal: Any, register: Any
) -> None:
    register()
    process = live_portal.start_process([CallRobot("score")])
    token, statuses = process.waiting_for, []
    callers = [make_rest(live_portal) for _ in range(8)]
    threads = [
        threading.Thread(target=lambda rest=rest: statuses.append(_send(rest, token).status_code))
        for rest in callers
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(statuses) == [200] + [400] * 7
    assert [(a.count, a.refused) for a in live_portal.answers] == [(1, 7)]


@pytest.mark.parametrize("token", [None, "", "x", "a|b|c.d", 7, ["x"]])
def test_what_is_no_token_is_denied(rest: Any, error_of: Any, token: Any) -> None:
    assert error_of(_send(rest, token)) == DENIED


def test_a_token_cannot_be_altered_or_used_elsewhere(
    live_portal: Any, rest: Any, register: Any, error_of: Any
) -> None:
    register()
    one, other = (live_portal.start_process([CallRobot("score")]) for _ in range(2))
    forged = one.waiting_for.replace(one.id, other.id)
    assert error_of(_send(rest, forged)) == DENIED
    with SandboxPortal() as elsewhere:
        refused = rest.http.post(
            elsewhere.webhook.url + "bizproc.event.send", json={"event_token": one.waiting_for}
        )
        assert error_of(refused) == DENIED
    assert (one.status, other.status) == ("waiting", "waiting")


def test_a_robot_without_subscription_is_not_waited_for(
    live_portal: Any, rest: Any, register: Any, error_of: Any
) -> None:
    register(USE_SUBSCRIPTION="N")
    process = live_portal.start_process([CallRobot("score")])
    assert process.status == "completed"
    call = live_portal.wait_for_call()
    assert call.fields["use_subscription"] == "N"
    assert error_of(_send(rest, call.fields["event_token"])) == OVER


def test_the_answer_of_a_robot_without_subscription_is_ignored_while_the_process_goes_on(
    live_portal: Any, rest: Any, register: Any
) -> None:
    register(USE_SUBSCRIPTION="N")
    process = live_portal.start_process([CallRobot("score"), AskPerson(1)])
    call = live_portal.wait_for_call()
    assert _send(rest, call.fields["event_token"], {"score": 1}).json()["result"] is True
    assert (live_portal.answers, process.answers, process.ignored) == ([], {}, 1)


@pytest.mark.parametrize(
    ("registered", "chosen", "waits"),
    [
        ("", {"use_subscription": "Y"}, True),
        ("", {"use_subscription": "N"}, False),
        ("", {"use_subscription": ""}, False),
        ("", {}, False),
        (None, {}, False),
        ("Y", {"use_subscription": "N"}, True),
        ("Y", {}, True),
        ("N", {"use_subscription": "Y"}, False),
    ],
)
def test_the_registration_decides_whether_to_wait_and_else_the_step(
    live_portal: Any, register: Any, registered: str | None, chosen: dict[str, str], waits: bool
) -> None:
    register(USE_SUBSCRIPTION=registered)
    process = live_portal.start_process([CallRobot("score", **chosen)])
    assert (process.status == "waiting") is waits
    assert live_portal.wait_for_call().fields["use_subscription"] == ("Y" if waits else "N")


def test_patience_ends_by_the_portals_clock(
    live_portal: Any, rest: Any, register: Any, error_of: Any
) -> None:
    register(RETURN_PROPERTIES={"score": {"Name": "Score"}, "verdict": {"Name": "V", "Default": "unknown"}})
    process = live_portal.start_process(
        [
            CallRobot("score", timeout_duration=600),
            SetField("S", "{=A1:score}"),
            SetField("LATE", "{=A1:IsTimeout}"),
        ]
    )
    token = process.waiting_for
    live_portal.clock.advance(590)
    assert process.status == "waiting"
    live_portal.clock.advance(10)
    assert process.status == "completed"
    assert process.answers == {"A1": {"verdict": "unknown", "IsTimeout": 1}}
    assert process.values == {"S": None, "LATE": 1}
    assert error_of(_send(rest, token, {"score": 1})) == OVER
    assert live_portal.answers == []
    assert [entry.message for entry in process.log] == ["No answer in time"]


def test_patience_ends_by_itself_in_real_time(live_portal: Any, register: Any) -> None:
    register()
    process = live_portal.start_process([CallRobot("score", timeout_duration=60)])
    live_portal.clock.advance(59.9)
    assert process.wait(5).status == "completed"


def test_nothing_ends_while_the_clock_stands_still(make_rest: Any, robot_handler: Any) -> None:
    with SandboxPortal(clock=Clock(frozen=True)) as portal:
        rest = make_rest(portal)
        robot = {"CODE": "r", "NAME": "R", "USE_SUBSCRIPTION": "Y", "HANDLER": robot_handler.url}
        rest.application("bizproc.robot.add", robot)
        process = portal.start_process([CallRobot("r", timeout_duration=1)])
        with pytest.raises(TimeoutError, match="still waiting"):
            process.wait(0.01)
        portal.clock.advance(1)
        assert process.status == "completed"


def test_an_answer_in_time_disarms_the_timeout(live_portal: Any, rest: Any, register: Any) -> None:
    register()
    process = live_portal.start_process(
        [
            CallRobot("score", timeout_duration=60),
            SetField("LATE", "{=A1:IsTimeout} {=A2:IsTimeout}"),
            CallRobot("score", name="A2"),
        ]
    )
    _send(rest, process.waiting_for, {"score": 1})
    assert process.answers == {"A1": {"score": 1}}
    assert process.values == {"LATE": "0 "}
    live_portal.clock.advance(3600)
    assert process.status == "waiting"
    assert process.waiting.activity == "A2"


def test_the_log_is_written_while_the_process_waits(
    live_portal: Any, rest: Any, register: Any, error_of: Any
) -> None:
    register()
    process = live_portal.start_process([CallRobot("score")])
    token = process.waiting_for
    for message in ("half done", "almost"):
        sent = {"event_token": token, "log_message": message}
        assert rest.webhook("bizproc.activity.log", sent).json()["result"] is True
    assert error_of(rest.webhook("bizproc.activity.log", {"event_token": token})) == (
        400,
        "ERROR_EMPTY_LOG_MESSAGE",
        "Empty log message!",
    )
    _send(rest, token)
    assert [entry.message for entry in process.log] == ["half done", "almost", ""]
    late = rest.webhook("bizproc.activity.log", {"event_token": token, "log_message": "late"})
    assert error_of(late) == OVER


def test_a_name_of_a_step_is_found_in_its_token_and_its_answer(
    live_portal: Any, rest: Any, register: Any
) -> None:
    register()
    process = live_portal.start_process(
        [CallRobot("score", name="Scoring"), SetField("S", "{=Scoring:score}")]
    )
    assert process.waiting_for.startswith(f"{process.id}|Scoring|")
    _send(rest, process.waiting_for, {"score": 3})
    assert process.wait().values["S"] == 3


def test_an_activity_is_called_like_a_robot(live_portal: Any, rest: Any, register: Any) -> None:
    register("activity")
    assert live_portal.start_process([CallRobot("score")]).status == "completed"
    process = live_portal.start_process([CallActivity("score")])
    _send(rest, process.waiting_for, {"score": 1})
    assert process.wait().answers == {"A1": {"score": 1}}


def test_a_robot_that_is_gone_is_passed_over(live_portal: Any) -> None:
    process = live_portal.start_process([CallRobot("gone"), SetField("S", "after")])
    assert (process.status, process.values) == ("completed", {"S": "after"})
    [entry] = process.log
    assert entry.message.startswith("The robot gone is not registered")


def test_finish_ends_a_process_early(live_portal: Any) -> None:
    process = live_portal.start_process([SetField("A", 1), Finish(), SetField("B", 2)])
    assert (process.status, process.values) == ("completed", {"A": 1})


@pytest.mark.parametrize(
    ("document_id", "kind"),
    [
        (("crm", "CCrmDocumentLead", "LEAD_77"), "LEAD"),
        (("crm", "Bitrix\\Crm\\Integration\\BizProc\\Document\\Dynamic", "DYNAMIC_147_1"), "DYNAMIC_147"),
        (
            ("crm", "Bitrix\\Crm\\Integration\\BizProc\\Document\\SmartInvoice", "SMART_INVOICE_3"),
            "SMART_INVOICE",
        ),
        (("disk", "Bitrix\\Disk\\BizProcDocument", "777"), "STORAGE_1"),
    ],
)
def test_a_document_has_the_type_of_its_id(live_portal: Any, document_id: Any, kind: str) -> None:
    process = live_portal.start_process([Finish()], document_id)
    assert process.document_type == (*document_id[:2], kind)


def test_a_process_id_looks_like_a_number_and_is_none(live_portal: Any) -> None:
    ids = [live_portal.start_process([Finish()]).id for _ in range(200)]
    assert len(set(ids)) == 200
    assert all(re.fullmatch(r"[0-9a-f]{14}\.\d{8}", number) for number in ids)


def test_templates_are_started_by_rest(live_portal: Any, rest: Any, register: Any) -> None:
    register()
    template = live_portal.add_template(
        "Scoring", [CallRobot("score", {"model": "{=Template:model}"}), SetField("S", "{=A1:score}")]
    )
    number = rest.result(
        "bizproc.workflow.start",
        {
            "TEMPLATE_ID": template,
            "DOCUMENT_ID": ["crm", "CCrmDocumentLead", "LEAD_5"],
            "PARAMETERS": {"model": "deep"},
        },
    )
    process = live_portal.processes[number]
    assert process.document_id == ("crm", "CCrmDocumentLead", "LEAD_5")
    assert live_portal.wait_for_call().fields["properties"] == {"model": "deep"}
    assert rest.result("bizproc.workflow.template.list", {"SELECT": ["ID", "NAME"]}) == [
        {"ID": str(template), "NAME": "Scoring"}
    ]
    assert rest.result("bizproc.workflow.template.list") == [{"ID": str(template)}]


@pytest.mark.parametrize(
    ("changes", "code", "description"),
    [
        ({"TEMPLATE_ID": None}, "ERROR_WRONG_WORKFLOW_ID", "Empty TEMPLATE_ID"),
        ({"TEMPLATE_ID": 99}, "ERROR_WRONG_WORKFLOW_ID", "Template not found"),
        ({"DOCUMENT_ID": ["crm", "CCrmDocumentLead"]}, "", "Wrong DOCUMENT_ID!"),
        ({"DOCUMENT_ID": None}, "", "Wrong DOCUMENT_ID!"),
        ({"DOCUMENT_ID": ["zoo", "Animal", "CAT_1"]}, "", "Incorrect document type!"),
        (
            {"DOCUMENT_ID": ["crm", "CCrmDocumentDeal", "DEAL_1"]},
            "",
            "Template type and DOCUMENT_ID mismatch!",
        ),
    ],
)
def test_a_wrong_start_is_refused(
    live_portal: Any, rest: Any, error_of: Any, changes: dict[str, Any], code: str, description: str
) -> None:
    template = live_portal.add_template("T", [Finish()])
    good = {"TEMPLATE_ID": template, "DOCUMENT_ID": ["crm", "CCrmDocumentLead", "LEAD_5"]}
    assert error_of(rest.webhook("bizproc.workflow.start", {**good, **changes})) == (400, code, description)
    assert live_portal.processes == {}


def test_running_processes_are_listed(live_portal: Any, rest: Any, register: Any) -> None:
    register()
    done = live_portal.start_process([Finish()])
    one = live_portal.start_process([CallRobot("score")])
    two = live_portal.start_process([CallRobot("score")], ("crm", "CCrmDocumentDeal", "DEAL_1"))
    reply = rest.webhook("bizproc.workflow.instances").json()
    assert {row["ID"] for row in reply["result"]} == {one.id, two.id}
    assert reply["total"] == 2
    assert set(reply["result"][0]) == {"ID", "MODIFIED", "OWNED_UNTIL"}
    wanted = {"SELECT": ["ID", "DOCUMENT_ID"], "FILTER": {"entity": "CCrmDocumentDeal"}}
    assert rest.result("bizproc.workflow.instance.list", wanted) == [{"ID": two.id, "DOCUMENT_ID": "DEAL_1"}]
    assert rest.result("bizproc.workflow.instances", {"FILTER": {"ID": done.id}}) == []


@pytest.mark.parametrize(
    ("verb", "kept", "refusal"), [("terminate", True, TERMINATED), ("kill", False, OVER)]
)
def test_a_process_can_be_stopped(
    live_portal: Any, rest: Any, register: Any, error_of: Any, verb: str, kept: bool, refusal: Any
) -> None:
    register()
    process = live_portal.start_process([CallRobot("score"), SetField("S", 1)])
    token = process.waiting_for
    assert rest.result(f"bizproc.workflow.{verb}", {"ID": process.id, "STATUS": "No longer needed"}) is True
    assert process.wait().status == "terminated"
    assert error_of(_send(rest, token)) == refusal
    assert process.values == {}
    assert (process.id in live_portal.processes) is kept
    assert (process.state == "No longer needed") is kept


def test_stopping_needs_an_id_of_a_running_process(live_portal: Any, rest: Any, error_of: Any) -> None:
    done = live_portal.start_process([Finish()])
    for verb in ("terminate", "kill"):
        assert error_of(rest.webhook(f"bizproc.workflow.{verb}")) == (
            400,
            "ERROR_WRONG_WORKFLOW_ID",
            "Empty workflow instance ID",
        )
    assert rest.webhook("bizproc.workflow.terminate", {"ID": done.id}).status_code == 400
    assert done.status == "completed"


@pytest.mark.parametrize("method", ["start", "instances", "terminate", "kill", "template.list"])
def test_only_an_administrator_governs_processes(rest: Any, error_of: Any, method: str) -> None:
    assert error_of(rest.employee(f"bizproc.workflow.{method}"))[1:] == ("ACCESS_DENIED", "Access denied!")
