"""The PCNS configuration in memory: the twin of pcns.py."""

from collections.abc import Mapping

from bastide import pcns
from bastide.directory import pcns_schema
from bastide.directory.names import read_name, require_domain
from bastide.domain.errors import NoSuchObject, NotFound, ObjectExists
from bastide.services.passwords.ports import Settings

_SCHEMA = "CN=Schema,CN=Configuration,DC=memory"


class MemoryNotificationDirectory:
    """A domain with these groups (name to SID) and holders of service principal names."""

    def __init__(
        self,
        groups: Mapping[str, str],
        holders: Mapping[str, tuple[str, ...]],
        names: tuple[str, str] = ("CORP", "corp.bastide.test"),
    ) -> None:
        """`names`: the domain's NetBIOS and DNS name."""
        self._netbios, self._dns_name = names
        self._groups = dict(groups)
        self._holders = dict(holders)
        self._extended = False
        self._service: pcns.ServiceSettings | None = None
        self._targets: dict[str, pcns.Target] = {}

    def extend_schema(self) -> tuple[str, ...]:
        if self._extended:
            return ()
        self._extended = True
        objects = [*pcns_schema.attribute_objects(_SCHEMA), *pcns_schema.class_objects(_SCHEMA)]
        return tuple(dn for dn, _ in objects)

    def schema_ldif(self) -> str:
        return pcns_schema.ldif(_SCHEMA)

    def read(self) -> Settings:
        self._require_schema()
        if self._service is None:
            raise NotFound("password notification is not configured in this domain")
        targets = tuple(self._targets[dn] for dn in sorted(self._targets))
        dns = {target.name.lower(): dn for dn, target in self._targets.items()}
        return Settings(pcns.Configuration(self._service, targets), dns)

    def save_service(self, settings: pcns.ServiceSettings) -> None:
        self._require_schema()
        self._service = settings

    def add_target(self, target: pcns.Target) -> None:
        self._require_schema()
        if self._service is None:
            raise NoSuchObject("there is no container for it")
        dn = f"CN={target.name.lower()},{pcns.CONTAINER}"
        if dn in self._targets:
            raise ObjectExists(f"{target.name} exists")
        self._targets[dn] = target

    def save_target(self, dn: str, target: pcns.Target) -> None:
        self._there(dn)
        self._targets[dn] = target

    def remove_target(self, dn: str) -> None:
        self._there(dn)
        del self._targets[dn]

    def group_sid(self, name: str) -> str:
        wanted = read_name(name)
        require_domain(wanted, self._netbios, self._dns_name)
        for known, sid in self._groups.items():
            if wanted.text.lower() == sid.lower() or (wanted.account or wanted.upn).lower() == known.lower():
                return sid
        raise NotFound(f"there is no group {name[:80]!r} in this domain")

    def group_name(self, sid: str) -> str:
        return next((name for name, known in self._groups.items() if known == sid), sid)

    def holders_of(self, spn: str) -> tuple[str, ...]:
        return self._holders.get(spn, ())

    def _require_schema(self) -> None:
        if not self._extended:
            raise NotFound(
                "this forest's schema has no PCNS classes", remedy="run `bastide pcns extend-schema`"
            )

    def _there(self, dn: str) -> None:
        if dn not in self._targets:
            raise NoSuchObject(f"{dn} is gone")
