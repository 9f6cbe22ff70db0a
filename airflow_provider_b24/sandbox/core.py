"""What a portal consists of, apart from how it is reached: people, records, processes, limits, under one lock."""

from __future__ import annotations

import logging
import secrets
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from airflow_provider_b24.sandbox.callers import (
    DEFAULT_SCOPE,
    Application,
    AuthorizationRules,
    Callers,
    User,
    Webhook,
)
from airflow_provider_b24.sandbox.clock import Clock
from airflow_provider_b24.sandbox.disk import Disk
from airflow_provider_b24.sandbox.event_tokens import EventTokens
from airflow_provider_b24.sandbox.events import Events
from airflow_provider_b24.sandbox.faults import Faults
from airflow_provider_b24.sandbox.journal import Journal, Request
from airflow_provider_b24.sandbox.kept_results import KeptResults
from airflow_provider_b24.sandbox.limits import LeakyBuckets, OperatingTime
from airflow_provider_b24.sandbox.processes import (
    AcceptedAnswer,
    AnswerRules,
    DocumentId,
    Process,
    ProcessEngine,
    World,
    document_type,
)
from airflow_provider_b24.sandbox.queue_server import Call, QueueServer
from airflow_provider_b24.sandbox.records.store import Change, Store
from airflow_provider_b24.sandbox.robots import Robot, RobotRegistry
from airflow_provider_b24.sandbox.tasks import Task, Tasks
from airflow_provider_b24.sandbox.triggers import TriggerRule, Triggers

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from airflow_provider_b24.sandbox.records.table import Table
    from airflow_provider_b24.sandbox.steps import Step

_log = logging.getLogger(__name__)

_LEAD: DocumentId = ("crm", "CCrmDocumentLead", "LEAD_77")
_LEAD_TYPE: DocumentId = ("crm", "CCrmDocumentLead", "LEAD")
_CLASSES = {
    "lead": "CCrmDocumentLead",
    "deal": "CCrmDocumentDeal",
    "contact": "CCrmDocumentContact",
    "company": "CCrmDocumentCompany",
    "item:31": "Bitrix\\Crm\\Integration\\BizProc\\Document\\SmartInvoice",
}
_DYNAMIC = "Bitrix\\Crm\\Integration\\BizProc\\Document\\Dynamic"
# A record that moves starts processes, which move records, which start processes.
_CHAIN = 20
#: Something that the terminal tells of: a request that is answered, a call that has an outcome, an accepted answer.
Happening = Request | Call | AcceptedAnswer


@dataclass(frozen=True, slots=True)
class Template:
    """A workflow template.

    :param auto_execute: 1 starts it for every record that is created, 2 for every one that is changed, 3 for both.
    :param client_id: the application that has added it by `bizproc.workflow.template.add`.
    """

    id: int
    name: str
    steps: tuple[Step, ...]
    document_type: DocumentId
    modified: float
    description: str = ""
    auto_execute: int = 0
    client_id: str | None = None


@dataclass(frozen=True, slots=True)
class Automation:
    """Robots of a stage: what happens to a record that is created there or moved there.

    :param stage: such as `NEW`; `None` for every stage.
    """

    kind: str
    stage: str | None
    steps: tuple[Step, ...]


class PortalCore(World):
    """The state of a portal and what can be done with it; see :class:`~airflow_provider_b24.sandbox.SandboxPortal`."""

    webhook: Webhook
    application: Application

    def __init__(
        self,
        *,
        tariff: str,
        clock: Clock | None,
        access_token_lifetime: float,
        limits: bool,
        answers: AnswerRules,
        operating_bill: Literal["calls", "batch"],
        authorization: AuthorizationRules,
        https_required: bool,
        keep_requests: int,
    ) -> None:
        self.clock: Clock = clock or Clock()
        self.tariff = tariff
        self.member_id = secrets.token_hex(16)
        self.faults = Faults()
        #: Seconds of operating time every call of a method costs, by method name.
        self.operating_costs: dict[str, float] = {}
        self.operating_bill = operating_bill
        #: The one lock, and the signal that something in the portal has changed.
        self.changed = threading.Condition(threading.RLock())
        self.store = Store(self.clock)
        self.store.seed("department", [{"NAME": "Sandbox"}])
        self.callers = Callers(self.clock, access_token_lifetime, self.store.table("user"), authorization)
        self.robot_registry = RobotRegistry()
        self.disk = Disk()
        self.kept_results = KeptResults(self.clock)
        self.task_list = Tasks()
        self.events = Events()
        self.templates: dict[int, Template] = {}
        self.automations: list[Automation] = []
        self.triggers = Triggers()
        #: Number of the template added last.
        self.last_template = 0
        self._chain = 0
        #: Whether plain HTTP is refused.
        self.https_required = https_required
        #: Whether the portal is closed: every REST call is answered `PORTAL_DELETED`.
        self.closed = False
        #: Whether both limits are in force; operating time is accounted for in any case.
        self.limits = limits
        self.buckets = LeakyBuckets(self.clock, tariff)
        self.operating = OperatingTime(self.clock)
        self.queue_server = QueueServer(self.changed, self.clock, self._call_settled)
        self.engine = ProcessEngine(
            self, self.clock, self.robot_registry, EventTokens(), self.store, self.changed, answers
        )
        self.store.listeners.append(self._automate)
        self.journal = Journal(keep_requests)
        #: Told of everything that happens, one after the other.
        self.observers: list[Callable[[Happening], None]] = []
        #: Where every REST request is sent to by a redirect, if it is.
        self.moved_to: str | None = None
        self.host = ""
        self.url = ""

    # What there is

    @property
    def oauth_url(self) -> str:
        """Where the authorization server hands out tokens."""
        return f"{self.url}/oauth/token/"

    @property
    def requests(self) -> list[Request]:
        """The requests received, in order; the oldest are forgotten where there are too many."""
        with self.changed:
            return self.journal.all()

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
            return self.callers.add_user(name, last_name, admin=admin)

    def create_webhook(
        self, user_id: int = 1, scope: Iterable[str] = DEFAULT_SCOPE, *, code: str = ""
    ) -> Webhook:
        """Add an incoming webhook.

        :param scope: what it may do, such as `bizproc` and `crm`.
        :param code: its secret, a random one by default.
        """
        with self.changed:
            return self.callers.create_webhook(self.url, user_id, scope, code)

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

    def add_template(
        self,
        name: str,
        steps: Sequence[Step],
        document_type: DocumentId = _LEAD_TYPE,
        *,
        description: str = "",
        auto_execute: int = 0,
        client_id: str | None = None,
    ) -> int:
        """Add a template for `bizproc.workflow.start` and return its id.

        :param auto_execute: 1 starts it for every record that is created, 2 for every one that is changed, 3 for both.
        """
        with self.changed:
            self.last_template += 1
            number = self.last_template
            self.templates[number] = Template(
                number,
                name,
                tuple(steps),
                document_type,
                self.clock.now(),
                description,
                auto_execute,
                client_id,
            )
            return number

    def add_automation(self, kind: str, stage: str | None, steps: Sequence[Step]) -> None:
        """Add robots to a stage: every record that is created there or moved there starts a process of them.

        Records of :meth:`add_records` start none.

        :param kind: `lead`, `deal`, `contact`, `company` or `item:147`.
        :param stage: such as `NEW`, `PREPARATION` or `DT147_1:CLIENT`; `None` for every stage.
        :raises ValueError: when there are no such records.
        """
        with self.changed:
            if not self.store.table(kind).schema.entity_type_id:
                raise ValueError(f"Records of kind {kind} have no automation")
            self.automations.append(Automation(kind, stage, tuple(steps)))

    def add_trigger(
        self,
        code: str,
        kind: str,
        stage: str,
        *,
        application: Application | None = None,
        backwards: bool = False,
    ) -> None:
        """Put a trigger on a stage: `crm.automation.trigger.execute` moves records there, and starts its robots.

        :param code: the trigger's; it may be registered later.
        :param kind: `lead`, `deal` or `item:147`.
        :param stage: such as `WON` or `DT147_1:CLIENT`.
        :param application: whose trigger it is, any one's by default.
        :param backwards: whether it moves records from later stages, too.
        :raises ValueError: when such records have no stages.
        """
        with self.changed:
            if not self.store.table(kind).schema.stage:
                raise ValueError(f"Records of kind {kind} have no stages")
            client_id = application.client_id if application else None
            self.triggers.put(TriggerRule(client_id, code, kind, stage, backwards))

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
        with self.changed:
            again = self.queue_server.repost(call)
            self.engine.called_again(again)
            return again

    # Data

    def records(self, kind: str) -> Table:
        """Return the records behind the methods.

        :param kind: `lead`, `deal`, `contact`, `company`, `item:147`, `task`, `user`, `department`, `productrow`,
            `payment`, `delivery`, `recurring`; what people were told by `im.notify.system.add` is in `notification`.
        :raises ValueError: when there is no such kind.
        """
        with self.changed:
            return self.store.table(kind)

    def add_records(self, kind: str, records: int | Iterable[Mapping[str, Any]]) -> list[int]:
        """Store records without events and automation.

        :param kind: see :meth:`records`; `item:147` makes the smart process 147 if there is none.
        :param records: the records, or how many to make up. Names are those of the older methods or of
            `crm.item.*`; what is no field of the kind becomes one.
        :returns: their numbers.
        :raises ValueError: for a value that does not fit its field, or a number that is taken.
        """
        with self.changed:
            return self.store.seed(kind, records)

    def record(self, request: Request) -> None:
        """Remember a request."""
        with self.changed:
            self.journal.add(request)
            self.changed.notify_all()

    def tell(self, happening: Happening) -> None:
        """Tell all who want to know."""
        for observer in self.observers:
            observer(happening)

    def answered(self, answer: AcceptedAnswer) -> None:
        """Take note of an answer that a process has accepted."""
        self.tell(answer)

    def reset(self) -> None:
        """Forget what has happened: processes, tasks, calls, requests, records of the CRM, faults, used-up limits.

        People, credentials, robots, subscriptions, templates, automation and triggers stay.
        """
        with self.changed:
            self.engine.forget()
            self.task_list.forget()
            self.queue_server.forget()
            self.journal.forget()
            self.store.forget()
            self.faults.clear()
            self.buckets.empty()
            self.operating.forget()
            self.operating_costs.clear()
            self.closed, self.moved_to = False, None
            self.changed.notify_all()

    def add_file(self, name: str, data: bytes, *, user_id: int = 1) -> int:
        """Put a file on the Drive and return its number, for `disk.file.get`."""
        with self.changed:
            return self.disk.add(name, data, user_id, self.clock.now()).id

    # Automation

    def _call_settled(self, call: Call) -> None:
        self.tell(call)
        if not call.refused:
            return
        outcome = f"answered {call.status}" if call.error is None else f"could not be called: {call.error}"
        if call.kind == "robot":
            code = call.fields.get("code")
            text = f"The handler of {code}, {call.url}, {outcome}. Bitrix24 does not call again"
            self.engine.complain(str(call.fields.get("workflow_id")), text)
        elif call.kind == "event":
            _log.warning("The handler of %s, %s, %s", call.fields.get("event"), call.url, outcome)

    def _automate(self, change: Change) -> None:
        if change.verb == "delete" or not self.store.table(change.kind).schema.entity_type_id:
            return
        started = [
            (automation.steps, 0)
            for automation in self.automations
            if automation.kind == change.kind and change.moved and automation.stage in (None, change.stage)
        ]
        document_id = document_of(change.kind, change.number)
        wanted = 1 if change.verb == "add" else 2
        started += [
            (template.steps, template.id)
            for template in self.templates.values()
            if template.auto_execute & wanted and template.document_type == document_type(document_id)
        ]
        if self._chain >= _CHAIN:
            _log.error("Processes at %s start each other in a circle: no more are started", document_id[2])
            return
        self._chain += 1
        try:
            for steps, template_id in started:
                self.engine.start(steps, document_id, template_id=template_id, user_id=change.user_id)
        finally:
            self._chain -= 1


def document_of(kind: str, number: int) -> DocumentId:
    """Return the id that processes have for a record: `DYNAMIC_147_1` for number 1 of `item:147`."""
    name = "SMART_INVOICE" if kind == "item:31" else kind.upper().replace("ITEM:", "DYNAMIC_")
    return "crm", _CLASSES.get(kind, _DYNAMIC), f"{name}_{number}"
