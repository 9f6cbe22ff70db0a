"""Make the table of calls and the table of refused posts."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from airflow_provider_b24.calls.migrations import INSTANT, LONG_TEXT

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply the change."""
    op.create_table(
        "bitrix24_call",
        sa.Column("id", sa.String(32), primary_key=True),
        sa.Column("conn_id", sa.String(250), nullable=False),
        sa.Column("code", sa.String(255), nullable=False),
        sa.Column("dag_id", sa.String(250), nullable=False),
        sa.Column("run_id", sa.String(64), nullable=False),
        sa.Column("process", sa.String(255), nullable=False),
        sa.Column("document", sa.String(765), nullable=False),
        sa.Column("waits", sa.Boolean, nullable=False),
        sa.Column("sent_at", INSTANT, nullable=False),
        sa.Column("received_at", INSTANT, nullable=False),
        sa.Column("process_ends_at", INSTANT),
        sa.Column("answer_by", INSTANT),
        sa.Column("answered_at", INSTANT),
        sa.Column("state", sa.String(24), nullable=False),
        sa.Column("reason", sa.Text),
        sa.Column("last_error", sa.Text),
        sa.Column("answered_by", sa.String(250)),
        sa.Column("payload", LONG_TEXT),
        sa.Column("answer", LONG_TEXT),
        sa.Column("answering", sa.String(24)),
        sa.Column("answering_by", sa.String(250)),
        sa.Column("attempts", sa.Integer, nullable=False),
        sa.Column("due_at", INSTANT, nullable=False),
        sa.Column("leased_by", sa.String(64)),
        sa.Column("leased_until", INSTANT),
        sa.Column("maybe_sent_at", INSTANT),
        sa.Column("maybe_sent_by", sa.String(250)),
    )
    op.create_index("idx_bitrix24_call_state_due", "bitrix24_call", ["state", "due_at"])
    op.create_index("idx_bitrix24_call_received", "bitrix24_call", ["received_at", "id", "state", "dag_id"])
    op.create_index("idx_bitrix24_call_run", "bitrix24_call", ["dag_id", "run_id"])
    op.create_index("idx_bitrix24_call_process", "bitrix24_call", ["process"])
    op.create_table(
        "bitrix24_refusal",
        sa.Column("conn_id", sa.String(250), primary_key=True),
        sa.Column("error", sa.String(40), primary_key=True),
        sa.Column("number", sa.Integer, nullable=False),
        sa.Column("first_at", INSTANT, nullable=False),
        sa.Column("last_at", INSTANT, nullable=False),
        sa.Column("message", sa.String(500), nullable=False),
    )


def downgrade() -> None:
    """Take the change back."""
    op.drop_table("bitrix24_refusal")
    op.drop_table("bitrix24_call")
