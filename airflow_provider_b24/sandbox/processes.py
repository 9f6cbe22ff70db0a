"""Processes: they run step by step, call robots, wait for one answer each, and go on."""

from __future__ import annotations

import heapq
import itertools
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from airflow_provider_b24.sandbox.errors import access_denied
from airflow_provider_b24.sandbox.steps import (
    AskPerson,
    CallActivity,
    CallRobot,
    Finish,
    SetField,
    Step,
    resolve,
)

if TYPE_CHECKING:
    import threading

    from airflow_provider_b24.sandbox.clock import Clock
    from airflow_provider_b24.sandbox.event_tokens import EventTokens
    from airflow_provider_b24.sandbox.robots import Kind, Robot, RobotRegistry

DocumentId = tuple[str, str, str]


@dataclass(frozen=True, slots=True)
class LogEntry:
    """One line of a process's log."""

    time: float
    message: str


@dataclass(slots=True)
class AcceptedAnswer:
    """An accepted `bizproc.event.send`.

    :param token: the event token, as sent.
    :param values: the declared return properties among what was sent.
    :param count: how often the portal accepted this token: 1, as tokens are valid once.
    :param refused: how often it came again and was refused.
    """

    token: str = field(repr=False)
    values: dict[str, Any]
    log_message: str
    process_id: str
    activity: str
    time: float
    count: int = 1
    refused: int = 0


@dataclass(slots=True)
class Waiting:
    """What a process waits for: an event with a token, or, without one, a task."""

    activity: str
    event_id: str = ""
    token: str | None = None
    robot: Robot | None = None


@dataclass(eq=False)
class Process:
    """A running or finished workflow.

    :param values: the document's fields as the process reads and writes them.
    :param answers: what each step answered, by activity name.
    :param status: `running`, `waiting`, `completed` or `terminated`.
    """

    id: str
    document_id: DocumentId
    steps: Sequence[Step]
    values: dict[str, Any]
    parameters: dict[str, Any]
    template_id: int
    started: float
    started_by: int
    changed: threading.Condition = field(repr=False)
    status: str = "running"
    state: str = ""
    modified: float = 0.0
    answers: dict[str, dict[str, Any]] = field(default_factory=dict)
    log: list[LogEntry] = field(default_factory=list)
    position: int = 0
    waiting: Waiting | None = field(default=None, repr=False)

    @property
    def document_type(self) -> DocumentId:
        """The type of its document: `LEAD` for `LEAD_77`, `DYNAMIC_147` for `DYNAMIC_147_1`."""
        return document_type(self.document_id)

    @property
    def waiting_for(self) -> str | None:
        """The event token it waits for, if it waits for one."""
        return self.waiting.token if self.waiting else None

    @property
    def finished(self) -> bool:
        """Whether it is completed or terminated."""
        return self.status in ("completed", "terminated")

    def wait(self, timeout: float = 10.0) -> Process:
        """Block until it is completed or terminated.

        :param timeout: real seconds.
        :raises TimeoutError: when it still runs by then.
        """
        with self.changed:
            if not self.changed.wait_for(lambda: self.finished, timeout):
                raise TimeoutError(f"Process {self.id} is still {self.status} after {timeout} s")
        return self


class World(Protocol):
    """What processes need from the portal around them."""

    def call_robot(self, robot: Robot, call: Mapping[str, Any], user_id: int | None) -> None:
        """Hand a robot call to the queue server."""

    def create_task(self, process: Process, step: AskPerson, activity: str) -> None:
        """Give somebody a task."""

    def forget_tasks(self, process: Process) -> None:
        """Withdraw the tasks of a process that has ended."""

    def deadline_set(self) -> None:
        """Take note that the next deadline has changed."""


class ProcessEngine:
    """Runs all processes of a portal. Everything happens under the portal's one lock."""

    def __init__(
        self,
        world: World,
        clock: Clock,
        robots: RobotRegistry,
        tokens: EventTokens,
        changed: threading.Condition,
    ) -> None:
        self._world = world
        self._clock = clock
        self._robots = robots
        self._tokens = tokens
        self._changed = changed
        self._deadlines: list[tuple[float, int, Process, str]] = []
        self._sequence = itertools.count()
        self._answers: dict[str, AcceptedAnswer] = {}
        self.processes: dict[str, Process] = {}

    @property
    def answers(self) -> list[AcceptedAnswer]:
        """Every accepted answer, in order."""
        return list(self._answers.values())

    def move(self, world: World) -> None:
        """Go on in another portal."""
        self._world = world

    def start(
        self,
        steps: Sequence[Step],
        document_id: DocumentId,
        *,
        values: Mapping[str, Any] | None = None,
        parameters: Mapping[str, Any] | None = None,
        template_id: int = 0,
        user_id: int = 1,
    ) -> Process:
        """Start a process and let it run until it waits or ends."""
        with self._changed:
            now = self._clock.now()
            process = Process(
                id=_process_id(now),
                document_id=document_id,
                steps=list(steps),
                values=dict(values or {}),
                parameters=dict(parameters or {}),
                template_id=template_id,
                started=now,
                started_by=user_id,
                changed=self._changed,
                modified=now,
            )
            self.processes[process.id] = process
            self._run(process)
            return process

    def answer(self, token: object, values: object, log_message: str) -> AcceptedAnswer:
        """Accept an answer, once, and let the process go on.

        :raises RestError: `403 ACCESS_DENIED` for any token that is not awaited now.
        """
        with self._changed:
            try:
                process, waiting = self._awaited(token)
            except Exception:
                if isinstance(token, str) and token in self._answers:
                    self._answers[token].refused += 1
                raise
            declared = waiting.robot.return_properties if waiting.robot else {}
            given = values if isinstance(values, Mapping) else {}
            accepted = AcceptedAnswer(
                token=str(token),
                values={name: given[name] for name in declared if name in given},
                log_message=log_message,
                process_id=process.id,
                activity=waiting.activity,
                time=self._clock.now(),
            )
            self._answers[accepted.token] = accepted
            self._note(process, log_message)
            self._resume(process, accepted.values)
            return accepted

    def write_log(self, token: object, message: str) -> None:
        """Write a line to the log of the process that waits for `token`.

        :raises RestError: `403 ACCESS_DENIED`.
        """
        with self._changed:
            process, _ = self._awaited(token)
            self._note(process, message)

    def task_done(self, process: Process, activity: str, values: Mapping[str, Any]) -> None:
        """Let a process go on whose task is done."""
        with self._changed:
            if process.waiting is not None and process.waiting.activity == activity:
                self._resume(process, values)

    def terminate(self, process: Process, state: str) -> None:
        """Stop a process and keep its record."""
        with self._changed:
            if not process.finished:
                process.state = state
                self._end(process, "terminated")

    def kill(self, process: Process) -> None:
        """Stop a process and forget it."""
        with self._changed:
            self.terminate(process, "")
            self.processes.pop(process.id, None)

    def next_deadline(self) -> float | None:
        """Return when the next patience ends, as Unix time."""
        with self._changed:
            return self._deadlines[0][0] if self._deadlines else None

    def pass_deadlines(self) -> None:
        """Let processes go on whose patience has ended."""
        with self._changed:
            now = self._clock.now()
            while self._deadlines and self._deadlines[0][0] <= now:
                _, _, process, event_id = heapq.heappop(self._deadlines)
                if process.waiting is not None and process.waiting.event_id == event_id:
                    self._note(process, "No answer in time")
                    self._resume(process, {})

    def _awaited(self, token: object) -> tuple[Process, Waiting]:
        self.pass_deadlines()
        said = self._tokens.read(token)
        process = self.processes.get(said.process_id) if said else None
        waiting = process.waiting if process else None
        if said is None or process is None or waiting is None or waiting.event_id != said.event_id:
            raise access_denied()
        return process, waiting

    def _run(self, process: Process) -> None:
        process.status = "running"
        while process.position < len(process.steps):
            step = process.steps[process.position]
            process.position += 1
            if isinstance(step, Finish):
                break
            if isinstance(step, SetField):
                process.values[step.field] = resolve(step.value, self._lookup(process))
                continue
            activity = step.name or f"A{process.position}"
            waiting = self._ask(process, step, activity) if isinstance(step, AskPerson) else None
            if isinstance(step, CallRobot):
                waiting = self._call(process, step, activity)
            if waiting is not None:
                process.waiting = waiting
                process.status = "waiting"
                process.modified = self._clock.now()
                self._changed.notify_all()
                return
        self._end(process, "completed")

    def _ask(self, process: Process, step: AskPerson, activity: str) -> Waiting:
        self._world.create_task(process, step, activity)
        return Waiting(activity)

    def _call(self, process: Process, step: CallRobot, activity: str) -> Waiting | None:
        kind: Kind = "activity" if isinstance(step, CallActivity) else "robot"
        robot = self._robots.find(kind, step.code, step.client_id)
        if robot is None:
            self._note(process, f"The {kind} {step.code} is not registered")
            return None
        subscribe = "N" if (robot.use_subscription or step.use_subscription) == "N" else "Y"
        token, event_id = self._tokens.write(process.id, activity)
        given = resolve(step.properties, self._lookup(process))
        defaults = {
            name: declared["Default"] for name, declared in robot.properties.items() if "Default" in declared
        }
        call = {
            "workflow_id": process.id,
            "code": robot.code,
            "document_id": list(process.document_id),
            "document_type": list(process.document_type),
            "event_token": token,
            "properties": {**defaults, **given},
            "use_subscription": subscribe,
            "timeout_duration": step.timeout_duration,
            "ts": int(self._clock.now()),
        }
        self._world.call_robot(robot, call, robot.auth_user_id or step.user_id)
        if subscribe == "N":
            return None
        if step.timeout_duration > 0:
            deadline = self._clock.now() + step.timeout_duration
            heapq.heappush(self._deadlines, (deadline, next(self._sequence), process, event_id))
            self._world.deadline_set()
        return Waiting(activity, event_id, token, robot)

    def _resume(self, process: Process, values: Mapping[str, Any]) -> None:
        if process.waiting is not None:
            process.answers[process.waiting.activity] = dict(values)
        process.waiting = None
        self._run(process)

    def _end(self, process: Process, status: str) -> None:
        process.waiting = None
        process.status = status
        process.modified = self._clock.now()
        self._world.forget_tasks(process)
        self._changed.notify_all()

    def _note(self, process: Process, message: str) -> None:
        process.log.append(LogEntry(self._clock.now(), message))

    @staticmethod
    def _lookup(process: Process) -> Any:
        def lookup(source: str, name: str) -> Any:
            if source == "Document":
                return process.values.get(name)
            if source == "Template":
                return process.parameters.get(name)
            return process.answers.get(source, {}).get(name)

        return lookup


def document_type(document_id: DocumentId) -> DocumentId:
    """Return the type a document's id belongs to."""
    module, entity, element = document_id
    kind = element.rpartition("_")[0] or {"lists": "iblock_1", "disk": "STORAGE_1"}.get(module, element)
    return module, entity, kind


def _process_id(now: float) -> str:
    # Looks like a decimal number and is none: PHP's `uniqid` is hexadecimal before the dot.
    seconds, fraction = divmod(now, 1)
    head = f"{int(seconds):08x}{int(fraction * 1_000_000):05x}{secrets.randbelow(10)}"
    return f"{head}.{secrets.randbelow(100_000_000):08d}"
