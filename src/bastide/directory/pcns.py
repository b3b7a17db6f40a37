"""The PCNS configuration in one domain, read and written as the person who calls: the service account has no right to it, and gets none."""

import shlex
from collections.abc import Mapping, Sequence

from ldap.dn import dn2str, str2dn
from ldap.filter import filter_format

from bastide import pcns
from bastide.directory import pcns_schema
from bastide.directory.capabilities import read_domain
from bastide.directory.entries import Entry, any_sid, by_sid, child, same_dn
from bastide.directory.names import read_name, require_domain
from bastide.directory.session import ADD, REPLACE, Session, Unsaid
from bastide.domain.errors import (
    Conflict,
    DirectoryError,
    InvalidInput,
    NoSuchObject,
    NotFound,
)
from bastide.domain.ids import Sid
from bastide.services.passwords.ports import Settings

_CLASSES = tuple(oid for _, oid in (pcns.TARGET_CLASS, pcns.SERVICE_CLASS))
#: Samba's own words: the schema master takes no additions unless its smb.conf says so.
_SAMBA_FORBIDS = "updates are not allowed"
_REMEDY_SAMBA = "set `dsdb:schema update allowed = yes` in smb.conf of the schema master, restart samba there, and name it with --controller (pcnscfg: /SERVER:)"
_REMEDY_SCHEMA = "run `bastide pcns extend-schema` as a member of Schema Admins"


class AdNotificationDirectory:
    """As the port NotificationDirectory, over one connection."""

    def __init__(self, session: Session) -> None:
        self._session = session
        root = session.must_read("", ["defaultNamingContext", "schemaNamingContext"])
        self._base = root.text("defaultNamingContext")
        self._schema = root.text("schemaNamingContext")
        self._names: Mapping[str, str] = {}

    def extend_schema(self) -> tuple[str, ...]:
        """Add what is missing; the DNs that were added. Raises DirectoryDenied without the right, Conflict where this controller takes it from nobody."""
        added = []
        present = self._schema_names()
        for dn, values in pcns_schema.attribute_objects(self._schema):
            if pcns.ATTRIBUTES[str(values["lDAPDisplayName"][0])] not in present:
                self._add_to_schema(dn, values)
                added.append(dn)
        self._refresh_schema()
        for dn, values in pcns_schema.class_objects(self._schema):
            if str(values["governsID"][0]) not in present:
                self._add_to_schema(dn, values)
                added.append(dn)
                self._refresh_schema()
        self._names = {}
        return tuple(added)

    def read(self) -> Settings:
        """Raises NotFound if the schema or the configuration is not there, Conflict if it cannot be read. Looks where agents look, and nowhere else: an object
        in another place would be shown here, and never be used.
        """
        names = self._known()
        classes = [names[oid] for oid in _CLASSES if oid in names]
        condition = "(|" + "".join(filter_format("(objectClass=%s)", [name]) for name in classes) + ")"
        wanted = ["cn", "objectClass", "objectGUID", *names.values()]
        entries = [
            (found.dn, pcns.by_default_names(found.attributes, names))
            for found in self._below_container(condition, wanted)
        ]
        if not entries:
            raise NotFound(
                "password notification is not configured in this domain",
                remedy="run `bastide pcns service` and `bastide pcns target add`",
            )
        try:
            configuration = pcns.parse(entries)
        except pcns.PcnsError as error:
            raise Conflict(
                str(error), remedy="correct that object with an LDAP editor, or delete it"
            ) from None
        called = {target.name for target in configuration.targets}
        return Settings(configuration, {_cn(held).lower(): dn for dn, held in entries if _cn(held) in called})

    def save_service(self, settings: pcns.ServiceSettings) -> None:
        """Make the container, or change it."""
        values = self._translated(pcns.service_attributes(settings))
        container = f"{pcns.CONTAINER},{self._base}"
        try:
            self._session.modify(container, [(REPLACE, name, held) for name, held in values.items()])
        except NoSuchObject:
            kind = self._known()[pcns.SERVICE_CLASS[1]].encode()
            self._session.add(container, {"objectClass": [b"top", kind], **_present(values)})

    def add_target(self, target: pcns.Target) -> None:
        """Raises ObjectExists."""
        values = self._translated(pcns.target_attributes(target))
        kind = self._known()[pcns.TARGET_CLASS[1]].encode()
        dn = child(target.name, f"{pcns.CONTAINER},{self._base}")
        self._session.add(dn, {"objectClass": [b"top", kind], **_present(values)})

    def save_target(self, dn: str, target: pcns.Target) -> None:
        """Raises NoSuchObject."""
        values = self._translated(pcns.target_attributes(target))
        self._session.modify(dn, [(REPLACE, name, held) for name, held in values.items()])

    def remove_target(self, dn: str) -> None:
        """Raises NoSuchObject."""
        self._session.delete(dn)

    def group_sid(self, name: str) -> str:
        r"""By sAMAccountName, `DOMAIN\name` or SID. Raises NotFound, for a name of another domain too; InvalidInput."""
        wanted = read_name(name)
        if wanted.sid is not None:
            condition = any_sid([wanted.sid])
        else:
            if wanted.domain:
                domain = read_domain(self._session)
                require_domain(wanted, domain.netbios, domain.dns_name)
            condition = filter_format("(sAMAccountName=%s)", [wanted.account or wanted.upn])
        found = self._session.search(self._base, f"(&(objectClass=group){condition})", ["objectSid"])
        if not found:
            raise NotFound(f"there is no group {name[:80]!r} in this domain")
        return str(found[0].sid())

    def group_name(self, sid: str) -> str:
        """The group's sAMAccountName; the SID itself if there is no such group any more."""
        try:
            return self._session.must_read(by_sid(Sid.parse(sid)), ["sAMAccountName"]).text("sAMAccountName")
        except (NoSuchObject, InvalidInput):
            return sid

    def holders_of(self, spn: str) -> tuple[str, ...]:
        """DNs of the accounts that hold a service principal name: one is right, none or several break Kerberos."""
        condition = filter_format("(servicePrincipalName=%s)", [spn])
        return tuple(entry.dn for entry in self._session.search(self._base, condition, ["cn"]))

    def schema_ldif(self) -> str:
        """The schema for this forest, as LDIF."""
        return pcns_schema.ldif(self._schema)

    # ------------------------------------------------------------------------------------------------ helpers

    def _below_container(self, condition: str, wanted: Sequence[str]) -> list[Entry]:
        try:
            return self._session.search(f"{pcns.CONTAINER},{self._base}", condition, wanted)
        except NoSuchObject:
            return []

    def _known(self) -> Mapping[str, str]:
        """OID to lDAPDisplayName as this forest has it. Raises NotFound if the schema was not extended."""
        if not self._names:
            found = self._schema_names()
            missing = [oid for oid in _CLASSES if oid not in found]
            if missing:
                raise NotFound("this forest's schema has no PCNS classes", remedy=_REMEDY_SCHEMA)
            self._names = found
        return self._names

    def _schema_names(self) -> dict[str, str]:
        oids = [*pcns.ATTRIBUTES.values(), *_CLASSES]
        either = "".join(filter_format("(attributeID=%s)(governsID=%s)", [oid, oid]) for oid in oids)
        wanted = ["lDAPDisplayName", "attributeID", "governsID"]
        return {
            entry.text("attributeID") or entry.text("governsID"): entry.text("lDAPDisplayName")
            for entry in self._session.search(self._schema, f"(|{either})", wanted)
        }

    def _translated(self, values: Mapping[str, list[bytes]]) -> dict[str, list[bytes]]:
        """Under the names that this forest's schema has."""
        known = self._known()
        missing = [name for name, held in values.items() if held and pcns.ATTRIBUTES[name] not in known]
        if missing:
            raise Conflict(f"this forest's schema lacks {', '.join(missing)}", remedy=_REMEDY_SCHEMA)
        return {known[pcns.ATTRIBUTES[n]]: held for n, held in values.items() if pcns.ATTRIBUTES[n] in known}

    def _add_to_schema(self, dn: str, values: Mapping[str, list[str | bytes]]) -> None:
        encoded = {
            name: [value if isinstance(value, bytes) else value.encode() for value in held]
            for name, held in values.items()
        }
        try:
            self._session.add(dn, encoded)
        except Unsaid as error:
            if _SAMBA_FORBIDS in error.message:
                raise Conflict(error.message, remedy=_REMEDY_SAMBA) from error
            if master := self._other_schema_master():
                raise Conflict(
                    f"{error.message}; it is not the schema master, and only that one takes this",
                    remedy=f"`bastide pcns extend-schema --controller {shlex.quote(master)}`",
                ) from error
            raise

    def _other_schema_master(self) -> str:
        """The full name of the forest's schema master ([MS-ADTS] 3.1.1.1.11); empty: it is this controller, or cannot be read."""
        try:
            owner = self._session.must_read(self._schema, ["fSMORoleOwner"]).text("fSMORoleOwner")
            if same_dn(owner, self._session.must_read("", ["dsServiceName"]).text("dsServiceName")):
                return ""
            server = dn2str(str2dn(owner)[1:])
            return self._session.must_read(server, ["dNSHostName"]).text("dNSHostName")
        except DirectoryError:
            return ""

    def _refresh_schema(self) -> None:
        """Make the controller use what was just added ([MS-ADTS] 3.1.1.3.3.13)."""
        self._session.modify("", [(ADD, "schemaUpdateNow", [b"1"])])


def _present(values: Mapping[str, list[bytes]]) -> dict[str, list[bytes]]:
    return {name: held for name, held in values.items() if held}


def _cn(values: Mapping[str, object]) -> str:
    held = values.get("cn")
    return held[0].decode() if isinstance(held, list) and held else ""
