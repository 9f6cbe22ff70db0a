"""The thread that brings kept calls to Airflow when its database is back, and that remembers portals meanwhile."""

from __future__ import annotations

import logging
import threading
import time
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

from airflow_provider_b24.receiver import metrics
from airflow_provider_b24.receiver.database import is_away
from airflow_provider_b24.receiver.patience import Patience
from airflow_provider_b24.receiver.robot_calls import UnknownReceiverError
from airflow_provider_b24.receiver.spool import NotYetError

if TYPE_CHECKING:
    from airflow_provider_b24.receiver.portals import Portals
    from airflow_provider_b24.receiver.robot_calls import RobotCalls
    from airflow_provider_b24.receiver.spool import Spool, SpooledCall

log = logging.getLogger(__name__)

_PAUSE_SECONDS = 5.0
_SECONDS_TO_COME_BACK = 600.0
_TURNS_BETWEEN_LOOKS_AT_PORTALS = 60
_THREADS = 3
_SECONDS = 60.0


@dataclass(slots=True)
class Replay:
    """Replays the spool from time to time, beginning at once: calls may be left from before a restart.

    :param calls: does the calls.
    :param spool: keeps them.
    :param portals: learns of connections here, so that their calls can be authenticated without the database.
    :param pause_seconds: between two looks into the spool.
    :param seconds_to_come_back: how long a call waits for its connection or its robot, when they are not there.
    """

    calls: RobotCalls
    spool: Spool
    portals: Portals
    pause_seconds: float = _PAUSE_SECONDS
    # Where the database was away, Airflow may be being installed anew, its connections and DAGs not there yet.
    seconds_to_come_back: float = _SECONDS_TO_COME_BACK
    # A connection to the database can hang for hours. Left alone, it must not hold up the next one.
    patience: Patience = field(
        default_factory=lambda: Patience(
            "bitrix24-receiver-replay", threads=_THREADS, seconds=_SECONDS, queue=0
        )
    )
    _missing_since: dict[str, float] = field(default_factory=dict, init=False)
    _turns_until_look: int = field(default=0, init=False)
    _ended: threading.Event = field(default_factory=threading.Event, init=False)
    _thread: threading.Thread | None = field(default=None, init=False)

    def start(self) -> None:
        """Start the thread, once."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="bitrix24-receiver-replay", daemon=True)
            self._thread.start()

    def stop(self) -> None:
        """End the thread after the call it is doing."""
        self._ended.set()
        if self._thread is not None:
            self._thread.join(timeout=self.pause_seconds)

    def turn(self) -> None:
        """Replay what waits, as far as the database allows."""
        try:
            gone = self.spool.replay(self._redo)
        except OSError as error:
            log.error("The spool in %s cannot be read: %s", self.spool.folder, error.strerror)
        except Exception as error:
            if not is_away(error):
                raise
            log.warning(
                "%d robot calls wait in the spool, Airflow's database is away: %s",
                self.spool.depth(),
                type(error).__name__,
            )
        else:
            if gone:
                log.info("%d robot calls left the spool, %d wait.", gone, self.spool.depth())
        metrics.show_spool_depth(self.spool.depth())

    def _redo(self, call: SpooledCall) -> None:
        try:
            self.patience.do(partial(self.calls.redo, call))
        except UnknownReceiverError:
            now = time.monotonic()
            if now - self._missing_since.setdefault(call.run_id, now) < self.seconds_to_come_back:
                raise NotYetError from None
            self._missing_since.pop(call.run_id)
            raise
        self._missing_since.pop(call.run_id, None)

    def _learn(self) -> None:
        self._turns_until_look -= 1
        if self._turns_until_look < 0 and self.patience.do(self.portals.learn):
            self._turns_until_look = _TURNS_BETWEEN_LOOKS_AT_PORTALS

    def _run(self) -> None:
        while not self._ended.is_set():
            for step in (self._learn, self.turn):
                try:
                    step()
                except Exception as error:
                    # Whatever it is: without this thread, kept calls would wait for the next restart.
                    log.error("The replay of kept robot calls failed, trying again: %s", type(error).__name__)
            self._ended.wait(self.pause_seconds)
