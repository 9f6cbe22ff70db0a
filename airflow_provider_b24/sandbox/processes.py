"""Processes: they run step by step, call robots, wait for one answer each, and go on."""

from __future__ import annotations

import heapq
import logging
import math
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, Protocol, get_args

from airflow_provider_b24.sandbox.errors import (
    RestError,
    access_denied,
    process_locked,
    process_not_found,
    process_terminated,
)
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
    from airflow_provider_b24.sandbox.queue_server import Call
    from airflow_provider_b24.sandbox.records.store import Store
    from airflow_provider_b24.sandbox.robots import Kind, Robot, RobotRegistry

_log = logging.getLogger(__name__)

DocumentId = tuple[str, str, str]
AnswerRules = Literal["portal", "older-portal", "documentation"]


@dataclass(frozen=True, slots=True)
class LogEntry:
    """One line of a process's log."""

    time: float
    message: str


@dataclass(frozen=True, slots=True)
class Moment:
    """Something that has happened to a process, for people.

    :param what: `started`, `called`, `asked`, `answered`, `ignored`, `timed-out`, `set`, `log`, `problem` or `ended`.
    :param activity: the step it belongs to, if it belongs to one.
    :param call: the robot call it is about.
    """

    time: float
    what: str
    text: str
    activity: str = ""
    call: Call | None = field(default=None, repr=False)


@dataclass(slots=True)
class AcceptedAnswer:
    """An accepted `bizproc.event.send`.

    :param token: the event token, as sent.
    :param values: the declared return properties among what was sent.
    :param count: how often the process went on with this token: 1, as a step takes one answer.
    :param refused: how often it came again and was refused, as the process was over. Not counted is what met a locked
        process.
    :param ignored: how often it came again while the process went on, and was answered `true` and ignored.
    :param by: who sent it, such as `application local.1234`.
    :param after: seconds since the step began to wait, on the portal's clock.
    """

    token: str = field(repr=False)
    values: dict[str, Any]
    log_message: str
    process_id: str
    activity: str
    time: float
    count: int = 1
    refused: int = 0
    ignored: int = 0
    by: str = ""
    after: float = 0.0


@dataclass(slots=True)
class Waiting:
    """What a process waits for: an event with a token, or, without one, a task.

    :param since: when it began to wait, on the portal's clock.
    :param until: when it goes on without an answer, `None` for never.
    """

    activity: str
    event_id: str = ""
    token: str | None = None
    robot: Robot | None = None
    since: float = 0.0
    until: float | None = None
    call: Call | None = field(default=None, repr=False)

    @property
    def return_properties(self) -> dict[str, dict[str, Any]]:
        """The declared outputs of the robot, if it is one that is waited for."""
        return self.robot.return_properties if self.robot else {}


@dataclass(eq=False)
class Process:
    """A running or finished workflow.

    :param values: the fields of the document that it was given and has written. A document in the CRM is a record of
        the portal: the process reads the others from there, and writes into it.
    :param answers: what each step that was waited for has put out, by activity name: the declared return properties
        that were sent or have a default. A step that has timed out has `IsTimeout` 1 as well; a later step reads 0
        where it is missing.
    :param status: `running`, `waiting`, `completed` or `terminated`.
    :param ignored: how many answers it was sent for steps that did not wait any more, late ones included.
    :param problems: what has gone wrong in it and around it: a robot that is not registered, a handler that does not
        answer, … Each is in the terminal, too.
    :param history: what has happened to it, in order, for people.
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
    problems: list[str] = field(default_factory=list)
    history: list[Moment] = field(default_factory=list, repr=False)
    position: int = 0
    ignored: int = 0
    locked_until: float = field(default=0.0, repr=False)
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

    def call_robot(self, robot: Robot, call: Mapping[str, Any], user_id: int | None) -> Call:
        """Hand a robot call to the queue server."""

    def create_task(self, process: Process, step: AskPerson, activity: str) -> None:
        """Give someone a task."""

    def forget_tasks(self, process: Process) -> None:
        """Withdraw the tasks of a process that has ended."""

    def deadline_set(self) -> None:
        """Take note that the next deadline has changed."""

    def answered(self, answer: AcceptedAnswer) -> None:
        """Take note of an answer that a process has accepted."""


class ProcessEngine:
    """Runs all processes of a portal. Everything happens under the portal's one lock.

    :param rules: what is said to an answer that nobody waits for; see :class:`SandboxPortal`.
    :raises ValueError: when there are no such rules.
    """

    def __init__(
        self,
        world: World,
        clock: Clock,
        robots: RobotRegistry,
        tokens: EventTokens,
        store: Store,
        changed: threading.Condition,
        rules: AnswerRules = "portal",
    ) -> None:
        if rules not in get_args(AnswerRules):
            raise ValueError(
                f"No portal answers by {rules!r}: choose one of {', '.join(get_args(AnswerRules))}"
            )
        self._rules = rules
        self._world = world
        self._clock = clock
        self._robots = robots
        self._tokens = tokens
        self._store = store
        self._changed = changed
        self._deadlines: list[tuple[float, int, Process, str]] = []
        self._deadlines_set = 0
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
        """Start a process and let it run until it waits or ends.

        A document in the CRM that the portal does not have comes into being, without events and automation.

        :param values: fields of the document to set before.
        :raises ValueError: for a value that does not fit its field.
        """
        with self._changed:
            record = self._store.document(document_id)
            if record is not None:
                self._store.put(*record, values or {})
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
            self._happened(process, "started", f"Started on {document_id[2]}")
            self._run(process)
            return process

    def answer(self, token: object, values: object, log_message: str, by: str = "") -> None:
        """Accept an answer to the step that waits and let the process go on; ignore one to an earlier step.

        :param by: who sends it, for people.
        :raises RestError: when the token is not genuine, or the process is over or locked.
        """
        with self._changed:
            earlier = self._answers.get(token) if isinstance(token, str) else None
            try:
                process, waiting = self._find(token)
            except RestError as refusal:
                if earlier is not None and refusal.code != process_locked().code:
                    earlier.refused += 1
                raise
            if waiting is None:
                process.ignored += 1
                if earlier is not None:
                    earlier.ignored += 1
                text = f"{by or 'Someone'} answered a step that does not wait: ignored"
                self._happened(process, "ignored", text)
                return
            declared = waiting.return_properties
            sent = values if isinstance(values, Mapping) else {}
            given = {str(name).lower(): value for name, value in sent.items()}
            accepted = AcceptedAnswer(
                token=str(token),
                values={name: given[name.lower()] for name in declared if name.lower() in given},
                log_message=log_message,
                process_id=process.id,
                activity=waiting.activity,
                time=self._clock.now(),
                by=by,
                after=self._clock.now() - waiting.since,
            )
            self._answers[accepted.token] = accepted
            said = ", ".join(f"{name}={value!r}" for name, value in accepted.values.items())
            text = f"{by or 'Someone'} answered: {said or 'nothing that is declared'}"
            self._happened(process, "answered", text, waiting.activity)
            self._world.answered(accepted)
            if log_message:
                self._happened(process, "log", log_message, waiting.activity)
            self._note(process, log_message)
            self._resume(process, {**_defaults(declared), **accepted.values})

    def write_log(self, token: object, message: str) -> None:
        """Write a line to the log of the process that waits for `token`; ignore one of an earlier step.

        :raises RestError: when the token is not genuine, or the process is over or locked.
        """
        with self._changed:
            process, waiting = self._find(token)
            if waiting is not None:
                self._note(process, message)
                self._happened(process, "log", message, waiting.activity)

    def document_name(self, process: Process) -> str:
        """Return what people call a process's document."""
        with self._changed:
            return str(self._lookup(process)("Document", "TITLE") or process.document_id[2])

    def lock(self, process: Process, seconds: float | None = None) -> None:
        """Refuse answers and log lines for a while, as if another request worked on the process.

        :param seconds: how long, `None` until :meth:`unlock`.
        """
        with self._changed:
            process.locked_until = math.inf if seconds is None else self._clock.now() + seconds

    def unlock(self, process: Process) -> None:
        """Take answers again."""
        with self._changed:
            process.locked_until = 0.0

    def task_done(self, process: Process, activity: str, values: Mapping[str, Any]) -> None:
        """Let a process go on whose task is done."""
        with self._changed:
            if process.waiting is not None and process.waiting.activity == activity:
                said = ", ".join(f"{name}={value!r}" for name, value in values.items() if value)
                self._happened(process, "answered", f"The task is done: {said}", activity)
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

    def called_again(self, call: Call) -> None:
        """Take note that a call was posted once more: its process waits for what becomes of this one."""
        with self._changed:
            process = self.processes.get(str(call.fields.get("workflow_id")))
            if process is None:
                return
            activity, waiting = "", process.waiting
            if waiting is not None and waiting.token == call.fields.get("event_token"):
                activity, waiting.call = waiting.activity, call
            self._happened(process, "called", f"Called {call.fields.get('code')} again", activity, call)

    def forget(self) -> None:
        """End and forget every process and answer."""
        with self._changed:
            for process in list(self.processes.values()):
                self.kill(process)
            self._answers.clear()
            self._deadlines.clear()

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
                    text = "No answer in time: the process goes on with IsTimeout = 1"
                    self._happened(process, "timed-out", text, process.waiting.activity)
                    self._resume(process, {**_defaults(process.waiting.return_properties), "IsTimeout": 1})

    def _find(self, token: object) -> tuple[Process, Waiting | None]:
        """Return the process that a token belongs to, and its step if that is the one that waits now."""
        self.pass_deadlines()
        said = self._tokens.read(token)
        if said is None:
            raise access_denied()
        process = self.processes.get(said.process_id)
        if process is None or process.finished:
            raise self._over(process)
        # The documentation is silent about locks; a portal by its word locks processes all the same.
        if process.locked_until > self._clock.now():
            raise process_locked()
        if process.waiting is not None and process.waiting.event_id == said.event_id:
            return process, process.waiting
        if self._rules == "documentation":
            raise access_denied()
        return process, None

    def _over(self, process: Process | None) -> RestError:
        if self._rules == "documentation":
            return access_denied()
        if process is not None and process.status == "terminated" and self._rules == "portal":
            return process_terminated()
        return process_not_found(older=self._rules == "older-portal")

    def _run(self, process: Process) -> None:
        process.status = "running"
        while process.position < len(process.steps):
            step = process.steps[process.position]
            process.position += 1
            if isinstance(step, Finish):
                break
            if isinstance(step, SetField):
                self._set(process, step.field, resolve(step.value, self._lookup(process)))
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

    def _set(self, process: Process, name: str, value: Any) -> None:
        process.values[name] = value
        self._happened(process, "set", f"{name} = {value!r}")
        record = self._store.document(process.document_id)
        if record is None:
            return
        try:
            self._store.set_field(*record, name, value, process.started_by)
        except KeyError:
            self._complain(process, f"The document is gone: {name} was not set")
        except RestError as refusal:
            self._complain(process, f"{name} was not set to {value!r}: {refusal.description}")

    def _ask(self, process: Process, step: AskPerson, activity: str) -> Waiting:
        self._world.create_task(process, step, activity)
        text = f"Asked user {step.user_id}: {step.title}"
        self._happened(process, "asked", text, activity)
        return Waiting(activity, since=self._clock.now())

    def _call(self, process: Process, step: CallRobot, activity: str) -> Waiting | None:
        kind: Kind = "activity" if isinstance(step, CallActivity) else "robot"
        robot = self._robots.find(kind, step.code, step.client_id)
        if robot is None:
            known = ", ".join(sorted(other.code for other in self._robots.all() if other.kind == kind))
            self._complain(
                process,
                f"The {kind} {step.code} is not registered, the process goes on without it. "
                f"Registered: {known or 'none'}",
            )
            return None
        subscribe = "Y" if (robot.use_subscription or step.use_subscription) == "Y" else "N"
        token, event_id = self._tokens.write(process.id, activity)
        given = {**_defaults(robot.properties), **resolve(step.properties, self._lookup(process))}
        missing = [name for name in robot.required_properties if given.get(name) in (None, "", [])]
        if missing:
            self._complain(
                process,
                f"The {kind} {step.code} is called without its required properties {', '.join(missing)}: "
                "Bitrix24's designer would not let them be empty",
            )
        call = {
            "workflow_id": process.id,
            "code": robot.code,
            "document_id": list(process.document_id),
            "document_type": list(process.document_type),
            "event_token": token,
            "properties": given,
            "use_subscription": subscribe,
            "timeout_duration": step.timeout_duration,
            "ts": int(self._clock.now()),
        }
        posted = self._world.call_robot(robot, call, robot.auth_user_id or step.user_id)
        self._happened(process, "called", f"Called the {kind} {robot.code}", activity, posted)
        if subscribe == "N":
            return None
        now, deadline = self._clock.now(), None
        if step.timeout_duration > 0:
            deadline = now + step.timeout_duration
            self._deadlines_set += 1
            heapq.heappush(self._deadlines, (deadline, self._deadlines_set, process, event_id))
            self._world.deadline_set()
        return Waiting(activity, event_id, token, robot, now, deadline, posted)

    def _resume(self, process: Process, values: Mapping[str, Any]) -> None:
        if process.waiting is not None:
            process.answers[process.waiting.activity] = dict(values)
        process.waiting = None
        self._run(process)

    def _end(self, process: Process, status: str) -> None:
        process.waiting = None
        process.status = status
        process.modified = self._clock.now()
        self._happened(
            process, "ended", status.capitalize() + (f": {process.state}" if process.state else "")
        )
        self._world.forget_tasks(process)
        self._changed.notify_all()

    def complain(self, process_id: str, problem: str) -> None:
        """Tell of something that has gone wrong around a process; it is not in its log, as in Bitrix24."""
        with self._changed:
            process = self.processes.get(process_id)
            if process is not None:
                self._complain(process, problem, note=False)

    def _complain(self, process: Process, problem: str, *, note: bool = True) -> None:
        process.problems.append(problem)
        self._happened(process, "problem", problem)
        if note:
            self._note(process, problem)
        _log.warning("Process %s on %s: %s", process.id, process.document_id[2], problem)

    def _happened(
        self, process: Process, what: str, text: str, activity: str = "", call: Call | None = None
    ) -> None:
        process.history.append(Moment(self._clock.now(), what, text, activity, call))

    def _note(self, process: Process, message: str) -> None:
        process.log.append(LogEntry(self._clock.now(), message))

    def _lookup(self, process: Process) -> Any:
        def lookup(source: str, name: str) -> Any:
            if source == "Document":
                record = self._store.document(process.document_id)
                if record is not None and record[1] in self._store.table(record[0]):
                    return self._store.value(*record, name)
                return process.values.get(name)
            if source == "Template":
                return process.parameters.get(name)
            answered = process.answers.get(source)
            if answered is None:
                return None
            return answered.get(name, 0 if name == "IsTimeout" else None)

        return lookup


def _defaults(declared: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    return {
        name: value
        for name, property_ in declared.items()
        for key, value in property_.items()
        if str(key).upper() == "DEFAULT"
    }


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
