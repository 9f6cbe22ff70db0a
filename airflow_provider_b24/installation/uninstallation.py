"""The end of an installation: Bitrix24 says that the application was uninstalled, and the portal must bear it out.

The event carries no tokens, and its ``application_token`` is in every robot call: who has seen the body of one could
forge it. So the portal is asked with the stored tokens. Only a portal, or an authorization server, that does not accept
the application any longer makes it an uninstallation.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from airflow_provider_b24.exceptions import AuthError, Bitrix24Error
from airflow_provider_b24.hooks.installations import Installation, InstallationStore
from airflow_provider_b24.hooks.tokens import VariableTokenStore, seed_of
from airflow_provider_b24.installation.client import short_timeout_client
from airflow_provider_b24.installation.refusals import (
    refusal,
    require_application,
    require_application_token,
    require_portal,
)

if TYPE_CHECKING:
    from airflow_provider_b24.hooks.connection import PortalConnection

#: What portals and the authorization server say to an application that they do not know, or not any longer.
_GONE = frozenset({
    "APPLICATION_NOT_FOUND", "INVALID_CLIENT", "INVALID_CREDENTIALS", "INVALID_GRANT", "INVALID_TOKEN", "NOT_INSTALLED",
    "NO_AUTH_FOUND", "WRONG_CLIENT",
})  # fmt: skip


def check_claims(
    connection: PortalConnection, application_token: str, member_id: str, event_time: float | None = None
) -> bool:
    """Check what can be compared without asking anyone.

    :param connection: as Airflow has it.
    :param event_time: when the event was sent, Unix time by Bitrix24's clock.
    :return: ``False`` when there is nothing to do: the event is older than the installation and means one before it,
        or is known already.
    :raises InstallationRefusedError: when the application token or the portal is not the known one.
    """
    require_application(connection)
    known = InstallationStore(connection).read()
    expected = connection.application_token or (known.application_token if known else None)
    if expected is None:
        raise refusal(
            connection, "unknown_application_token", "It has no application_token to verify the event with."
        )
    require_application_token(connection, application_token, expected)
    require_portal(connection, known, member_id)
    if known is None:
        return True
    is_old = event_time is not None and event_time < (known.event_time or 0)
    return not is_old and not known.uninstalled_beside(connection.tokens)


def uninstall(connection: PortalConnection, member_id: str) -> bool:
    """Disable an application, when its portal does not accept it any longer.

    :param connection: as Airflow has it; the event was compared with it, see :func:`check_claims`.
    :param member_id: the portal that the event names.
    :return: ``False`` when the application was connected anew meanwhile, and nothing has changed.
    :raises InstallationRefusedError: when the portal still accepts the application, or there are no tokens to ask with.
    :raises Bitrix24Error: when the portal or the authorization server cannot be asked; nothing has changed.

    Source: https://apidocs.bitrix24.com/api-reference/common/events/on-app-uninstall.html
    """
    store = InstallationStore(connection)
    known, tokens = store.read(), VariableTokenStore(connection)
    _require_gone(connection, tokens)
    installed_at = known.installed_at if known else None
    changed = False

    def change(before: Installation) -> Installation | None:
        nonlocal changed
        changed = before.installed_at == installed_at
        if not changed:
            return None
        return Installation(
            before.client_id,
            seed=seed_of(connection.tokens),
            application_token=before.application_token,
            member_id=before.member_id or member_id,
            uninstalled_at=time.time(),
        )

    store.update(change)
    if changed:
        tokens.clear()
    return changed


def _require_gone(connection: PortalConnection, tokens: VariableTokenStore) -> None:
    if tokens.load() is None:
        raise refusal(
            connection,
            "no_tokens",
            "It has no tokens to ask the portal with whether its application was uninstalled.",
        )
    try:
        with short_timeout_client(connection, tokens) as client:
            client.call("app.info")
    except Bitrix24Error as error:
        if error.retryable or not _means_gone(error):
            raise
        return
    raise refusal(
        connection,
        "still_installed",
        "An event says that its application was uninstalled, and the portal still accepts it. Unless the application "
        "is just being removed, the event is forged by someone who has seen the body of a call, and knows the "
        "application_token in it.",
    )


def _means_gone(error: Bitrix24Error) -> bool:
    return error.code.upper() in _GONE or (isinstance(error, AuthError) and error.status == 401)
