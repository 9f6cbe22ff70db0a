"""Migrations of the provider's tables, one file for each change under ``versions/``.

They make the same columns under every version of Airflow: nothing of it is used in them.
"""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy.dialects import mysql

INSTANT = sa.TIMESTAMP(timezone=True).with_variant(mysql.TIMESTAMP(fsp=6, timezone=True), "mysql")
"""The type of an instant, as Airflow's own tables have it."""

LONG_TEXT = sa.Text().with_variant(mysql.MEDIUMTEXT(), "mysql")
"""The type of a text that may be longer than the 64 KiB of MySQL's TEXT."""
