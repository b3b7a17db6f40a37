"""What is asked of the nodes' logs, what they answer, and which operations are traced."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "log_wishes",
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("made_at", sa.BigInteger(), nullable=False),
        sa.Column("doc", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_log_wishes"),
    )
    op.create_index("ix_log_wishes_made", "log_wishes", ["made_at"])
    op.create_table(
        "log_answers",
        sa.Column("wish", sa.String(length=64), nullable=False),
        sa.Column("node", sa.String(length=256), nullable=False),
        sa.Column("doc", sa.Text(), nullable=False),
        sa.Column("packed", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(["wish"], ["log_wishes.id"], name="fk_log_answers_wish", ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("wish", "node", name="pk_log_answers"),
    )
    op.create_table(
        "traces",
        sa.Column("operation", sa.String(length=64), nullable=False),
        sa.Column("ends_at", sa.BigInteger(), nullable=False),
        sa.Column("doc", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("operation", name="pk_traces"),
    )
