"""Tell people something in Bitrix24."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import AirflowFailException

from airflow_provider_b24.hooks.connection import DEFAULT_CONN_ID
from airflow_provider_b24.operators._base import Bitrix24BaseOperator
from airflow_provider_b24.operators._failing import fail_at_once_unless_retryable
from airflow_provider_b24.operators._values import user_number

if TYPE_CHECKING:
    from airflow.sdk import Context


class ImNotifySystemAddOperator(Bitrix24BaseOperator):
    """Send a person a notification of the portal.

    Without a ``tag``, a notification that may have been sent is not repeated: the task fails.

    :param user_id: the person, as ``14`` or ``user_14``. (templated)
    :param message: the text; Bitrix24's BB codes are understood. (templated)
    :param message_out: the text for other ways, such as mail; without it, that of ``message``. (templated)
    :param tag: a new notification takes the place of an older one with the same tag. (templated)
    :param bitrix24_conn_id: the Airflow connection, with scope ``im``. (templated)
    :return: number of the notification.

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
        super().__init__(bitrix24_conn_id=bitrix24_conn_id, **kwargs)
        self.user_id = user_id
        self.message = message
        self.message_out = message_out
        self.tag = tag

    def execute(self, context: Context) -> int:
        """Send the notification."""
        try:
            params = notification_params(self.user_id, self.message, self.message_out, self.tag)
        except ValueError as error:
            raise AirflowFailException(f"Nothing was sent: {error}") from None
        with fail_at_once_unless_retryable(), self.hook as hook:
            number = hook.call(NOTIFY, params, repeatable=bool(self.tag))
        if not number:
            raise AirflowFailException(f"The portal made no notification for user {params['USER_ID']}.")
        return int(number)


NOTIFY = "im.notify.system.add"


def notification_params(
    user_id: int | str, message: str, message_out: str | None, tag: str | None
) -> dict[str, Any]:
    """Put together the parameters of ``im.notify.system.add``.

    :raises ValueError: when they cannot be sent; says why.
    """
    if not isinstance(message, str) or not message.strip():
        raise ValueError("message is empty.")
    params: dict[str, Any] = {"USER_ID": user_number(user_id, "user_id"), "MESSAGE": message}
    params |= {"MESSAGE_OUT": message_out} if message_out else {}
    # A tag is unique within an application; a webhook says by this name whose it is.
    return params | ({"TAG": tag, "CLIENT_ID": "airflow-provider-b24"} if tag else {})
