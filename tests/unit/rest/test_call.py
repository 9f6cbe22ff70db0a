"""What is asked and what comes back."""

import pytest

from airflow_provider_b24.rest import Call, Reply, ReplyTime
from airflow_provider_b24.rest.conversation import converse
from airflow_provider_b24.rest.encoding import UnsendableValueError


def test_a_call_hides_its_parameters():
    assert "token" not in repr(Call("bizproc.event.send", {"EVENT_TOKEN": "token"}))


@pytest.mark.parametrize(
    "method", ["", "crm deal", "crm/../x", "crm.deal.", ".crm", "a?b=1", "crm.deal\n", None, 7]
)
def test_what_is_no_method_name_is_refused(method):
    with pytest.raises(ValueError, match="no REST method name"):
        Call(method)


def test_parameters_must_have_names():
    with pytest.raises(ValueError, match="mapping"):
        Call("profile", [1])


def test_a_reply_reads_paging_and_time():
    reply = Reply.from_json(
        {
            "result": [],
            "total": "120",
            "next": 50,
            "time": {
                "start": 1.5,
                "finish": 2,
                "duration": 0.5,
                "processing": 0.1,
                "date_start": "d",
                "operating": 3,
            },
        }
    )

    assert (reply.total, reply.next) == (120, 50)
    assert reply.time == ReplyTime(1.5, 2.0, 0.5, 0.1, "d", "", 3.0, None)


@pytest.mark.parametrize("time", [None, [], "soon", {"start": "soon"}, {}, {"start": 10**400}])
def test_a_time_that_makes_no_sense_is_none(time):
    assert Reply.from_json({"result": 1, "time": time}).time is None


@pytest.mark.parametrize("value", [None, True, "many", [1]])
def test_a_total_that_is_no_number_is_none(value):
    assert Reply.from_json({"result": 1, "total": value}).total is None


class TestRest3:
    @pytest.mark.parametrize("api", ["v1", "v4", "", None, 3])
    def test_there_are_two_versions(self, api):
        with pytest.raises(UnsendableValueError, match="'v2' or 'v3'"):
            Call("profile", api=api)

    def test_a_key_does_not_show_in_repr(self):
        assert "k3y" not in repr(Call("tasks.task.add", {}, api="v3", idempotency_key="k3y"))

    @pytest.mark.parametrize("name", ["auth", "AUTH"])
    def test_no_parameter_poses_as_authorization(self, name, open_session, drive):
        with pytest.raises(UnsendableValueError, match="'auth' is not a parameter"):
            drive([]).hold(converse(Call("tasks.task.get", {name: "x"}, api="v3"), open_session()))
