"""The event ``ONAPPTEST``: to the portal and back to the receiver, which shows what only an event of the portal can.

An authorization code brings tokens, but no ``application_token``. So the portal is asked to post a test event with a
random text in it. Whoever posts that text to the receiver has it from the portal, and is believed.
"""

from __future__ import annotations

import dataclasses
import hashlib
import secrets
import time
from typing import TYPE_CHECKING

from airflow_provider_b24.exceptions import Bitrix24Error
from airflow_provider_b24.hooks.addresses import events_url
from airflow_provider_b24.hooks.installations import Installation, InstallationStore, with_installation
from airflow_provider_b24.hooks.tokens import VariableTokenStore
from airflow_provider_b24.installation.client import short_timeout_client
from airflow_provider_b24.installation.refusals import (
    refusal,
    require_application,
    require_application_token,
    require_portal,
    same,
)

if TYPE_CHECKING:
    from airflow_provider_b24.hooks.connection import PortalConnection
    from airflow_provider_b24.rest import Bitrix24Client

CHALLENGE_SECONDS = 600.0


def arrange_events(connection: PortalConnection) -> list[str]:
    """Do what remains to be done after an installation, as far as the portal lets us.

    The portal shall tell when the application is uninstalled (unasked it does not), and a test event shall bring the
    application token if nothing else has. What fails does not undo the installation.

    :param connection: as Airflow has it.
    :return: what does not work, in sentences.

    Source: https://apidocs.bitrix24.com/api-reference/events/event-bind.html
    """
    problems = []
    with short_timeout_client(connection, VariableTokenStore(connection)) as client:
        try:
            _bind(client, "ONAPPUNINSTALL", events_url(connection.conn_id))
        except (Bitrix24Error, ValueError) as error:
            problems.append(
                f"The portal will not tell when the application is uninstalled, because this failed: {error}"
            )
        if with_installation(connection).application_token is None:
            try:
                request_test_event(connection, client)
            except (Bitrix24Error, ValueError) as error:
                problems.append(
                    "Robot calls will be refused until an application_token is known; asking the portal for it "
                    f"failed: {error}"
                )
    return problems


def request_test_event(connection: PortalConnection, client: Bitrix24Client) -> None:
    """Have the portal post a test event to the receiver, soon.

    :param connection: as Airflow has it.
    :raises Bitrix24Error: when the portal refuses.
    :raises ValueError: when this Airflow does not know its public address.

    Source: https://apidocs.bitrix24.com/api-reference/events/test-handler.html
    """
    require_application(connection)
    _bind(client, "ONAPPTEST", events_url(connection.conn_id))
    nonce = secrets.token_urlsafe(32)
    digest, until = _digest(nonce), time.time() + CHALLENGE_SECONDS
    InstallationStore(connection).update(
        lambda before: dataclasses.replace(before, challenge=digest, challenge_until=until)
    )
    client.call("event.test", {"challenge": nonce}, repeatable=False)


def take_test_event(
    connection: PortalConnection, challenge: str, application_token: str, member_id: str
) -> None:
    """Believe a test event that brings back what the portal was told, once.

    :param connection: as Airflow has it.
    :raises InstallationRefusedError: when it does not, or comes too late.
    """
    require_application(connection)

    def believe(before: Installation) -> Installation:
        expected, until = before.challenge, before.challenge_until
        if expected is None or until is None or time.time() > until or not same(_digest(challenge), expected):
            raise refusal(connection, "not_granted", "Nobody has asked for this test event.")
        require_portal(connection, before, member_id)
        require_application_token(connection, application_token, connection.application_token)
        return dataclasses.replace(
            before,
            application_token=application_token,
            challenge=None,
            challenge_until=None,
            reached_at=time.time(),
        )

    store = InstallationStore(connection)
    believe(store.read() or Installation(""))  # what anyone can post is refused without locking anything
    store.update(believe)


def _bind(client: Bitrix24Client, event: str, handler: str) -> None:
    bound = client.call("event.get").result or []
    if not any(one.get("event") == event and one.get("handler") == handler for one in bound):
        client.call("event.bind", {"event": event, "handler": handler})


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
