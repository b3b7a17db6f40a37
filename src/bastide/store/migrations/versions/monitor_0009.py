"""What is watched in the directories, and what was found."""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "monitor_domains",
        sa.Column("side", sa.String(length=16), nullable=False),
        sa.Column("doc", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("side", name="pk_monitor_domains"),
    )
    op.create_table(
        "monitor_objects",
        sa.Column("side", sa.String(length=16), nullable=False),
        sa.Column("guid", sa.String(length=64), nullable=False),
        sa.Column("doc", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("side", "guid", name="pk_monitor_objects"),
    )
    op.create_table(
        "monitor_findings",
        sa.Column("key", sa.String(length=512), nullable=False),
        sa.Column("found_at", sa.BigInteger(), nullable=False),
        sa.Column("doc", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("key", name="pk_monitor_findings"),
    )
