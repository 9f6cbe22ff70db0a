"""Notifications for people."""

from __future__ import annotations

from airflow_provider_b24.sandbox.errors import RestError
from airflow_provider_b24.sandbox.method import Method, MethodCall


def _notify(call: MethodCall) -> int:
    user_id = call.integer("USER_ID")
    if user_id <= 0:
        raise RestError(400, "USER_ID_EMPTY", "User ID can't be empty")
    message = call.text("MESSAGE").strip()
    if not message:
        raise RestError(400, "MESSAGE_EMPTY", "Message can't be empty")
    notification = {"USER_ID": user_id, "MESSAGE": message, "TAG": call.text("TAG")}
    notification |= {"MESSAGE_OUT": call.text("MESSAGE_OUT"), "SUB_TAG": call.text("SUB_TAG")}
    # What is attached is kept as it came; a client id is for senders without an application.
    notification |= {name: call.params.get(name) for name in ("ATTACH", "CLIENT_ID") if call.params.get(name)}
    return call.portal.store.create("notification", notification, call.caller.user.id)


METHODS = (Method("im.notify.system.add", "im", _notify),)
