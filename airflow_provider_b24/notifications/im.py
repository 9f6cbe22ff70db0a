"""Telling a person in Bitrix24 from a callback: :class:`ImNotifySystemAddNotifier`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import BaseNotifier

from airflow_provider_b24.hooks.connection import DEFAULT_CONN_ID
from airflow_provider_b24.operators.im import NOTIFY, notification_params

if TYPE_CHECKING:
    from airflow.sdk import Context

PATIENCE = 30.0
"""Seconds to try. The DAG processor, where DAG callbacks run, ends a file's process after 50 s by default."""


class ImNotifySystemAddNotifier(BaseNotifier):
    """Send a person a notification of the portal, from a callback of a DAG or task, or when a deadline is over.

    What may pass is retried for half a minute.

    :param user_id: the person, as ``14`` or ``user_14``. (templated)
    :param message: the text; Bitrix24's BB codes are understood. (templated)
    :param message_out: the text for other ways, such as mail; without it, that of ``message``. (templated)
    :param tag: a new notification takes the place of an older one with the same tag; without one, a notification that
        may have been sent is not repeated. (templated)
    :param bitrix24_conn_id: the Airflow connection, with scope ``im``. (templated)

    Source: https://apidocs.bitrix24.com/api-reference/chats/notifications/im-notify-system-add.html
    """

    template_fields: Sequence[str] = ("user_id", "message", "message_out", "tag", "bitrix24_conn_id")

    def __init__(
        self,
        *,
        user_id: int | str,
        message: str,
        message_out: str | None = None,
        tag: str | None = None,
        bitrix24_conn_id: str = DEFAULT_CONN_ID,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.user_id = user_id
        self.message = message
        self.message_out = message_out
        self.tag = tag
        self.bitrix24_conn_id = bitrix24_conn_id

    def notify(self, context: Context) -> None:
        """Send the notification.

        :raises Bitrix24Error: when the portal refused, or could not be reached in time.
        :raises ValueError: when it cannot be sent.
        """
        from airflow_provider_b24.hooks.bitrix24 import Bitrix24Hook

        with Bitrix24Hook(self.bitrix24_conn_id, timeout=PATIENCE / 3) as hook:
            client = hook.get_conn()
            reply = client.call(NOTIFY, self._params(), deadline=PATIENCE, repeatable=bool(self.tag))
        self._tell(reply.result)

    async def async_notify(self, context: Context) -> None:
        """Send the notification from the triggerer, where deadlines call back.

        :raises Bitrix24Error: when the portal refused, or could not be reached in time.
        :raises ValueError: when it cannot be sent.
        """
        from airflow_provider_b24.hooks.bitrix24 import Bitrix24Hook

        async with Bitrix24Hook(self.bitrix24_conn_id, timeout=PATIENCE / 3) as hook:
            client = await hook.get_async_conn()
            reply = await client.call(NOTIFY, self._params(), deadline=PATIENCE, repeatable=bool(self.tag))
        self._tell(reply.result)

    def _params(self) -> dict[str, Any]:
        return notification_params(self.user_id, self.message, self.message_out, self.tag)

    def _tell(self, number: object) -> None:
        if number:
            self.log.info("User %s has been notified in Bitrix24.", self.user_id)
        else:
            self.log.warning("The portal made no notification for user %s.", self.user_id)
