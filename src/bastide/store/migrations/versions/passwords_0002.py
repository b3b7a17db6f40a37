"""Password synchronization: management agents, connector space, metaverse, notifications and deliveries."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    _spaces()
    _changes()
    _states()
    switch = sa.table("password_switch", sa.column("id"), sa.column("enabled"))
    op.bulk_insert(switch, [{"id": 1, "enabled": False}])


def _spaces() -> None:
    op.create_table(
        "management_agents",
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("name_key", sa.String(length=768), nullable=False),
        sa.Column("source_domain", sa.String(length=768), nullable=True),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("doc", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_management_agents"),
        sa.UniqueConstraint("name_key", name="uq_management_agents_name_key"),
        sa.UniqueConstraint("source_domain", name="uq_management_agents_source_domain"),
    )
    op.create_table(
        "mv_objects",
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("search_key", sa.Text(), nullable=False),
        sa.Column("doc", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_mv_objects"),
    )
    op.create_table(
        "cs_objects",
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("ma_id", sa.String(length=64), nullable=False),
        sa.Column("anchor_key", sa.String(length=64), nullable=False),
        sa.Column("link", sa.String(length=16), nullable=False),
        sa.Column("mv_id", sa.String(length=64), nullable=True),
        sa.Column("search_key", sa.Text(), nullable=False),
        sa.Column("doc", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(
            ["ma_id"], ["management_agents.id"], name="fk_cs_objects_ma_id", ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name="pk_cs_objects"),
    )
    op.create_index("ix_cs_objects_anchor", "cs_objects", ["ma_id", "anchor_key"], unique=True)
    op.create_index("ix_cs_objects_link", "cs_objects", ["ma_id", "link"])
    op.create_index("ix_cs_objects_mv", "cs_objects", ["mv_id"])
    op.create_table(
        "management_agent_secrets",
        sa.Column("ma_id", sa.String(length=64), nullable=False),
        sa.Column("sealed", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(
            ["ma_id"], ["management_agents.id"], name="fk_management_agent_secrets_ma_id", ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("ma_id", name="pk_management_agent_secrets"),
    )
    op.create_table(
        "mv_values",
        sa.Column("mv_id", sa.String(length=64), nullable=False),
        sa.Column("attribute", sa.String(length=256), nullable=False),
        sa.Column("value_key", sa.String(length=64), nullable=False),
        sa.ForeignKeyConstraint(["mv_id"], ["mv_objects.id"], name="fk_mv_values_mv_id", ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("mv_id", "attribute", "value_key", name="pk_mv_values"),
    )
    op.create_index("ix_mv_values_value", "mv_values", ["attribute", "value_key"])


def _changes() -> None:
    op.create_table(
        "password_changes",
        sa.Column("reference", sa.String(length=64), nullable=False),
        sa.Column("ma_id", sa.String(length=64), nullable=True),
        sa.Column("object_id", sa.String(length=64), nullable=True),
        sa.Column("domain", sa.String(length=768), nullable=False),
        sa.Column("user_guid", sa.String(length=64), nullable=False),
        sa.Column("account_key", sa.String(length=768), nullable=False),
        sa.Column("receipt", sa.String(length=32), nullable=False),
        sa.Column("received_at", sa.BigInteger(), nullable=False),
        sa.Column("doc", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("reference", name="pk_password_changes"),
    )
    op.create_index("ix_password_changes_account", "password_changes", ["account_key"])
    op.create_index("ix_password_changes_received", "password_changes", ["received_at", "reference"])
    op.create_index("ix_password_changes_user", "password_changes", ["user_guid"])
    op.create_table(
        "password_deliveries",
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("reference", sa.String(length=64), nullable=False),
        sa.Column("ma_id", sa.String(length=64), nullable=False),
        sa.Column("object_id", sa.String(length=64), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("sealed", sa.LargeBinary(), nullable=True),
        sa.Column("doc", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(
            ["reference"],
            ["password_changes.reference"],
            name="fk_password_deliveries_reference",
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name="pk_password_deliveries"),
    )
    op.create_index("ix_password_deliveries_object", "password_deliveries", ["object_id", "state"])
    op.create_index("ix_password_deliveries_reference", "password_deliveries", ["reference"])
    op.create_index("ix_password_deliveries_state", "password_deliveries", ["state", "ma_id", "created_at"])


def _states() -> None:
    op.create_table(
        "password_sources",
        sa.Column("object_id", sa.String(length=64), nullable=False),
        sa.Column("changed_at", sa.BigInteger(), nullable=False),
        sa.Column("revision", sa.BigInteger(), nullable=False),
        sa.Column("day_began", sa.BigInteger(), nullable=False),
        sa.Column("count", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("object_id", name="pk_password_sources"),
    )
    op.create_table(
        "password_stamps",
        sa.Column("object_id", sa.String(length=64), nullable=False),
        sa.Column("changed_at", sa.BigInteger(), nullable=False),
        sa.Column("revision", sa.BigInteger(), nullable=False),
        sa.Column("source", sa.String(length=64), nullable=False),
        sa.PrimaryKeyConstraint("object_id", name="pk_password_stamps"),
    )
    op.create_table(
        "password_contacts",
        sa.Column("domain", sa.String(length=768), nullable=False),
        sa.Column("account", sa.String(length=768), nullable=False),
        sa.Column("host", sa.String(length=768), nullable=False),
        sa.Column("heard_at", sa.BigInteger(), nullable=False),
        sa.Column("waiting", sa.BigInteger(), nullable=False),
        sa.Column("oldest", sa.BigInteger(), nullable=True),
        sa.Column("beat_at", sa.BigInteger(), nullable=True),
        sa.Column("silent", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("domain", "account", name="pk_password_contacts"),
    )
    op.create_table(
        "password_hearing",
        sa.Column("id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("since", sa.BigInteger(), nullable=False),
        sa.Column("until", sa.BigInteger(), nullable=False),
        sa.CheckConstraint("id = 1", name="ck_password_hearing_one_row"),
        sa.PrimaryKeyConstraint("id", name="pk_password_hearing"),
    )
    op.create_table(
        "password_switch",
        sa.Column("id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("enabled", sa.Boolean(), nullable=False),
        sa.Column("vault", sa.String(length=64), nullable=True),
        sa.CheckConstraint("id = 1", name="ck_password_switch_one_row"),
        sa.PrimaryKeyConstraint("id", name="pk_password_switch"),
    )
