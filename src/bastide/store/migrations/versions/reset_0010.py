"""Self-service reset: registrations, drafts, resets, counts."""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "reset_registrations",
        sa.Column("person", sa.String(length=184), nullable=False),
        sa.Column("name", sa.String(length=768), nullable=False),
        sa.Column("doc", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("person", name="pk_reset_registrations"),
    )
    op.create_table(
        "reset_drafts",
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("expires_at", sa.BigInteger(), nullable=False),
        sa.Column("doc", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_reset_drafts"),
    )
    op.create_index("ix_reset_drafts_expires", "reset_drafts", ["expires_at"])
    op.create_table(
        "resets",
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("token_hash", sa.String(length=64), nullable=False),
        sa.Column("stop_hash", sa.String(length=64), nullable=False),
        sa.Column("person", sa.String(length=184), nullable=False),
        sa.Column("expires_at", sa.BigInteger(), nullable=False),
        sa.Column("doc", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_resets"),
        sa.UniqueConstraint("token_hash", name="uq_resets_token_hash"),
    )
    op.create_index("ix_resets_stop", "resets", ["stop_hash"])
    op.create_index("ix_resets_person", "resets", ["person"])
    op.create_index("ix_resets_expires", "resets", ["expires_at"])
    op.create_table(
        "reset_counts",
        sa.Column("kind", sa.String(length=32), nullable=False),
        sa.Column("key", sa.String(length=64), nullable=False),
        sa.Column("name", sa.String(length=768), nullable=False),
        sa.Column("forgotten_at", sa.BigInteger(), nullable=False),
        sa.Column("doc", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("kind", "key", name="pk_reset_counts"),
    )
    op.create_index("ix_reset_counts_name", "reset_counts", ["name"])
    op.create_index("ix_reset_counts_forgotten", "reset_counts", ["forgotten_at"])
