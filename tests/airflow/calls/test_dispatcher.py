"""The dispatcher's loop: what ends it, and what goes on beside what fails."""

from __future__ import annotations

import threading

from airflow_provider_b24.calls.answering import BATCH, Sender
from airflow_provider_b24.calls.dispatcher import Dispatcher

DATABASES = ("sqlite",)


class Backlog(Sender):
    """Always has more to send, up to ten requests."""

    def __init__(self):
        super().__init__()
        self.requests, self.sends, self.may_go_on = 0, threading.Event(), threading.Event()

    def connections_due(self):
        return ["crm"]

    def send_due(self, conn_id):
        self.requests += 1
        self.sends.set()
        assert self.may_go_on.wait(30)
        return BATCH if self.requests < 10 else 0


def test_after_its_end_it_begins_no_request_more(metadata_database):
    backlog = Backlog()
    dispatcher = Dispatcher(sender=backlog)
    dispatcher.turn()
    assert backlog.sends.wait(30)
    dispatcher.stop()
    backlog.may_go_on.set()
    dispatcher._pool.shutdown(wait=True)
    assert backlog.requests == 1
