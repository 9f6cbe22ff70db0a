"""Checks of the portal's side: address, credentials, permissions, clock, limits, robots."""

from __future__ import annotations

from datetime import datetime

from airflow_provider_b24.doctor.examination import Answers, Examination
from airflow_provider_b24.doctor.finding import Finding
from airflow_provider_b24.exceptions import AuthError, Bitrix24Error, RateLimitError
from airflow_provider_b24.rest.call import Reply
from airflow_provider_b24.rest.credentials import portal_host
from airflow_provider_b24.rest.pacing import OPERATING_LIMIT

_NEEDED_SCOPES = frozenset({"bizproc"})
_SKEW_TO_MENTION, _SKEW_THAT_HARMS = 10.0, 60.0


def check_address(examination: Examination) -> Finding:
    """Check that the portal answers at the connection's address."""
    answers, host = examination.answers, portal_host(examination.connection.portal_url)
    if isinstance(answers, Answers):
        if answers.portal != host:
            return Finding(
                "address",
                "warning",
                f"The portal has moved from {host} to {answers.portal}; every request takes a detour.",
                f"Enter {answers.portal} as host of the connection.",
            )
        return Finding("address", "ok", f"{host} answers.")
    if answers.status is not None and isinstance(answers, (AuthError, RateLimitError)):
        return Finding("address", "ok", f"{host} answers.")
    if isinstance(answers, AuthError):
        return Finding("address", "unknown", f"{host} was not asked: there are no tokens to ask it with.")
    return Finding(
        "address",
        "failed",
        f"{host} does not answer as a portal does: {answers}",
        "Check the connection's host; check that this machine can reach it (name service, firewall, proxy).",
    )


def check_credentials(examination: Examination) -> Finding:
    """Check that the portal accepts the credentials."""
    answers = examination.answers
    if isinstance(answers, Answers):
        profile = answers.result("profile") or {}
        name = f"{profile.get('NAME') or ''} {profile.get('LAST_NAME') or ''}".strip()
        return Finding("credentials", "ok", f"Calls are made for {name or 'a user without a name'}.")
    if isinstance(answers, AuthError):
        advice = (
            f"Install the application in Bitrix24, or run `airflow-b24 connect {examination.connection.conn_id}`."
            if examination.connection.kind == "oauth"
            else "Make a new incoming webhook in Bitrix24, and enter its URL as host of the connection."
        )
        return Finding("credentials", "failed", f"The credentials are not accepted: {answers}", advice)
    return _not_asked("credentials", answers)


def check_scopes(examination: Examination) -> Finding:
    """Check that the credentials allow what robots need."""
    answers = examination.answers
    if not isinstance(answers, Answers):
        return _not_asked("scopes", answers)
    granted = answers.result("scope")
    if not isinstance(granted, list):
        return _refused("scopes", answers, "scope")
    missing = sorted(_NEEDED_SCOPES - {str(scope) for scope in granted})
    if missing:
        return Finding(
            "scopes",
            "failed",
            f"Permissions are missing: {', '.join(missing)}.",
            "Add them in the card of the application or webhook in Bitrix24. Then connect an application again.",
        )
    return Finding("scopes", "ok", f"Permitted: {', '.join(sorted(map(str, granted)))}.")


def check_administrator(examination: Examination) -> Finding:
    """Check that the user behind the credentials may register robots."""
    answers = examination.answers
    if not isinstance(answers, Answers):
        return _not_asked("administrator", answers)
    profile = answers.result("profile")
    if not isinstance(profile, dict):
        return _refused("administrator", answers, "profile")
    if profile.get("ADMIN") is True and answers.result("user.admin") is not False:
        return Finding("administrator", "ok", "The user is an administrator.")
    return Finding(
        "administrator",
        "failed",
        "The user is no administrator: robots can be answered, but not registered.",
        "Let an administrator of the portal connect the application, or make the webhook.",
    )


def check_application(examination: Examination) -> Finding:
    """Check that the credentials are those of an installed application."""
    answers = examination.answers
    if examination.connection.kind == "webhook":
        return Finding(
            "application",
            "warning",
            "The connection is an incoming webhook: it can call methods, but not register robots.",
            "To register robots, add a local application in Bitrix24 and enter its client_id and client_secret.",
        )
    if not isinstance(answers, Answers):
        return _not_asked("application", answers)
    info = answers.result("app.info")
    if not isinstance(info, dict):
        return _refused("application", answers, "app.info")
    if info.get("INSTALLED") is False:
        return Finding(
            "application",
            "failed",
            "The installation is not finished: Bitrix24 sends no events and starts no robots.",
            "Open the application in Bitrix24 as an administrator.",
        )
    if info.get("PAYMENT_EXPIRED") == "Y":
        return Finding(
            "application",
            "failed",
            "The application's paid or trial period is over.",
            "Renew it in Bitrix24.",
        )
    return Finding("application", "ok", f"The application {info.get('CODE') or info.get('ID')} is installed.")


def check_clock(examination: Examination) -> Finding:
    """Check that this machine and the portal agree on the time."""
    answers = examination.answers
    if not isinstance(answers, Answers):
        return _not_asked("clock", answers)
    try:
        there = datetime.fromisoformat(str(answers.result("server.time"))).timestamp()
    except ValueError:
        return _refused("clock", answers, "server.time")
    skew = there - answers.asked_at
    if abs(skew) < _SKEW_TO_MENTION:
        return Finding("clock", "ok", "This machine's clock and the portal's agree.")
    return Finding(
        "clock",
        "failed" if abs(skew) > _SKEW_THAT_HARMS else "warning",
        f"The portal's clock is {abs(skew):.0f} seconds {'ahead of' if skew > 0 else 'behind'} this machine's: "
        "deadlines of robot calls are met too late or too early.",
        "Synchronize this machine's clock (NTP).",
    )


def check_limits(examination: Examination) -> Finding:
    """Check that there is room left in the portal's limits, and the connection knows the tariff."""
    answers = examination.answers
    if isinstance(answers, RateLimitError):
        return Finding(
            "limits",
            "failed",
            f"The portal refuses requests: {answers}",
            "Find out what else calls the portal from this machine's address, and slow it down.",
        )
    if not isinstance(answers, Answers):
        return _not_asked("limits", answers)
    used = {
        method: reply.time.operating
        for method, reply in answers.replies.items()
        if isinstance(reply, Reply) and reply.time is not None and reply.time.operating is not None
    }
    method, seconds = max(used.items(), key=lambda one: one[1], default=("", 0.0))
    known = f"Operating time: at most {seconds:.0f} of {OPERATING_LIMIT:.0f} seconds in ten minutes"
    unknown = "How full the request limit is, the portal does not tell."
    if seconds > 0.8 * OPERATING_LIMIT:
        return Finding(
            "limits",
            "warning",
            f"{known} ({method}). {unknown}",
            "Ask the portal for less, or less often: the method will be closed.",
        )
    family = (answers.result("app.info") or {}).get("LICENSE_FAMILY")
    tariff = examination.connection.tariff
    if family and (family == "ent") != (tariff == "enterprise"):
        right = "enterprise" if family == "ent" else "standard"
        return Finding(
            "limits",
            "warning",
            f"The connection says {tariff}, but the portal's tariff is {right}.",
            f"Set tariff to {right} in the connection.",
        )
    return Finding("limits", "ok", f"{known}. {unknown}")


def check_robots(examination: Examination) -> Finding:
    """Check that the portal has the robots of the DAG folder."""
    from airflow_provider_b24.hooks.bitrix24 import Bitrix24Hook
    from airflow_provider_b24.robots.definition import RobotDefinitionError
    from airflow_provider_b24.robots.registry import RegistryError, make_plan

    answers, conn_id = examination.answers, examination.connection.conn_id
    if not isinstance(answers, Answers):
        return _not_asked("robots", answers)
    if examination.connection.kind == "webhook":
        return Finding("robots", "unknown", "A webhook is not told which robots there are.")
    try:
        with Bitrix24Hook(conn_id) as hook:
            plan = make_plan(hook, examination.folder)
    except (RegistryError, RobotDefinitionError, Bitrix24Error, OSError, ValueError) as error:
        return Finding(
            "robots", "failed", f"The robots cannot be compared: {error}", "Fix this, then try again."
        )
    if plan.broken:
        return Finding(
            "robots",
            "failed",
            f"DAG files are broken: {', '.join(plan.broken)}.",
            f"`airflow-b24 robots plan --conn-id {conn_id}` shows what is wrong with them.",
        )
    counts = {action: len(plan.of(action)) for action in ("unchanged", "add", "update", "delete")}
    told = ", ".join(
        f"{counts[action]} {word}"
        for action, word in (
            ("unchanged", "as declared"),
            ("add", "not registered"),
            ("update", "outdated"),
            ("delete", "without a DAG"),
        )
        if counts[action] or action == "unchanged"
    )
    if plan.changes_something:
        return Finding(
            "robots",
            "warning",
            f"Robots: {told}.",
            f"Run `airflow-b24 robots apply --conn-id {conn_id}`.",
        )
    return Finding("robots", "ok", f"Robots: {told}.")


def _not_asked(check: str, error: Bitrix24Error) -> Finding:
    return Finding(check, "unknown", f"Not checked, because the portal could not be asked ({error.code}).")


def _refused(check: str, answers: Answers, method: str) -> Finding:
    reply = answers.replies[method]
    why = str(reply) if isinstance(reply, Bitrix24Error) else f"{method} gave an unexpected answer"
    return Finding(
        check, "failed", f"The portal does not say: {why}", "Check the application's rights in Bitrix24."
    )
