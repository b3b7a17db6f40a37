"""The tables. What is searched for or must be unique is a column; the rest of an object is one JSON document (codec.py).

Times are microseconds since the epoch, UTC: SQLite has no type for time, and gives a zoned one back as naive local time.
`version` is the optimistic lock. `name_key` is the casefolded name: directories compare names without case.
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
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
)

#: The version of the schema below: the newest of migrations/versions, known without Alembic's 10 MB.
SCHEMA = "0013"
metadata = MetaData(
    naming_convention={
        "ix": "ix_%(column_0_label)s",
        "uq": "uq_%(table_name)s_%(column_0_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
        "pk": "pk_%(table_name)s",
    }
)

#: Only INTEGER PRIMARY KEY is SQLite's row id.
_Number = BigInteger().with_variant(Integer, "sqlite")
_Id = String(64)
#: A casefolded name of 256 characters; casefold makes at most three out of one.
_Name = String(768)
_Sid = String(184)

pam_users = Table(
    "pam_users",
    metadata,
    Column("id", _Id, primary_key=True),
    Column("name_key", _Name, nullable=False, unique=True),
    Column("corp_sid", _Sid, nullable=False, unique=True),
    Column("priv_sid", _Sid, nullable=False, unique=True),
    Column("version", Integer, nullable=False),
    Column("doc", Text, nullable=False),
)

pam_groups = Table(
    "pam_groups",
    metadata,
    Column("id", _Id, primary_key=True),
    Column("name_key", _Name, nullable=False, unique=True),
    Column("version", Integer, nullable=False),
    Column("doc", Text, nullable=False),
)

roles = Table(
    "roles",
    metadata,
    Column("id", _Id, primary_key=True),
    Column("name_key", _Name, nullable=False, unique=True),
    Column("version", Integer, nullable=False),
    Column("doc", Text, nullable=False),
)

#: Changes of roles that wait for a second administrator. No foreign key: a role that is to be made is not there yet.
role_proposals = Table(
    "role_proposals",
    metadata,
    Column("id", _Id, primary_key=True),
    Column("role_id", _Id, nullable=False),
    Column("made_at", BigInteger, nullable=False),
    Column("doc", Text, nullable=False),
    Index("ix_role_proposals_role", "role_id"),
    Index("ix_role_proposals_made", "made_at"),
)

#: Of emergency accounts: no secret and no share. `number`: what the custodians' words carry (15 bits).
envelopes = Table(
    "envelopes",
    metadata,
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("account", _Sid, nullable=False),
    Column("sealed_at", BigInteger, nullable=False),
    Column("doc", Text, nullable=False),
    Index("ix_envelopes_account", "account"),
)

#: No foreign keys to users and roles: what happened stays on record when they are removed.
requests = Table(
    "requests",
    metadata,
    Column("id", _Id, primary_key=True),
    Column("role_id", _Id, nullable=False),
    Column("user_id", _Id, nullable=False),
    Column("state", String(32), nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("version", Integer, nullable=False),
    Column("doc", Text, nullable=False),
    Index("ix_requests_user", "user_id", "state"),
    Index("ix_requests_role", "role_id", "state"),
    Index("ix_requests_state", "state"),
    Index("ix_requests_created", "created_at", "id"),
)

#: Which groups a request is for; fixed when it is made.
request_groups = Table(
    "request_groups",
    metadata,
    Column("request_id", _Id, ForeignKey("requests.id", ondelete="CASCADE"), primary_key=True),
    Column("group_id", _Id, primary_key=True),
    Index("ix_request_groups_group", "group_id"),
)

#: `ready`: when the row can next be claimed: its due time, or the end of the lease while it is claimed; NULL: when poked.
#: `poked`: the earliest poke since the claim. `partition`: whose nodes may do it; empty: all.
work = Table(
    "work",
    metadata,
    Column("id", _Number, primary_key=True, autoincrement=True),
    Column("kind", String(64), nullable=False),
    Column("key", String(256), nullable=False),
    Column("ready", BigInteger),
    Column("due", BigInteger),
    Column("poked", BigInteger),
    Column("pokes", BigInteger, nullable=False),
    Column("fence", BigInteger, nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("owner", String(256)),
    Column("error", Text, nullable=False),
    Column("partition", String(64), nullable=False, server_default="default"),
    UniqueConstraint("kind", "key"),
    Index("ix_work_ready", "ready"),
)

#: `rhythm` in microseconds.
nodes = Table(
    "nodes",
    metadata,
    Column("name", String(256), primary_key=True),
    Column("url", Text, nullable=False),
    Column("partition", String(64), nullable=False),
    Column("version", String(64), nullable=False),
    Column("schema", String(32), nullable=False),
    Column("process", String(256), nullable=False),
    Column("rhythm", BigInteger, nullable=False),
    Column("started_at", BigInteger, nullable=False),
    Column("heartbeat", BigInteger, nullable=False),
    Column("draining", Boolean, nullable=False),
    Column("left_at", BigInteger),
)

#: One row: the oldest schema whose programs can work on this database (migrations.check).
schema_floor = Table(
    "schema_floor",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("version", String(32), nullable=False),
    CheckConstraint("id = 1", name="one_row"),
)

#: What somebody asks of the nodes' logs; it goes when it was read, or is old.
log_wishes = Table(
    "log_wishes",
    metadata,
    Column("id", _Id, primary_key=True),
    Column("made_at", BigInteger, nullable=False),
    Column("doc", Text, nullable=False),
    Index("ix_log_wishes_made", "made_at"),
)

#: `packed`: the lines of a node, compressed.
log_answers = Table(
    "log_answers",
    metadata,
    Column("wish", _Id, ForeignKey("log_wishes.id", ondelete="CASCADE"), primary_key=True),
    Column("node", String(256), primary_key=True),
    Column("doc", Text, nullable=False),
    Column("packed", LargeBinary, nullable=False),
)

#: How far each domain was read for changes; what is watched there; what stands there and nobody asked for.
monitor_domains = Table(
    "monitor_domains",
    metadata,
    Column("side", String(16), primary_key=True),
    Column("doc", Text, nullable=False),
)
monitor_objects = Table(
    "monitor_objects",
    metadata,
    Column("side", String(16), primary_key=True),
    Column("guid", _Id, primary_key=True),
    Column("doc", Text, nullable=False),
)
monitor_findings = Table(
    "monitor_findings",
    metadata,
    Column("key", String(512), primary_key=True),
    Column("found_at", BigInteger, nullable=False),
    Column("doc", Text, nullable=False),
)

#: Access reviews; `place`: where a line stands.
reviews = Table(
    "reviews",
    metadata,
    Column("id", _Id, primary_key=True),
    Column("state", String(16), nullable=False, index=True),
    Column("opens_at", BigInteger, nullable=False),
    Column("version", Integer, nullable=False),
    Column("doc", Text, nullable=False),
)

review_lines = Table(
    "review_lines",
    metadata,
    Column("review", _Id, ForeignKey("reviews.id", ondelete="CASCADE"), primary_key=True),
    Column("id", _Id, primary_key=True),
    Column("place", Integer, nullable=False),
    Column("doc", Text, nullable=False),
)

#: Operations that are traced, each until a moment.
traces = Table(
    "traces",
    metadata,
    Column("operation", _Id, primary_key=True),
    Column("ends_at", BigInteger, nullable=False),
    Column("doc", Text, nullable=False),
)

#: What rules found. `signal`: what they watch. `key`: what is like it has the same.
alerts = Table(
    "alerts",
    metadata,
    Column("id", _Id, primary_key=True),
    Column("rule", String(64), nullable=False),
    Column("signal", String(32), nullable=False),
    Column("key", String(256), nullable=False),
    Column("severity", String(16), nullable=False),
    Column("state", String(16), nullable=False),
    Column("first_at", BigInteger, nullable=False),
    Column("last_at", BigInteger, nullable=False),
    Column("doc", Text, nullable=False),
    Index("ix_alerts_found", "rule", "key"),
    Index("ix_alerts_state", "state", "first_at"),
)

#: Privileged changes as domain controllers tell of them. `record`: the event's own number or digest; `judge_at`: when what may still come late has come.
observed_changes = Table(
    "observed_changes",
    metadata,
    Column("source", String(64), primary_key=True),
    Column("record", String(128), primary_key=True),
    Column("at", BigInteger, nullable=False),
    Column("judge_at", BigInteger, nullable=False),
    Column("verdict", String(16), nullable=False),
    Column("doc", Text, nullable=False),
    Index("ix_observed_changes_at", "at"),
    Index("ix_observed_changes_verdict", "verdict", "judge_at"),
)

#: Where such events come from: what was heard of each last.
event_sources = Table(
    "event_sources",
    metadata,
    Column("name", String(64), primary_key=True),
    Column("doc", Text, nullable=False),
)

audit = Table(
    "audit",
    metadata,
    Column("seq", _Number, primary_key=True, autoincrement=False),
    Column("at", BigInteger, nullable=False),
    Column("kind", Text, nullable=False),
    Column("actor", Text, nullable=False),
    Column("actor_name", Text, nullable=False),
    Column("subject", Text, nullable=False),
    Column("subject_name", Text, nullable=False),
    Column("request", Text, nullable=False),
    Column("data", Text, nullable=False),
    Column("previous", String(64), nullable=False),
    Column("hash", String(64), nullable=False),
    Index("ix_audit_at", "at"),
    Index("ix_audit_request", "request"),
    Index("ix_audit_actor", "actor"),
    Index("ix_audit_subject", "subject"),
)

#: One row: the end of the chain. Its lock on PostgreSQL is what the write lock is on SQLite: one writer at a time.
audit_head = Table(
    "audit_head",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("seq", BigInteger, nullable=False),
    Column("hash", String(64), nullable=False),
    CheckConstraint("id = 1", name="one_row"),
)

audit_checkpoints = Table(
    "audit_checkpoints",
    metadata,
    Column("id", _Number, primary_key=True, autoincrement=True),
    Column("seq", BigInteger, nullable=False),
    Column("hash", String(64), nullable=False),
    Column("at", BigInteger, nullable=False),
    Column("key", String(64), nullable=False),
    Column("signature", LargeBinary, nullable=False),
)

audit_cursors = Table(
    "audit_cursors",
    metadata,
    Column("sink", String(256), primary_key=True),
    Column("seq", BigInteger, nullable=False),
)

factors = Table(
    "factors",
    metadata,
    Column("id", _Id, primary_key=True),
    Column("person", _Sid, nullable=False),
    Column("doc", Text, nullable=False),
    Index("ix_factors_person", "person"),
)

#: `credential_hash`: SHA-256 of the authenticator's id, in hexadecimal: a key belongs to one person.
security_keys = Table(
    "security_keys",
    metadata,
    Column("id", _Id, primary_key=True),
    Column("person", _Sid, nullable=False),
    Column("credential_hash", _Id, nullable=False, unique=True),
    Column("doc", Text, nullable=False),
    Index("ix_security_keys_person", "person"),
)

challenges = Table(
    "challenges",
    metadata,
    Column("id", _Id, primary_key=True),
    Column("person", _Sid, nullable=False),
    Column("expires_at", BigInteger, nullable=False),
    Column("doc", Text, nullable=False),
    Index("ix_challenges_person", "person"),
    Index("ix_challenges_expires", "expires_at"),
)

invitations = Table(
    "invitations",
    metadata,
    Column("person", _Sid, primary_key=True),
    Column("doc", Text, nullable=False),
)

sessions = Table(
    "sessions",
    metadata,
    Column("token_hash", String(256), primary_key=True),
    Column("expires_at", BigInteger, nullable=False),
    Column("doc", Text, nullable=False),
    Index("ix_sessions_expires", "expires_at"),
)
