"""Changes of roles that wait for a second administrator."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "role_proposals",
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("role_id", sa.String(length=64), nullable=False),
        sa.Column("made_at", sa.BigInteger(), nullable=False),
        sa.Column("doc", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_role_proposals"),
    )
    op.create_index("ix_role_proposals_role", "role_proposals", ["role_id"])
    op.create_index("ix_role_proposals_made", "role_proposals", ["made_at"])
