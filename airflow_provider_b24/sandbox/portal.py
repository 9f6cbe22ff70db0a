"""A whole Bitrix24 portal for one machine, and how to look into it."""

from __future__ import annotations

import secrets
import socket
import tempfile
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self

from airflow_provider_b24.sandbox import notices
from airflow_provider_b24.sandbox.alarm import Alarm
from airflow_provider_b24.sandbox.callers import DEFAULT_SCOPE, Application, Callers, User, Webhook
from airflow_provider_b24.sandbox.clock import Clock
from airflow_provider_b24.sandbox.disk import Disk
from airflow_provider_b24.sandbox.event_tokens import EventTokens
from airflow_provider_b24.sandbox.events import Events
from airflow_provider_b24.sandbox.faults import Faults
from airflow_provider_b24.sandbox.http import FrontDoor, Request
from airflow_provider_b24.sandbox.limits import LeakyBuckets, OperatingTime
from airflow_provider_b24.sandbox.methods import all_methods, all_methods_of_rest3
from airflow_provider_b24.sandbox.processes import (
    AcceptedAnswer,
    AnswerRules,
    DocumentId,
    Process,
    ProcessEngine,
)
from airflow_provider_b24.sandbox.queue_server import Call, QueueServer
from airflow_provider_b24.sandbox.records import RecordStore, RecordStores
from airflow_provider_b24.sandbox.rest3 import KeptResults
from airflow_provider_b24.sandbox.robots import Robot, RobotRegistry
from airflow_provider_b24.sandbox.server import Server
from airflow_provider_b24.sandbox.tasks import Task, Tasks

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from airflow_provider_b24.sandbox.steps import AskPerson, Step

_LEAD: DocumentId = ("crm", "CCrmDocumentLead", "LEAD_77")
_LEAD_TYPE: DocumentId = ("crm", "CCrmDocumentLead", "LEAD")
# What a portal consists of, apart from its address and what was recorded there.
_TAKEN_OVER = (
    "application",
    "buckets",
    "callers",
    "changed",
    "clock",
    "disk",
    "engine",
    "events",
    "kept_results",
    "member_id",
    "operating",
    "queue_server",
    "record_stores",
    "robot_registry",
    "task_list",
    "templates",
)


@dataclass(frozen=True, slots=True)
class Template:
    """A workflow template."""

    id: int
    name: str
    steps: tuple[Step, ...]
    document_type: DocumentId
    modified: float


class SandboxPortal:
    """A Bitrix24 portal: REST, authorization server, processes, queue server, limits, faults.

    .. code-block:: python

        with SandboxPortal() as portal:
            requests.get(portal.webhook.url + "profile").json()

    :param host: address to listen on.
    :param port: port to listen on, 0 for a free one.
    :param tariff: `standard` or `enterprise`, which decides about the request limit.
    :param clock: what it takes for the time; share one among portals, or move it.
    :param access_token_lifetime: seconds until an access token expires.
    :param https: speak TLS with a certificate made for the purpose; clients trust it by :attr:`ca_file`.
    :param limits: whether the request limit and the operating time limit are in force.
    :param answers: what is said to an answer that no step waits for. `portal`, as the code of the portal does:
        `true` while the process goes on, the error code 404 when it is over, 499 when it was terminated;
        `older-portal`: the same with an empty code and "Empty root activity" for a process that is over;
        `documentation`: `403 ACCESS_DENIED` in any case.
    :param operating_bill: whose operating time a batch uses up: that of the `calls` in it, as documented, or that of
        the method `batch`, with the batch's number in the reply of every call, as was measured.
    :raises ValueError: when ``answers`` is none of these.
    """

    def __init__(
        self,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        tariff: str = "standard",
        clock: Clock | None = None,
        access_token_lifetime: float = 3600,
        https: bool = False,
        limits: bool = True,
        answers: AnswerRules = "portal",
        operating_bill: Literal["calls", "batch"] = "calls",
    ) -> None:
        self.clock: Clock = clock or Clock()
        self.tariff = tariff
        self.member_id = secrets.token_hex(16)
        self.faults = Faults()
        self.moved_to: str | None = None
        #: Seconds of operating time every call of a method costs, by method name.
        self.operating_costs: dict[str, float] = {}
        self.operating_bill = operating_bill
        #: The one lock, and the signal that something in the portal has changed.
        self.changed = threading.Condition(threading.RLock())
        self.callers = Callers(self.clock, access_token_lifetime)
        self.methods = all_methods()
        self.methods3 = all_methods_of_rest3()
        self.kept_results = KeptResults(self.clock)
        self.robot_registry = RobotRegistry()
        self.disk = Disk()
        self.task_list = Tasks()
        self.events = Events()
        self.templates: dict[int, Template] = {}
        self.record_stores = RecordStores()
        #: Whether both limits are in force; operating time is accounted for in any case.
        self.limits = limits
        self.buckets = LeakyBuckets(self.clock, tariff)
        self.operating = OperatingTime(self.clock)
        self.queue_server = QueueServer(self.changed)
        self.engine = ProcessEngine(
            self, self.clock, self.robot_registry, EventTokens(), self.changed, answers
        )
        self._address = (host, port)
        self._https = https
        self._requests: list[Request] = []
        self._server: Server | None = None
        self._directory: tempfile.TemporaryDirectory[str] | None = None
        self._alarm: Alarm | None = None
        self.ca_file: Path | None = None
        self.host = ""
        self.url = ""

    def __repr__(self) -> str:
        return f"SandboxPortal({self.url or 'not started'})"

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> None:
        """Start serving.

        :raises RuntimeError: when it was started before.
        :raises OSError: when the address cannot be used.
        """
        if self._server is not None:
            raise RuntimeError("A sandbox portal starts once; make a new one")
        sock = socket.create_server(self._address, backlog=512)
        certificate = None
        if self._https:
            from airflow_provider_b24.sandbox.certificate import make_certificate

            self._directory = tempfile.TemporaryDirectory(prefix="bitrix24-sandbox-")
            certificate = make_certificate(Path(self._directory.name), self._address[0])
            self.ca_file = certificate[0]
        self.host = f"{self._address[0]}:{sock.getsockname()[1]}"
        self.url = f"{'https' if self._https else 'http'}://{self.host}"
        self.webhook = self.create_webhook()
        self.application = self.create_application()
        self._server = Server(FrontDoor(self), sock, certificate)
        self._server.start()
        self._alarm = Alarm(self.engine, self.clock, self._server.loop)

    def stop(self) -> None:
        """Stop serving: connections are closed, the port is free, what was recorded stays readable."""
        if self._server is None:
            return
        if self._alarm is not None:
            self._alarm.stop()
            self._alarm = None
        self.queue_server.stop()
        self._server.stop()
        if self._directory is not None:
            self._directory.cleanup()

    # What there is

    @property
    def oauth_url(self) -> str:
        """Where the authorization server hands out tokens."""
        return f"{self.url}/oauth/token/"

    @property
    def requests(self) -> list[Request]:
        """Every request received, in order."""
        with self.changed:
            return list(self._requests)

    @property
    def calls(self) -> list[Call]:
        """Every robot call the queue server has posted or is about to post, in order."""
        return self.queue_server.calls("robot")

    @property
    def event_calls(self) -> list[Call]:
        """Every event the queue server has posted or is about to post, in order."""
        return self.queue_server.calls("event")

    @property
    def processes(self) -> dict[str, Process]:
        """Every process by its id."""
        with self.changed:
            return dict(self.engine.processes)

    @property
    def robots(self) -> list[Robot]:
        """Every registered robot and activity, of all applications."""
        with self.changed:
            return self.robot_registry.all()

    @property
    def answers(self) -> list[AcceptedAnswer]:
        """The answer of every step that was answered, in order; what came later is only counted there."""
        with self.changed:
            return self.engine.answers

    @property
    def tasks(self) -> list[Task]:
        """Every task, done ones included."""
        with self.changed:
            return self.task_list.all()

    # Who may call

    def add_user(self, *, admin: bool = False, name: str = "Sandbox", last_name: str = "User") -> User:
        """Add an employee."""
        with self.changed:
            number = max(self.callers.users) + 1
            user = self.callers.users[number] = User(number, name, last_name, admin)
            return user

    def create_webhook(self, user_id: int = 1, scope: Iterable[str] = DEFAULT_SCOPE) -> Webhook:
        """Add an incoming webhook.

        :param scope: what it may do, such as `bizproc` and `crm`.
        """
        with self.changed:
            return self.callers.create_webhook(self.url, user_id, scope)

    def create_application(
        self,
        *,
        client_id: str | None = None,
        scope: Iterable[str] = DEFAULT_SCOPE,
        redirect_uri: str = "http://127.0.0.1/oauth/callback",
    ) -> Application:
        """Install another OAuth application."""
        with self.changed:
            return self.callers.create_application(
                client_id=client_id, scope=scope, redirect_uri=redirect_uri
            )

    def expire_access_tokens(self) -> None:
        """Let every access token issued so far be expired."""
        with self.changed:
            self.callers.tokens.expire_access()

    def revoke_refresh_tokens(self) -> None:
        """Let every refresh token issued so far be worthless."""
        with self.changed:
            self.callers.tokens.revoke_refresh()

    # Processes

    def start_process(
        self,
        steps: Sequence[Step],
        document_id: DocumentId = _LEAD,
        values: Mapping[str, Any] | None = None,
    ) -> Process:
        """Start a process; it runs until it waits or ends.

        :param values: the document's fields.
        """
        return self.engine.start(steps, document_id, values=values)

    def lock_process(self, process: Process, seconds: float | None = None) -> None:
        """Refuse the answers and log lines of a process with 423, as if another request worked on it.

        :param seconds: how long by the portal's clock, `None` until :meth:`unlock_process`.
        :raises ValueError: when that is not a time to come.
        """
        if seconds is not None and seconds <= 0:
            raise ValueError(f"A process is locked for some time, not for {seconds} seconds")
        self.engine.lock(process, seconds)

    def unlock_process(self, process: Process) -> None:
        """Let a process take answers again."""
        self.engine.unlock(process)

    def add_template(self, name: str, steps: Sequence[Step], document_type: DocumentId = _LEAD_TYPE) -> int:
        """Add a template for `bizproc.workflow.start` and return its id."""
        with self.changed:
            number = len(self.templates) + 1
            self.templates[number] = Template(number, name, tuple(steps), document_type, self.clock.now())
            return number

    def wait_for_call(self, timeout: float = 10.0) -> Call:
        """Return the next robot call that has an outcome and was not returned here before.

        :param timeout: real seconds.
        :raises TimeoutError: when there is none by then.
        """
        return self.queue_server.wait_for_call(timeout)

    def wait_until(self, condition: Callable[[], bool], timeout: float = 10.0) -> None:
        """Block until `condition` holds; it is asked again whenever something happens in the portal.

        :param condition: such as ``lambda: len(portal.answers) == 3``.
        :param timeout: real seconds.
        :raises TimeoutError: when it does not hold by then.
        """
        with self.changed:
            if not self.changed.wait_for(condition, timeout):
                raise TimeoutError(f"What was waited for did not happen within {timeout} s")

    def repost(self, call: Call) -> Call:
        """Post a call again, byte by byte the same."""
        return self.queue_server.repost(call)

    # Events

    def send_install_event(self, handler_url: str, application: Application | None = None) -> Call:
        """Install an application, perhaps again, and post `ONAPPINSTALL` with a new pair of tokens, now its current."""
        chosen = application or self.application
        with self.changed:
            chosen.installed = True
            return notices.installed(self, handler_url, chosen)

    def send_uninstall_event(
        self, handler_url: str, application: Application | None = None, *, clean: bool = True
    ) -> Call:
        """Uninstall an application and post `ONAPPUNINSTALL`, which carries no tokens."""
        chosen = application or self.application
        with self.changed:
            chosen.installed = False
            self.robot_registry.forget(chosen.client_id)
            self.events.forget(chosen.client_id)
            return notices.uninstalled(self, handler_url, chosen, clean=clean)

    def open_application(
        self, page_url: str, application: Application | None = None, *, user_id: int = 1
    ) -> Call:
        """Open an application's page in its frame, as a browser does: a form with a new pair of tokens.

        The tokens are the user's and do not become the application's current ones.

        :returns: the request, with kind `page`; its `answer` is the page.
        """
        with self.changed:
            return notices.opened(self, page_url, application or self.application, user_id)

    def fire_event(self, event: str, data: Mapping[str, Any], *, user_id: int | None = 1) -> list[Call]:
        """Let an event happen: online subscribers are called, offline ones find it in their queue.

        :param event: such as `ONCRMLEADADD`.
        :param user_id: whose action it is; `None` for nobody's, and then no tokens are passed on.
        :returns: the calls to online subscribers.
        """
        with self.changed:
            return notices.happened(self, event, data, user_id)

    # Data

    def records(self, kind: str) -> RecordStore:
        """Return the store behind a list method: `lead`, `task`, `item:147` (`item` for every other type).

        What people were told by `im.notify.system.add` is in `notification`.
        """
        with self.changed:
            return self.record_stores.find(kind)

    def add_records(self, kind: str, records: int | Iterable[Mapping[str, Any]]) -> list[int]:
        """Fill the store behind a list method.

        :param kind: `lead` (`crm.lead.list`), `task` (`tasks.task.list`), `item` or `item:147`
            (`crm.item.list` of all types, or of one).
        :param records: the records, or how many to make up.
        :returns: their numbers.
        """
        with self.changed:
            return self.record_stores.add(kind, records)

    def add_file(self, name: str, data: bytes, *, user_id: int = 1) -> int:
        """Put a file on the Drive and return its number, for `disk.file.get`."""
        with self.changed:
            return self.disk.add(name, data, user_id, self.clock.now()).id

    # Trouble

    def move_to(self, target: SandboxPortal | str | None) -> None:
        """Answer every REST request with a redirect to another address.

        :param target: an address; or a started portal nobody has used yet, which takes over everything:
            users, webhooks, applications and their tokens, processes, records, limits. `None` ends the
            redirects.
        """
        if isinstance(target, SandboxPortal):
            target._take_over(self)
            target = target.url
        self.moved_to = target.rstrip("/") if target else None

    def _take_over(self, old: SandboxPortal) -> None:
        with old.changed:
            for name in _TAKEN_OVER:
                setattr(self, name, getattr(old, name))
            self.engine.move(self)
            self.webhook = self.callers.move_webhook(old.webhook, self.url)
            if self._alarm is not None and self._server is not None:
                self._alarm.stop()
                self._alarm = Alarm(self.engine, self.clock, self._server.loop)
                self._alarm.set()

    def drop_connection(self, client: Any) -> None:
        """Close the connection of one client, given by its address and port."""
        if self._server is not None:
            self._server.drop(client)

    # What the parts of the portal need from each other

    def record(self, request: Request) -> None:
        """Remember a request."""
        with self.changed:
            self._requests.append(request)
            self.changed.notify_all()

    def call_robot(self, robot: Robot, call: Mapping[str, Any], user_id: int | None) -> None:
        """Hand a robot call to the queue server."""
        notices.robot_call(self, robot, call, user_id)

    def create_task(self, process: Process, step: AskPerson, activity: str) -> None:
        """Give somebody a task."""
        self.task_list.create(process, step, activity, self.clock.now())

    def forget_tasks(self, process: Process) -> None:
        """Withdraw the tasks of a process that has ended."""
        self.task_list.cancel(process)

    def deadline_set(self) -> None:
        """Wake up when the next process loses its patience."""
        if self._alarm is not None:
            self._alarm.set()
