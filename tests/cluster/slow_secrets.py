"""A secrets backend that takes its time, as those in clouds do, and does not have most of what it is asked for."""

from __future__ import annotations

import json
import time
from pathlib import Path

from airflow.secrets import BaseSecretsBackend


class SlowSecretsBackend(BaseSecretsBackend):
    """Reads connections from a file.

    :param file: JSON: connection ids to connections. It is read each time.
    :param seconds: how long each look-up takes.
    """

    def __init__(self, file: str, seconds: float) -> None:
        super().__init__()
        self._file, self._seconds = Path(file), seconds

    def get_conn_value(self, conn_id: str, team_name: str | None = None) -> str | None:
        time.sleep(self._seconds)
        try:
            found = json.loads(self._file.read_text()).get(conn_id)
        except FileNotFoundError:
            return None
        return json.dumps(found) if found else None

    def get_variable(self, key: str, team_name: str | None = None) -> str | None:
        time.sleep(self._seconds)
        return None

    def get_config(self, key: str) -> str | None:
        return None
