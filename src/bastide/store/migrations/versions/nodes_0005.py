"""Nodes, service partitions, and the floor: the oldest schema whose programs can work on this database.

A step that only adds leaves the floor where it is. One that takes something away that an earlier program uses raises it.
"""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

#: Of the database, not of a partition (services/pace.py, SHARED, as it was then).
_SHARED = ("checkpoint", "export", "mark", "notify", "watch")


def upgrade() -> None:
    op.create_table(
        "nodes",
        sa.Column("name", sa.String(length=256), nullable=False),
        sa.Column("url", sa.Text(), nullable=False),
        sa.Column("partition", sa.String(length=64), nullable=False),
        sa.Column("version", sa.String(length=64), nullable=False),
        sa.Column("schema", sa.String(length=32), nullable=False),
        sa.Column("process", sa.String(length=256), nullable=False),
        sa.Column("rhythm", sa.BigInteger(), nullable=False),
        sa.Column("started_at", sa.BigInteger(), nullable=False),
        sa.Column("heartbeat", sa.BigInteger(), nullable=False),
        sa.Column("draining", sa.Boolean(), nullable=False),
        sa.Column("left_at", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("name", name="pk_nodes"),
    )
    # With a default, because programs of 0004 plan work without naming one.
    op.add_column(
        "work", sa.Column("partition", sa.String(length=64), nullable=False, server_default="default")
    )
    work = sa.table("work", sa.column("kind"), sa.column("partition"))
    op.execute(sa.update(work).where(work.c.kind.in_(_SHARED)).values(partition=""))
    floor = op.create_table(
        "schema_floor",
        sa.Column("id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("version", sa.String(length=32), nullable=False),
        sa.CheckConstraint("id = 1", name="ck_schema_floor_one_row"),
        sa.PrimaryKeyConstraint("id", name="pk_schema_floor"),
    )
    op.bulk_insert(floor, [{"id": 1, "version": "0004"}])
