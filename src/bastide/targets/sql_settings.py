"""What an agent of a database says: where it is, what is read, and where passwords go."""

from typing import Annotated, Literal

from msgspec import Meta

from bastide.domain.credentials import denied
from bastide.domain.errors import InvalidInput, NotConfigured
from bastide.domain.management_agents import CsObject
from bastide.targets.hashing import Scheme
from bastide.targets.kinds import Settings

Name = Annotated[str, Meta(min_length=1, max_length=128, pattern=r"^[^\x00]*\Z")]
OptionalName = Annotated[str, Meta(max_length=128, pattern=r"^[^\x00]*\Z")]
Names = Annotated[tuple[Name, ...], Meta(max_length=256)]


class Reading(Settings, frozen=True, kw_only=True):
    """A table or view to import. `change`: a column that grows with every change of a row; without one there is no delta import.
    `deleted`: a column that is true, or not 0, for a row that counts as gone.
    """

    table: Name
    #: Empty: public (PostgreSQL), the database (MariaDB), dbo (SQL Server), the user's own (Oracle, DB2).
    schema: OptionalName = ""
    anchor: Name
    dn: OptionalName = ""
    type: Name = "user"
    attributes: Names = ()
    #: Attributes whose text holds several values, and what stands between them.
    multi_valued: Names = ()
    separator: Annotated[str, Meta(min_length=1, max_length=8)] = ";"
    change: OptionalName = ""
    deleted: OptionalName = ""
    #: A delta reads again what is this much older than the mark (seconds, or counts), for what was committed late.
    overlap: Annotated[int, Meta(ge=0, le=86_400)] = 60
    row_limit: Annotated[int, Meta(ge=1)] = 1_000_000
    #: Longest row, in characters.
    size_limit: Annotated[int, Meta(ge=1)] = 65_536

    def __post_init__(self) -> None:
        if stray := set(self.multi_valued) - set(self.attributes):
            raise InvalidInput(
                "settings.read.multi_valued", f"names what is not imported: {', '.join(sorted(stray))}"
            )
        if named := [name for name in (self.anchor, self.dn, *self.attributes) if denied(name)]:
            raise InvalidInput(
                "settings.read.attributes", f"{named[0]} holds passwords and is never imported"
            )


class RolePasswords(Settings, frozen=True, kw_only=True, tag_field="kind", tag="role"):
    """Passwords are those of the server's own accounts. `name`: the attribute with the account's name; empty: the anchor.
    `host` (MariaDB): the attribute with the host part; empty: "%". `format` (MariaDB): what the accounts authenticate by.
    `identity` (PostgreSQL): the attribute with the role's OID; a role of the same name with another one gets nothing.
    `privileged`: accounts with power over the server are set too. Never that of the agent.
    """

    name: OptionalName = ""
    identity: OptionalName = ""
    privileged: bool = False
    host: OptionalName = ""
    format: Literal["mysql_native_password", "ed25519"] = "mysql_native_password"


class TablePasswords(Settings, frozen=True, kw_only=True, tag_field="kind", tag="table"):
    """Passwords are kept by an application, as salted hashes in a column. `key`: the column that names the row, `value`: the attribute
    that holds its value; empty: the anchor. `must_change` is set to 1 and `locked` to 0 where the agent asks for it.
    `identity`: a second column that must hold the attribute `identity_value`, so that a key that was given away again opens nothing.
    """

    table: Name
    schema: OptionalName = ""
    key: Name
    value: OptionalName = ""
    identity: OptionalName = ""
    identity_value: OptionalName = ""
    column: Name
    scheme: Scheme = Scheme.ARGON2ID
    must_change: OptionalName = ""
    locked: OptionalName = ""

    def __post_init__(self) -> None:
        if bool(self.identity) != bool(self.identity_value):
            raise InvalidInput("settings.passwords.identity_value", "identity and identity_value go together")


class SqlSettings(Settings, frozen=True, kw_only=True):
    """A database. `host`: the name in its certificate, or the absolute path of a Unix socket (PostgreSQL: of its folder)."""

    host: Annotated[str, Meta(min_length=1, max_length=255, pattern=r"^(/[^\x00]*|[A-Za-z0-9.:_-]+)\Z")]
    port: Annotated[int, Meta(ge=0, le=65_535)] = 0
    database: Name
    user: Name
    #: PEM of the authority that signed the server's certificate.
    ca: str = ""
    tls: Literal["verify", "off"] = "verify"
    #: Seconds for connecting and for each statement.
    timeout: Annotated[int, Meta(ge=1, le=600)] = 10
    read: Reading | None = None
    passwords: RolePasswords | TablePasswords | None = None

    def __post_init__(self) -> None:
        reading, passwords = self.read, self.passwords
        if reading is None or not isinstance(passwords, TablePasswords):
            return
        imported = (reading.anchor, reading.dn, reading.change, reading.deleted, *reading.attributes)
        if passwords.column.casefold() in {name.casefold() for name in imported}:
            raise InvalidInput("settings.read.attributes", "a column that holds passwords is never imported")

    @property
    def local(self) -> bool:
        """Over a Unix socket."""
        return self.host.startswith("/")


class VerifiedSqlSettings(SqlSettings, frozen=True, kw_only=True):
    """Where we verify the server's name ourselves."""

    def __post_init__(self) -> None:
        SqlSettings.__post_init__(self)
        if not self.local and self.tls == "verify" and not self.ca:
            raise InvalidInput(
                "settings.ca",
                "is missing: without it the server's name cannot be verified",
                remedy="name a PEM file",
            )


class TablesOnlySettings(SqlSettings, frozen=True, kw_only=True):
    """Where accounts of the server take a password in clear only, so that only tables are left."""

    def __post_init__(self) -> None:
        SqlSettings.__post_init__(self)
        if isinstance(self.passwords, RolePasswords):
            raise InvalidInput(
                "settings.passwords.kind",
                "accounts of this server take a password in clear only",
                remedy="set passwords in an application's table, or use an agent of another kind",
            )


def passwords_of(settings: SqlSettings) -> RolePasswords | TablePasswords:
    """Raises NotConfigured."""
    if settings.passwords is None:
        raise NotConfigured(
            "the settings name no way to set passwords", remedy="add `passwords` to the settings"
        )
    return settings.passwords


def value_of(object: CsObject, attribute: str) -> str:  # noqa: A002  # the port's word
    """One value of an object; empty: its anchor. Raises NotConfigured if there is not exactly one."""
    if not attribute:
        return object.anchor
    values = object.attributes.get(attribute, ())
    if len(values) != 1:
        raise NotConfigured(f"{attribute} has {len(values)} values and the account is named by one")
    return values[0]
