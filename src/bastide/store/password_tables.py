"""The tables of password synchronization, in the database of tables.py and by its rules. No password is in any of them in clear:
`sealed` opens only with a data key from the vault, which is another database.
"""

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    String,
    Table,
    Text,
    literal_column,
    or_,
)

from bastide.domain.passwords import State
from bastide.store.tables import metadata

_Id = String(64)
#: A casefolded name of 256 characters; casefold makes at most three out of one.
_Name = String(768)
#: SHA-256 in hexadecimal: anchors and values have no limit of their own, index rows do.
_Hash = String(64)

management_agents = Table(
    "management_agents",
    metadata,
    Column("id", _Id, primary_key=True),
    Column("name_key", _Name, nullable=False, unique=True),
    Column("source_domain", _Name, unique=True),
    Column("version", Integer, nullable=False),
    Column("doc", Text, nullable=False),
)

management_agent_secrets = Table(
    "management_agent_secrets",
    metadata,
    Column("ma_id", _Id, ForeignKey("management_agents.id", ondelete="CASCADE"), primary_key=True),
    Column("sealed", LargeBinary, nullable=False),
)

cs_objects = Table(
    "cs_objects",
    metadata,
    Column("id", _Id, primary_key=True),
    Column("ma_id", _Id, ForeignKey("management_agents.id", ondelete="CASCADE"), nullable=False),
    Column("anchor_key", _Hash, nullable=False),
    Column("link", String(16), nullable=False),
    Column("mv_id", _Id),
    Column("search_key", Text, nullable=False),
    Column("doc", Text, nullable=False),
    Index("ix_cs_objects_anchor", "ma_id", "anchor_key", unique=True),
    Index("ix_cs_objects_link", "ma_id", "link"),
    Index("ix_cs_objects_mv", "mv_id"),
)

mv_objects = Table(
    "mv_objects",
    metadata,
    Column("id", _Id, primary_key=True),
    Column("search_key", Text, nullable=False),
    Column("doc", Text, nullable=False),
)

#: Values by which objects are joined: SHA-256 of the casefolded value.
mv_values = Table(
    "mv_values",
    metadata,
    Column("mv_id", _Id, ForeignKey("mv_objects.id", ondelete="CASCADE"), primary_key=True),
    Column("attribute", String(256), primary_key=True),
    Column("value_key", _Hash, primary_key=True),
    Index("ix_mv_values_value", "attribute", "value_key"),
)

#: No foreign keys to agents and objects: what happened stays on record when they are removed.
password_changes = Table(
    "password_changes",
    metadata,
    Column("reference", _Id, primary_key=True),
    Column("ma_id", _Id),
    Column("object_id", _Id),
    Column("domain", _Name, nullable=False),
    Column("user_guid", _Id, nullable=False),
    Column("account_key", _Name, nullable=False),
    Column("receipt", String(32), nullable=False),
    Column("received_at", BigInteger, nullable=False),
    Column("doc", Text, nullable=False),
    Index("ix_password_changes_received", "received_at", "reference"),
    Index("ix_password_changes_account", "account_key"),
    Index("ix_password_changes_user", "user_guid"),
)

password_deliveries = Table(
    "password_deliveries",
    metadata,
    Column("id", _Id, primary_key=True),
    Column("reference", _Id, ForeignKey("password_changes.reference", ondelete="CASCADE"), nullable=False),
    Column("ma_id", _Id, nullable=False),
    Column("object_id", _Id, nullable=False),
    Column("state", String(16), nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("sealed", LargeBinary),
    Column("doc", Text, nullable=False),
    Index("ix_password_deliveries_reference", "reference"),
    Index("ix_password_deliveries_object", "object_id", "state"),
    Index("ix_password_deliveries_state", "state", "ma_id", "created_at"),
)
#: Undelivered, or held although delivered. Without parameters: only then does the index of these rows serve.
KEPT = or_(
    password_deliveries.c.state == literal_column(f"'{State.PENDING.value}'"),
    password_deliveries.c.sealed.is_not(None),
)
# Whoever delivers asks for these of a thousand accounts at once. Without an index of their own it takes the longer the longer the history of each account is.
Index(
    "ix_password_deliveries_kept",
    password_deliveries.c.object_id,
    sqlite_where=KEPT,
    postgresql_where=KEPT,
)

#: The newest change that a target object has taken, and of which source object it was: revisions of others do not compare.
password_stamps = Table(
    "password_stamps",
    metadata,
    Column("object_id", _Id, primary_key=True),
    Column("changed_at", BigInteger, nullable=False),
    Column("revision", BigInteger, nullable=False),
    Column("source", _Id, nullable=False),
)

#: The newest change of a source object, and how many there were since `day_began`.
password_sources = Table(
    "password_sources",
    metadata,
    Column("object_id", _Id, primary_key=True),
    Column("changed_at", BigInteger, nullable=False),
    Column("revision", BigInteger, nullable=False),
    Column("day_began", BigInteger, nullable=False),
    Column("count", Integer, nullable=False),
)

#: When each domain controller was last heard, and what its last heartbeat said of its queue.
password_contacts = Table(
    "password_contacts",
    metadata,
    Column("domain", _Name, primary_key=True),
    Column("account", _Name, primary_key=True),
    Column("host", _Name, nullable=False),
    Column("heard_at", BigInteger, nullable=False),
    Column("waiting", BigInteger, nullable=False),
    Column("oldest", BigInteger),
    Column("beat_at", BigInteger),
    Column("silent", Boolean, nullable=False),
)

#: One row: from when to when somebody could have heard a controller, without a gap.
password_hearing = Table(
    "password_hearing",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("since", BigInteger, nullable=False),
    Column("until", BigInteger, nullable=False),
    CheckConstraint("id = 1", name="one_row"),
)

#: One row: whether password synchronization is enabled (it is not until a person says so), and the id of the vault it was enabled with.
password_switch = Table(
    "password_switch",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("enabled", Boolean, nullable=False),
    Column("vault", _Id),
    CheckConstraint("id = 1", name="one_row"),
)

#: One-time codes of callers of the help desk, as hashes.
help_desk_verifications = Table(
    "help_desk_verifications",
    metadata,
    Column("id", _Id, primary_key=True),
    Column("person", _Id, nullable=False),
    Column("begun_at", BigInteger, nullable=False),
    Column("doc", Text, nullable=False),
    Index("ix_help_desk_verifications_person", "person", "begun_at"),
)
