"""The external worker of the demonstration: takes orders over HTTP, takes its time, delivers the result."""

from __future__ import annotations

import json
import queue
import threading
import time
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

MAX_BODY = 64 * 1024


@dataclass(frozen=True)
class Order:
    """One piece of work.

    :param item: what to appraise.
    :param deliver_to: where to post the result; whoever has this address may answer.
    :param received_at: Unix time.
    """

    item: str
    deliver_to: str = field(repr=False)
    received_at: float


@dataclass(frozen=True)
class Delivery:
    """A result that was posted, and what Airflow answered."""

    result: dict[str, Any]
    status: int
    delivered_at: float


class Appraiser:
    """Someone outside Airflow who knows what things are worth."""

    def __init__(self) -> None:
        self._orders: queue.SimpleQueue[Order] = queue.SimpleQueue()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self._orders))
        self.url = f"http://127.0.0.1:{self._server.server_port}/orders"

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, args=(0.1,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def next_order(self, timeout: float | None) -> Order:
        """Wait for an order.

        :param timeout: seconds; without it as long as it takes.
        :raises queue.Empty: when there is none by then.
        """
        return self._orders.get(timeout=timeout)

    def deliver(self, order: Order) -> Delivery:
        """Post the result of an order."""
        import requests

        result = {"price": 1000.0 + 10 * len(order.item), "remark": f"{order.item}: well kept"}
        answer = requests.post(order.deliver_to, json=result, timeout=300)
        return Delivery(result, answer.status_code, time.time())


def _handler(orders: queue.SimpleQueue[Order]) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            status = 202
            try:
                length = int(self.headers.get("Content-Length", "0"))
                body = json.loads(self.rfile.read(min(length, MAX_BODY)))
                orders.put(Order(str(body["item"]), str(body["deliver_to"]), time.time()))
            except (ValueError, KeyError, TypeError):
                status = 400
            self.send_response(status)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
            """Say nothing: the demonstration tells what happens."""

    return Handler
