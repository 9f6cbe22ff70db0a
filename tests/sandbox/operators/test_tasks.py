"""What people are asked, done and handed on; and workflows that are deleted."""

import pytest
from airflow.providers.common.compat.sdk import AirflowFailException

from airflow_provider_b24.operators.bizproc import BizprocWorkflowKillOperator
from airflow_provider_b24.operators.tasks import BizprocTaskCompleteOperator, BizprocTaskDelegateOperator
from airflow_provider_b24.sandbox import AskPerson, DropConnection, Finish

pytestmark = pytest.mark.usefixtures("webhook_connection")
COMPLETE, DELEGATE = "bizproc.task.complete", "bizproc.task.delegate"


@pytest.fixture
def asked(portal):
    """A process that asks the connection's user."""
    return portal.start_process([AskPerson(1, "Approve?"), Finish()])


@pytest.fixture
def complete(run_task):
    def complete(**fields):
        fields = {"task_id": "do", "task_id_in_process": 1, "status": "yes"} | fields
        return run_task(BizprocTaskCompleteOperator(**fields), conf={"task": "1"})

    return complete


@pytest.fixture
def delegate(run_task):
    def delegate(**fields):
        fields = {"task_id": "pass", "task_ids_in_process": [1], "from_user_id": 1, "to_user_id": 2} | fields
        return run_task(BizprocTaskDelegateOperator(**fields), conf={"tasks": [1]})

    return delegate


@pytest.mark.parametrize("number", [1, "{{ dag_run.conf.task }}"])
@pytest.mark.parametrize(("status", "code"), [("yes", 1), ("No", 2)])
def test_a_task_is_done(portal, asked, complete, number, status, code):
    complete(task_id_in_process=number, status=status, comment="by Airflow")

    assert asked.wait().status == "completed"
    assert [task.status for task in portal.task_list.all()] == [code]
    assert portal.requests[-1].parameters["COMMENT"] == "by Airflow"


def test_a_task_whose_completion_lost_its_response_is_done(portal, asked, complete):
    portal.faults.add(DropConnection(after_work=True), method=COMPLETE)
    complete()

    assert asked.wait().status == "completed"


def test_a_try_after_one_that_has_done_the_task_succeeds(asked, complete):
    complete()
    complete()


def test_a_task_that_was_done_otherwise_fails(asked, complete):
    complete(status="no")
    with pytest.raises(AirflowFailException, match="already completed"):
        complete(status="yes")


@pytest.mark.parametrize("fields", [{"status": "maybe"}, {"task_id_in_process": "x"}, {"fields": "[1]"}])
def test_what_makes_no_sense_is_not_sent(portal, asked, complete, fields):
    before = len(portal.requests)
    with pytest.raises(AirflowFailException, match="Nothing was sent"):
        complete(**fields)
    assert len(portal.requests) == before


def test_a_task_of_somebody_else_is_not_done(asked, complete):
    with pytest.raises(AirflowFailException, match="not found"):
        complete(task_id_in_process=7)


@pytest.mark.parametrize("numbers", [[1], ["1"], "{{ dag_run.conf.tasks }}"])
@pytest.mark.parametrize("lost", [False, True])
def test_tasks_are_handed_over_once(portal, asked, delegate, numbers, lost):
    colleague = portal.add_user(name="Grace").id
    if lost:
        portal.faults.add(DropConnection(after_work=True), method=DELEGATE)
    delegate(task_ids_in_process=numbers, to_user_id=f"user_{colleague}")
    delegate(task_ids_in_process=numbers, to_user_id=colleague)

    assert [task.user_id for task in portal.task_list.all()] == [colleague]


def test_tasks_that_somebody_else_has_are_not_handed_over(portal, asked, delegate):
    one, other = portal.add_user(name="Grace").id, portal.add_user(name="Ada").id
    delegate(to_user_id=one)
    with pytest.raises(AirflowFailException, match="not responsible"):
        delegate(to_user_id=other)


@pytest.mark.parametrize(
    "fields", [{"to_user_id": "Grace"}, {"from_user_id": 0}, {"task_ids_in_process": [None]}]
)
def test_who_or_what_is_meant_must_be_clear(portal, delegate, fields):
    with pytest.raises(AirflowFailException, match="Nothing was sent"):
        delegate(**fields)
    assert portal.requests == []


def test_no_tasks_are_nothing_to_do(portal, delegate):
    delegate(task_ids_in_process=[])
    assert portal.requests == []


@pytest.mark.parametrize("lost", [False, True])
def test_a_workflow_is_deleted_and_may_be_deleted_again(portal, asked, run_task, lost):
    if lost:
        portal.faults.add(DropConnection(after_work=True), method="bizproc.workflow.kill")
    for _ in range(2):
        run_task(BizprocWorkflowKillOperator(task_id="kill", workflow_id=asked.id))

    assert asked.id not in portal.engine.processes
