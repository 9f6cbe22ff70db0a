"""Who looks at a page: signed in to Airflow, with the rights that its auth manager says, and a token against forgery.

Airflow does not authenticate requests to a mounted application, and knows no token for forms.
"""

from __future__ import annotations

import logging
from collections.abc import Collection
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from fastapi import Request  # noqa: TC002 - FastAPI resolves annotations here at run time
from itsdangerous import BadSignature, URLSafeTimedSerializer

from airflow_provider_b24._airflow.users import (
    login_url,
    may_edit_connection,
    may_edit_runs,
    may_see_connection,
    signed_in_user,
    with_visible_runs,
)
from airflow_provider_b24.receiver.answers import RefusedError

if TYPE_CHECKING:
    from airflow_provider_b24._airflow.users import BaseUser

log = logging.getLogger(__name__)

_TOKEN_SECONDS = 12 * 3600


class NotSignedInError(Exception):
    """Nobody is signed in.

    :param login_url: where to sign in; comes back to the page.
    """

    def __init__(self, login_url: str) -> None:
        super().__init__()
        self.login_url = login_url


@dataclass(frozen=True, slots=True)
class Visitor:
    """A user of Airflow who looks at a page. All questions may block."""

    user: Any

    @property
    def name(self) -> str:
        """As the audit log and the record of answers name the user."""
        return str(self.user.get_name())

    def visible(self, dag_ids: Collection[str]) -> set[str]:
        """Leave the DAGs whose calls the user may see."""
        return with_visible_runs(self.user, dag_ids)

    def may_see(self, dag_id: str) -> bool:
        """Whether the user may see the calls of a DAG."""
        return bool(self.visible([dag_id]))

    def may_answer(self, dag_id: str) -> bool:
        """Whether the user may answer the calls of a DAG."""
        return may_edit_runs(self.user, dag_id)

    def may_see_connection(self, conn_id: str | None) -> bool:
        """Whether the user may see a connection; ``None`` stands for those that do not exist."""
        return may_see_connection(self.user, conn_id)

    def may_edit_connection(self, conn_id: str) -> bool:
        """Whether the user may edit a connection."""
        return may_edit_connection(self.user, conn_id)

    def form_token(self) -> str:
        """Make the token that a form of this user carries."""
        return _serializer().dumps(str(self.user.get_id()))

    def check_form(self, request: Request, token: object) -> None:
        """Check that a form was sent from a page of this user.

        :raises RefusedError: when it was not, or the page was too old.
        """
        site = request.headers.get("sec-fetch-site")
        if site is not None and site != "same-origin":
            raise _forged()
        try:
            user_id = _serializer().loads(token if isinstance(token, str) else "", max_age=_TOKEN_SECONDS)
        except BadSignature:
            raise _forged() from None
        if user_id != str(self.user.get_id()):
            raise _forged()


async def visitor(request: Request) -> Visitor:
    """Tell who makes a request.

    :raises NotSignedInError: when nobody is signed in.
    """
    user: BaseUser | None = await signed_in_user(request)
    if user is None:
        raise NotSignedInError(login_url(str(request.url)))
    return Visitor(user)


def _forged() -> RefusedError:
    return RefusedError(
        403,
        "not_from_here",
        "Nothing was done: the form was not sent from a page of yours, or was hours old. Load it again.",
    )


def _serializer() -> URLSafeTimedSerializer:
    from airflow.configuration import conf

    return URLSafeTimedSerializer(
        conf.get_mandatory_value("api", "secret_key"), salt="airflow-provider-b24-pages"
    )
