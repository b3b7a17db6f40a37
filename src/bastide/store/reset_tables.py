"""The tables of self-service reset, in the database of tables.py and by its rules. Codes, destinations and secrets in a `doc` are sealed; answers are hashes."""

from sqlalchemy import BigInteger, Column, Index, String, Table, Text

from bastide.store.tables import metadata

_Id = String(64)
_Name = String(768)
_Sid = String(184)

registrations = Table(
    "reset_registrations",
    metadata,
    Column("person", _Sid, primary_key=True),
    Column("name", _Name, nullable=False),
    Column("doc", Text, nullable=False),
)

#: What is being registered and not yet confirmed. `id`: a digest of session and gate.
drafts = Table(
    "reset_drafts",
    metadata,
    Column("id", _Id, primary_key=True),
    Column("expires_at", BigInteger, nullable=False),
    Column("doc", Text, nullable=False),
    Index("ix_reset_drafts_expires", "expires_at"),
)

#: `person` is empty where a reset was begun for nobody. `stop_hash` is empty where nothing can be stopped.
resets = Table(
    "resets",
    metadata,
    Column("id", _Id, primary_key=True),
    Column("token_hash", _Id, nullable=False, unique=True),
    Column("stop_hash", _Id, nullable=False),
    Column("person", _Sid, nullable=False),
    Column("expires_at", BigInteger, nullable=False),
    Column("doc", Text, nullable=False),
    Index("ix_resets_stop", "stop_hash"),
    Index("ix_resets_person", "person"),
    Index("ix_resets_expires", "expires_at"),
)

#: `key`: a digest of who or what is counted. `name`: of a person that is known, folded; empty: nobody's.
counts = Table(
    "reset_counts",
    metadata,
    Column("kind", String(32), primary_key=True),
    Column("key", _Id, primary_key=True),
    Column("name", _Name, nullable=False),
    Column("forgotten_at", BigInteger, nullable=False),
    Column("doc", Text, nullable=False),
    Index("ix_reset_counts_name", "name"),
    Index("ix_reset_counts_forgotten", "forgotten_at"),
)
