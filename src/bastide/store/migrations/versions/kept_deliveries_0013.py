"""An index of the deliveries that are not over: to ask for those of an account does not take the longer the longer its history is."""

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None


def upgrade() -> None:
    kept = sa.text("state = 'pending' OR sealed IS NOT NULL")
    op.create_index(
        "ix_password_deliveries_kept",
        "password_deliveries",
        ["object_id"],
        sqlite_where=kept,
        postgresql_where=kept,
    )
