"""The configuration of password notification as it stands in Active Directory: names, ranges, defaults, and who is included.

Classes and attributes are those of Microsoft's PCNS, so that an existing configuration is read as it is; they replicate with the domain,
so that it is set once. The objects are below CN=Password Change Notification Service,CN=System. Pure: agent and server both use it.
"""

import re
import struct
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address
from uuid import UUID

CONTAINER = "CN=Password Change Notification Service,CN=System"
TARGET_CLASS = ("mS-MIIS-PCNS-Target", "1.2.840.113556.1.5.249")
SERVICE_CLASS = ("mS-MIIS-PCNS-Service", "1.2.840.113556.1.5.250")
_ARC = "1.2.840.113556.1.4."
#: lDAPDisplayName to OID. Which syntax each has is written in directory/pcns_schema.py.
ATTRIBUTES: Mapping[str, str] = {
    f"mS-MIIS-PCNS-{name}": f"{_ARC}{number}"
    for name, number in (
        ("TargetGUID", 1895),
        ("TargetSPN", 1896),
        ("TargetServer", 1897),
        ("TargetAuthenticationService", 1898),
        ("TargetUserNameFormat", 1899),
        ("TargetKeepAliveInterval", 1900),
        ("TargetDisabled", 1901),
        ("TargetEncryptionKey", 1902),
        ("ServiceMaxQueueLength", 1903),
        ("ServiceMaxQueueAge", 1904),
        ("ServiceMaxNotificationRetries", 1905),
        ("ServiceRetryInterval", 1906),
        ("TargetExclusionSID", 1908),
        ("TargetInclusionSID", 1909),
        ("TargetQueueWarningLevel", 1911),
        ("TargetQueueWarningInterval", 1912),
    )
}
#: OID to the name that Microsoft gave it: attributes and classes.
_DEFAULT_NAMES: Mapping[str, str] = {
    **{oid: name for name, oid in ATTRIBUTES.items()},
    **{oid: name for name, oid in (TARGET_CLASS, SERVICE_CLASS)},
}
MOST_TARGETS = 50
RETRY_INTERVAL = range(10, 3601)
#: RPC_C_AUTHN_GSS_KERBEROS ([MS-RPCE] 2.2.1.1.7), the only value there is.
KERBEROS = 16
#: RFC 1035, 2.3.1, with the underscore that computers of a Windows domain may have.
_LABEL = re.compile(r"[A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?", re.ASCII)
#: Characters of a host name (RFC 1035, 2.3.4).
_NAME_LIMIT = 253
_PORT = re.compile(r"[0-9]{1,5}", re.ASCII)
_PORTS = range(1, 65_536)


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceSettings:
    """For all targets. 0 is "no limit" for length, age (seconds) and retries; the interval is in seconds."""

    max_queue_length: int = 0
    max_queue_age: int = 259_200
    max_notification_retries: int = 0
    retry_interval: int = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """One server that is told of changes. `warning_interval` in minutes, `keep_alive` in seconds; warning level 0: no warning.

    `inclusion` empty: nobody is included (deny by default). `certificate`: the server's OpenPGP certificate (binary), which changes are encrypted to; Samba encrypts by itself.
    """

    name: str
    guid: UUID
    server: str
    spn: str
    inclusion: str
    exclusion: str = ""
    authentication_service: int = KERBEROS
    user_name_format: int = 3
    keep_alive: int = 60
    disabled: bool = False
    warning_level: int = 0
    warning_interval: int = 30
    certificate: bytes = b""

    def covers(self, groups: Collection[str]) -> bool:
        """Whether an account with these group SIDs (nested ones too, and its primary group) is notified to this target."""
        return self.inclusion in groups and (not self.exclusion or self.exclusion not in groups)


@dataclass(frozen=True, slots=True)
class Configuration:
    """The whole of it."""

    service: ServiceSettings
    targets: tuple[Target, ...]


def address(server: str, usual: int) -> tuple[str, int]:
    """Host and port of `HOST`, whose port is the usual one, or `HOST:PORT`; what a host is says `is_host`. Agents and who configures them go by it. Raises ValueError."""
    host, colon, port = server.strip().rpartition(":")
    if not colon:
        host, port = server.strip(), str(usual)
    if not is_host(host) or not _PORT.fullmatch(port) or int(port) not in _PORTS:
        raise ValueError("it is neither HOST nor HOST:PORT")
    return host, int(port)


def is_host(name: str) -> bool:
    """Whether it is an ASCII host name that DNS can hold, or an IPv4 address. What ends in a number is an address (RFC 1123, 2.1)."""
    labels = name.split(".")
    if labels[-1].isdigit():
        try:
            IPv4Address(name)
        except ValueError:
            return False
        return True
    return len(name) <= _NAME_LIMIT and all(map(_LABEL.fullmatch, labels))


def principal(spn: str, expected: str) -> tuple[str, str, str]:
    """Service class, host and realm of `SERVICE/HOST` or `SERVICE/HOST@REALM`, where no other service is expected; without one the realm is empty. Raises ValueError."""
    name, _, realm = spn.strip().partition("@")
    service, slash, host = name.partition("/")
    if service.upper() != expected or not slash or not host or "/" in host:
        raise ValueError(f"it is not {expected}/HOST")
    return service, host, realm


#: A DN and its attributes, as LDAP gives them. Names are lDAPDisplayNames, in whatever case.
Entry = tuple[str, Mapping[str, Sequence[bytes]]]
_PREFIX = "ms-miis-pcns-"
_U32 = 1 << 32
_S32 = 1 << 31


class PcnsError(Exception):
    """The configuration in the directory cannot be used; names the object and the attribute."""


def parse(entries: Iterable[Entry]) -> Configuration:
    """Read the objects below CONTAINER. Without a service object the defaults count. Raises PcnsError."""
    service, targets = ServiceSettings(), []
    for dn, attributes in entries:
        found = _Found(dn, attributes)
        if TARGET_CLASS[0].lower() in found.classes:
            targets.append(_target(found))
        elif SERVICE_CLASS[0].lower() in found.classes:
            service = _service(found)
    return Configuration(service, tuple(sorted(targets, key=lambda one: one.name.lower())))


def by_default_names(
    attributes: Mapping[str, Sequence[bytes]], schema: Mapping[str, str]
) -> dict[str, Sequence[bytes]]:
    """An object's attributes, and its classes, under the names that Microsoft gave them: a forest may call them otherwise. What has another OID stays as it is.

    `schema`: OID to lDAPDisplayName, as this forest has them. Upper and lower case are the same.
    """
    defaults = {name.lower(): _DEFAULT_NAMES[oid] for oid, name in schema.items() if oid in _DEFAULT_NAMES}
    found: dict[str, Sequence[bytes]] = {}
    for name, values in attributes.items():
        if name.lower() == "objectclass":
            found["objectClass"] = [_by_default_name(value, defaults) for value in values]
        else:
            found[defaults.get(name.lower(), name)] = values
    return found


def _by_default_name(value: bytes, defaults: Mapping[str, str]) -> bytes:
    default = defaults.get(value.decode(errors="replace").lower())
    return default.encode() if default else value


def service_attributes(settings: ServiceSettings) -> dict[str, list[bytes]]:
    """What to write for the service object, by lDAPDisplayName."""
    return {
        "mS-MIIS-PCNS-ServiceMaxQueueLength": [_number(settings.max_queue_length)],
        "mS-MIIS-PCNS-ServiceMaxQueueAge": [_number(settings.max_queue_age)],
        "mS-MIIS-PCNS-ServiceMaxNotificationRetries": [_number(settings.max_notification_retries)],
        "mS-MIIS-PCNS-ServiceRetryInterval": [_number(settings.retry_interval)],
    }


def target_attributes(target: Target) -> dict[str, list[bytes]]:
    """What to write for a target, by lDAPDisplayName; an empty list: the attribute is absent."""
    return {
        "mS-MIIS-PCNS-TargetGUID": [target.guid.bytes_le],
        "mS-MIIS-PCNS-TargetServer": [target.server.encode()],
        "mS-MIIS-PCNS-TargetSPN": [target.spn.encode()],
        "mS-MIIS-PCNS-TargetAuthenticationService": [_number(target.authentication_service)],
        "mS-MIIS-PCNS-TargetUserNameFormat": [_number(target.user_name_format)],
        "mS-MIIS-PCNS-TargetKeepAliveInterval": [_number(target.keep_alive)],
        "mS-MIIS-PCNS-TargetDisabled": [b"TRUE" if target.disabled else b"FALSE"],
        "mS-MIIS-PCNS-TargetInclusionSID": [sid_bytes(target.inclusion)] if target.inclusion else [],
        "mS-MIIS-PCNS-TargetExclusionSID": [sid_bytes(target.exclusion)] if target.exclusion else [],
        "mS-MIIS-PCNS-TargetQueueWarningLevel": [_number(target.warning_level)],
        "mS-MIIS-PCNS-TargetQueueWarningInterval": [_number(target.warning_interval)],
        "mS-MIIS-PCNS-TargetEncryptionKey": [target.certificate] if target.certificate else [],
    }


class _Found:
    """One object, its attributes by the part of their name that differs."""

    def __init__(self, dn: str, attributes: Mapping[str, Sequence[bytes]]) -> None:
        self.dn = dn
        self._values = {name.lower().removeprefix(_PREFIX): values for name, values in attributes.items()}
        self.classes = {value.decode().lower() for value in self._values.get("objectclass", ())}

    def raw(self, name: str) -> bytes:
        return next(iter(self._values.get(name.lower(), ())), b"")

    def text(self, name: str) -> str:
        try:
            return self.raw(name).decode()
        except UnicodeDecodeError:
            raise self.wrong(name) from None

    def number(self, name: str, default: int) -> int:
        """An INTEGER of AD is signed; the numbers here are not."""
        try:
            return int(self.text(name) or default) % _U32
        except ValueError:
            raise self.wrong(name) from None

    def sid(self, name: str) -> str:
        raw = self.raw(name)
        try:
            return raw.decode() if raw.startswith(b"S-1-") else sid_text(raw) if raw else ""
        except (ValueError, struct.error):
            raise self.wrong(name) from None

    def wrong(self, name: str) -> PcnsError:
        return PcnsError(f"{self.dn}: {name} cannot be read")


def _service(found: _Found) -> ServiceSettings:
    default = ServiceSettings()
    return ServiceSettings(
        max_queue_length=found.number("ServiceMaxQueueLength", default.max_queue_length),
        max_queue_age=found.number("ServiceMaxQueueAge", default.max_queue_age),
        max_notification_retries=found.number(
            "ServiceMaxNotificationRetries", default.max_notification_retries
        ),
        retry_interval=min(
            max(found.number("ServiceRetryInterval", default.retry_interval), RETRY_INTERVAL.start),
            RETRY_INTERVAL.stop - 1,
        ),
    )


def _target(found: _Found) -> Target:
    guid = found.raw("TargetGUID") or found.raw("objectGUID")
    if len(guid) != 16:  # noqa: PLR2004  # a GUID
        raise found.wrong("TargetGUID")
    return Target(
        name=found.text("cn") or found.text("name"),
        guid=UUID(bytes_le=guid),
        server=found.text("TargetServer"),
        spn=found.text("TargetSPN"),
        inclusion=found.sid("TargetInclusionSID"),
        exclusion=found.sid("TargetExclusionSID"),
        authentication_service=found.number("TargetAuthenticationService", KERBEROS),
        user_name_format=found.number("TargetUserNameFormat", 3),
        keep_alive=found.number("TargetKeepAliveInterval", 60),
        disabled=found.text("TargetDisabled").upper() == "TRUE",
        warning_level=found.number("TargetQueueWarningLevel", 0),
        warning_interval=found.number("TargetQueueWarningInterval", 30),
        certificate=found.raw("TargetEncryptionKey"),
    )


def _number(value: int) -> bytes:
    return str(value - _U32 if value >= _S32 else value).encode()


def sid_text(raw: bytes) -> str:
    """A SID as text ([MS-DTYP] 2.4.2.2). Raises ValueError, struct.error."""
    if len(raw) < 8 or len(raw) != 8 + 4 * raw[1]:  # noqa: PLR2004  # the header is 8 bytes
        raise ValueError("not a SID")
    parts = struct.unpack(f"<{raw[1]}I", raw[8:])
    return "-".join(["S", str(raw[0]), str(int.from_bytes(raw[2:8], "big")), *map(str, parts)])


def sid_bytes(text: str) -> bytes:
    """The binary form. Raises ValueError."""
    _, revision, authority, *parts = text.split("-")
    head = bytes([int(revision), len(parts)]) + int(authority).to_bytes(6, "big")
    return head + struct.pack(f"<{len(parts)}I", *map(int, parts))
