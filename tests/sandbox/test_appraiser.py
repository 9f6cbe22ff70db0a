"""The demonstration's external worker, over HTTP."""

import queue
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
import requests

from airflow_provider_b24.demo.appraiser import Appraiser


@pytest.fixture
def worker() -> Iterator[Appraiser]:
    with Appraiser() as worker:
        yield worker


def test_an_order_is_taken_and_its_result_delivered_where_it_says(worker: Appraiser) -> None:
    class Receiver(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            received.append(self.rfile.read(int(self.headers["Content-Length"])))
            self.send_response(202)
            self.end_headers()

    received: list[bytes] = []
    with HTTPServer(("127.0.0.1", 0), Receiver) as server:
        threading.Thread(target=server.handle_request, daemon=True).start()
        deliver_to = f"http://127.0.0.1:{server.server_port}/results/secret"
        taken = requests.post(worker.url, json={"item": "clock", "deliver_to": deliver_to}, timeout=10)
        order = worker.next_order(timeout=10)
        delivery = worker.deliver(order)

    assert taken.status_code == 202
    assert delivery.status == 202
    assert received == [b'{"price": 1050.0, "remark": "clock: well kept"}']
    assert "secret" not in repr(order)


@pytest.mark.parametrize(
    "body", [b"", b"no JSON", b"[]", b'{"item": "clock"}', b'{"deliver_to": "http://x"}']
)
def test_an_order_that_makes_no_sense_is_refused(worker: Appraiser, body: bytes) -> None:
    answer = requests.post(worker.url, data=body, timeout=10)

    assert answer.status_code == 400
    with pytest.raises(queue.Empty):
        worker.next_order(timeout=0)
