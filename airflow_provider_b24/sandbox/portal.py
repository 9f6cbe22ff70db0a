"""A whole Bitrix24 portal for one machine, and how to look into it."""

from __future__ import annotations

import socket
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self

from airflow_provider_b24.sandbox import notices
from airflow_provider_b24.sandbox.alarm import Alarm
from airflow_provider_b24.sandbox.http import FrontDoor
from airflow_provider_b24.sandbox.method import Portal
from airflow_provider_b24.sandbox.methods import all_methods, all_methods_of_rest3
from airflow_provider_b24.sandbox.oauth import AUTHORIZATION_HOSTS
from airflow_provider_b24.sandbox.server import AsgiApp, Server

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from airflow_provider_b24.sandbox.callers import Application, AuthorizationRules
    from airflow_provider_b24.sandbox.clock import Clock
    from airflow_provider_b24.sandbox.credentials import Credentials
    from airflow_provider_b24.sandbox.processes import AnswerRules, Process
    from airflow_provider_b24.sandbox.queue_server import Call
    from airflow_provider_b24.sandbox.records.store import Change
    from airflow_provider_b24.sandbox.robots import Robot
    from airflow_provider_b24.sandbox.state_file import StateFile
    from airflow_provider_b24.sandbox.steps import AskPerson

# What a portal consists of, apart from its address and what was recorded there.
_TAKEN_OVER = (
    "application",
    "automations",
    "buckets",
    "callers",
    "changed",
    "clock",
    "disk",
    "engine",
    "events",
    "last_template",
    "kept_results",
    "member_id",
    "operating",
    "queue_server",
    "robot_registry",
    "store",
    "task_list",
    "templates",
    "triggers",
)
_EVENTS = {
    "lead": "CRMLEAD",
    "deal": "CRMDEAL",
    "contact": "CRMCONTACT",
    "company": "CRMCOMPANY",
    "task": "TASK",
}


class SandboxPortal(Portal):
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
    :param authorization: what is said to wrong credentials. `portal`, as portals do it: `INVALID_CREDENTIALS` to a
        wrong webhook, `invalid_token` to a wrong access token, `APPLICATION_NOT_FOUND` to one of a removed application;
        `documentation`: `NO_AUTH_FOUND` to all of them.
    :param https_required: refuse plain HTTP, as portals do.
    :param host_names: further names that the certificate is for, such as `example.bitrix24.com`, where a client finds
        the portal under it. It is for `oauth.bitrix.info` and `oauth.bitrix24.tech` in any case: a request to one of
        them is answered as the authorization server does.
    :param keep_requests: how many requests are kept, fewer where their bodies are more than 32 MB together.
    :param credentials: those of its webhook and application, new ones by default.
    :param state_file: where everything is kept, so that the next portal goes on where this one has ended.
    :raises ValueError: when ``answers`` or ``authorization`` is none of these.
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
        authorization: AuthorizationRules = "portal",
        https_required: bool = False,
        host_names: Sequence[str] = (),
        keep_requests: int = 10_000,
        credentials: Credentials | None = None,
        state_file: StateFile | None = None,
    ) -> None:
        super().__init__(
            tariff=tariff,
            clock=clock,
            access_token_lifetime=access_token_lifetime,
            limits=limits,
            answers=answers,
            operating_bill=operating_bill,
            authorization=authorization,
            https_required=https_required,
            keep_requests=keep_requests,
        )
        self.methods = all_methods()
        self.methods3 = all_methods_of_rest3()
        self.store.listeners.append(self._announce)
        self._address = (host, port)
        self._https = https
        self._credentials = credentials
        self._state_file = state_file
        self._host_names = (*AUTHORIZATION_HOSTS, *host_names)
        self._server: Server | None = None
        self._directory: tempfile.TemporaryDirectory[str] | None = None
        self._alarm: Alarm | None = None
        self.ca_file: Path | None = None

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
        :raises OSError: when the address or the state's file cannot be used.
        :raises ValueError: when there is something else in that file.
        """
        if self._server is not None:
            raise RuntimeError("A sandbox portal starts once; make a new one")
        goes_on = self._state_file is not None and self._state_file.load(self)
        sock = socket.create_server(self._address, backlog=512)
        certificate = None
        if self._https:
            from airflow_provider_b24.sandbox.certificate import make_certificate

            self._directory = tempfile.TemporaryDirectory(prefix="bitrix24-sandbox-")
            certificate = make_certificate(Path(self._directory.name), self._address[0], self._host_names)
            self.ca_file = certificate[0]
        self.host = f"{self._address[0]}:{sock.getsockname()[1]}"
        self.url = f"{'https' if self._https else 'http'}://{self.host}"
        if goes_on:
            for webhook in list(self.callers.webhooks.values()):
                self.callers.move_webhook(webhook, self.url)
            self.webhook = self.callers.webhooks[self.webhook.user_id, self.webhook.code]
        else:
            self._create_credentials(self._credentials)
        self._server = Server(FrontDoor(self, self._pages, self.drop_connection), sock, certificate)
        self._server.start()
        self._alarm = Alarm(self.engine, self.clock, self._server.loop)
        self._alarm.set()
        if self._state_file is not None:
            self._state_file.keep(self)

    def _create_credentials(self, pinned: Credentials | None) -> None:
        if pinned is None:
            self.webhook = self.create_webhook()
            self.application = self.create_application()
            return
        self.member_id = pinned.member_id
        self.webhook = self.create_webhook(code=pinned.webhook_code)
        self.application = self.create_application(client_id=pinned.client_id)
        self.application.client_secret = pinned.client_secret
        self.application.application_token = pinned.application_token
        tokens = pinned.access_token, pinned.refresh_token
        self.application.keep(self.callers.tokens.issue(self.application, 1, *tokens))

    def stop(self) -> None:
        """Stop serving: connections are closed, the port is free, what was recorded stays readable."""
        if self._server is None:
            return
        if self._alarm is not None:
            self._alarm.stop()
            self._alarm = None
        self.queue_server.stop()
        self._server.stop()
        if self._state_file is not None:
            self._state_file.close(self)
        if self._directory is not None:
            self._directory.cleanup()

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
            self.triggers.forget(chosen.client_id)
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
            self.store.listeners[:] = [self._automate, self._announce]
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

    def call_robot(self, robot: Robot, call: Mapping[str, Any], user_id: int | None) -> Call:
        """Hand a robot call to the queue server."""
        return notices.robot_call(self, robot, call, user_id)

    def create_task(self, process: Process, step: AskPerson, activity: str) -> None:
        """Give someone a task."""
        self.task_list.create(process, step, activity, self.clock.now())

    def forget_tasks(self, process: Process) -> None:
        """Withdraw the tasks of a process that has ended."""
        self.task_list.cancel(process)

    def deadline_set(self) -> None:
        """Wake up when the next process loses its patience."""
        if self._alarm is not None:
            self._alarm.set()

    def _pages(self) -> AsgiApp:
        # Only people and the command line ask for pages: tests do not wait for this import.
        from airflow_provider_b24.sandbox.control import create_app

        return create_app(self)

    def _announce(self, change: Change) -> None:
        """Tell subscribers of a record that has changed."""
        fields: dict[str, Any] = {"ID": change.number}
        name = _EVENTS.get(change.kind)
        if change.kind.startswith("item:"):
            name = "CRMDYNAMICITEM"
            fields["ENTITY_TYPE_ID"] = int(change.kind.removeprefix("item:"))
        data: dict[str, Any] = {"FIELDS": fields}
        if change.kind == "task":
            # What was before and what is after, of which one is missing: that is how tasks tell it.
            data = {
                "FIELDS_BEFORE": "undefined" if change.verb == "add" else fields,
                "FIELDS_AFTER": "undefined" if change.verb == "delete" else fields,
            }
        if change.kind == "user" and change.verb == "add":
            notices.happened(self, "ONUSERADD", fields, change.user_id)
        if name is not None:
            event = f"ON{name}{change.verb.upper()}"
            notices.happened(self, event, data, change.user_id)
            if "ENTITY_TYPE_ID" in fields:
                notices.happened(self, f"{event}_{fields['ENTITY_TYPE_ID']}", data, change.user_id)
