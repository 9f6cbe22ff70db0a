"""The credentials of a portal's webhook and application, in a file that survives it."""

from __future__ import annotations

import dataclasses
import json
import os
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from airflow_provider_b24.sandbox.core import PortalCore

_SAFE = re.compile(r"[A-Za-z0-9._-]{8,200}")


@dataclass(frozen=True, slots=True)
class Credentials:
    """What a client needs to know of a portal beside its address."""

    member_id: str
    webhook_code: str = field(repr=False)
    client_id: str
    client_secret: str = field(repr=False)
    application_token: str = field(repr=False)
    access_token: str = field(repr=False)
    refresh_token: str = field(repr=False)

    @classmethod
    def of(cls, portal: PortalCore) -> Credentials:
        """Return those that are valid now."""
        application = portal.application
        return cls(
            member_id=portal.member_id,
            webhook_code=portal.webhook.code,
            client_id=application.client_id,
            client_secret=application.client_secret,
            application_token=application.application_token,
            access_token=application.access_token,
            refresh_token=application.refresh_token,
        )

    @classmethod
    def read(cls, file: Path) -> Credentials:
        """Read what :meth:`write` has written.

        :raises OSError: when the file cannot be read.
        :raises ValueError: when it does not have the credentials; the message has none of them.
        """
        try:
            given = json.loads(file.read_text())
        except ValueError:
            raise ValueError(f"{file} is not JSON") from None
        names = [entry.name for entry in dataclasses.fields(cls)]
        if not isinstance(given, dict) or given.keys() != set(names):
            raise ValueError(f"{file} must be a JSON object of {', '.join(names)}, and nothing else")
        for name in names:
            if not isinstance(given[name], str) or not _SAFE.fullmatch(given[name]):
                raise ValueError(
                    f"{file}: {name} must have 8 to 200 letters, digits, dots, dashes or underscores"
                )
        return cls(**given)

    def write(self, file: Path) -> None:
        """Write them into a file that its owner alone may read; it is whole at any time.

        :raises OSError: when that cannot be done.
        """
        draft = file.with_name(f".{file.name}.{os.getpid()}")
        with open(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as sink:
            json.dump(dataclasses.asdict(self), sink, indent=2)
        draft.replace(file)
