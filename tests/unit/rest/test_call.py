"""What is asked and what comes back."""

import pytest

from airflow_provider_b24.rest import Call, Reply, ReplyTime


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


@pytest.mark.parametrize("time", [None, [], "soon", {"start": "soon"}, {}])
def test_a_time_that_makes_no_sense_is_none(time):
    assert Reply.from_json({"result": 1, "time": time}).time is None


@pytest.mark.parametrize("value", [None, True, "many", [1]])
def test_a_total_that_is_no_number_is_none(value):
    assert Reply.from_json({"result": 1, "total": value}).total is None
