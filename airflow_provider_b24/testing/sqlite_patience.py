"""How long the parts of a local Airflow wait for each other's writes to SQLite.

Five seconds is what SQLite's driver waits by itself, and Airflow's API server can hold the database as long: it writes
its audit log in the event loop that another of its writes needs to end. The other parts must outlast that: the
triggerer ends when it does not get the database in time. The API server must not wait longer, or it would hold the
database longer as well.
"""

from __future__ import annotations

import sys

SECONDS = 60.0

CONNECT_ARGS: dict[str, object] = {} if "api-server" in sys.argv else {"timeout": SECONDS}
"""For ``[database] sql_alchemy_connect_args``."""
