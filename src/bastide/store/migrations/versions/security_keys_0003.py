"""Security keys (WebAuthn), and what they are asked."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "security_keys",
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("person", sa.String(length=184), nullable=False),
        sa.Column("credential_hash", sa.String(length=64), nullable=False),
        sa.Column("doc", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_security_keys"),
        sa.UniqueConstraint("credential_hash", name="uq_security_keys_credential_hash"),
    )
    op.create_index("ix_security_keys_person", "security_keys", ["person"])
    op.create_table(
        "challenges",
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("person", sa.String(length=184), nullable=False),
        sa.Column("expires_at", sa.BigInteger(), nullable=False),
        sa.Column("doc", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_challenges"),
    )
    op.create_index("ix_challenges_person", "challenges", ["person"])
    op.create_index("ix_challenges_expires", "challenges", ["expires_at"])
