"""Systems for the contract of targets: each gives a Subject. Real ones run on the lab, in their own namespace."""

import base64
import hashlib
import json
import os
import secrets
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import ldap

from bastide.directory.constants import GUID_CLASS_USER, GUID_RESET_PASSWORD
from bastide.directory.entries import Entry
from bastide.directory.kerberos import Identity
from bastide.directory.ldap import SealedConnect
from bastide.directory.session import REPLACE, Session
from bastide.domain.ids import Sid
from bastide.domain.management_agents import CsId, CsObject, MaId
from bastide.services.passwords.ports import Imported
from bastide.targets.active_directory import AdTarget
from bastide.targets.ad_connection import ActiveDirectorySettings
from bastide.targets.conformance import Subject
from bastide.targets.kinds import Opening
from bastide.targets.ldap import LdapConnector, LdapSettings, LdapTarget
from bastide.targets.memory import MemorySystem, MemoryTarget
from bastide.targets.plugins import PluginTarget
from bastide.targets.process import ProcessSettings, ProcessTarget
from bastide.targets.spelling import unfit
from bastide_lab import plan
from bastide_lab.lab import Lab
from bastide_lab.targets import Endpoint, ds389, slapd
from tests.support import sample_plugin
from tests.support.sample_plugin import SamplePlugin

ABSENT = "00000000-0000-4000-8000-00000000dead"
#: schemaIDGUID of pwdLastSet and lockoutTime ([MS-ADA3] 2.175, [MS-ADA1] 2.358).
GUID_PWD_LAST_SET = "bf967a0a-0de6-11d0-a285-00aa003049e2"
GUID_LOCKOUT_TIME = "28630ebf-41d5-11d1-a9c1-0000f80367c1"


def now() -> datetime:
    return datetime.now(UTC)


def opening(secret: str) -> Opening:
    return Opening(name="test", secret=secret, now=now, monotonic=time.monotonic)


def cs_object(anchor: str, dn: str = "") -> CsObject:
    return CsObject(
        id=CsId(anchor), ma=MaId("ma"), anchor=anchor, dn=dn or anchor, type="user", attributes={}
    )


def memory_subject() -> Subject:
    system = MemorySystem(policy=lambda password: refused.detail if (refused := unfit(password)) else "")
    system.put("someone")

    def lock() -> None:
        for _ in range(system.lockout):
            system.rewrite("someone", "wrong", "wrong again")

    return Subject(
        make=lambda: MemoryTarget(system, ""),
        account=cs_object("someone"),
        absent=cs_object("nobody"),
        signs_in=lambda password: system.opens("someone", password),
        lock=lock,
    )


def plugin_subject() -> Subject:
    return Subject(
        make=lambda: PluginTarget(SamplePlugin, {}, opening(sample_plugin.SECRET)),
        account=cs_object("sample"),
        absent=cs_object("nobody"),
        signs_in=lambda password: sample_plugin.signs_in("sample", password),
    )


# --------------------------------------------------------------------------------------------------------------- process


def install_program(folder: Path) -> Path:
    """The sample, as a program that only its owner may write."""
    program = folder / "program"
    shutil.copy(Path(__file__).with_name("sample_program.py"), program)
    program.chmod(0o755)
    (folder / "accounts.json").write_text(json.dumps({"first": {"hash": "$"}, "second": {"hash": "$"}}))
    return program


def process_target(folder: Path, *, timeout: float = 10.0, **settings: object) -> ProcessTarget:
    """A target over the sample; the user of the test may own it, so that no root is needed."""
    given = ProcessSettings(
        program=str(folder / "program"),
        settings={"accounts": str(folder / "accounts.json"), **settings},
        timeout=timeout,
    )
    return ProcessTarget(given, opening("the-secret-of-the-agent"), owners={0, os.geteuid()})


def process_signs_in(folder: Path, name: str, password: str) -> bool:
    salt, _, expected = json.loads((folder / "accounts.json").read_text())[name]["hash"].partition("$")
    return bool(expected) and hashlib.sha256(salt.encode() + password.encode()).hexdigest() == expected


def process_subject(folder: Path) -> Subject:
    install_program(folder)
    return Subject(
        make=lambda: process_target(folder),
        account=cs_object("first"),
        absent=cs_object("nobody"),
        signs_in=lambda password: process_signs_in(folder, "first", password),
    )


# -------------------------------------------------------------------------------------------------------------- OpenLDAP


@dataclass
class Slapd:
    """The lab's slapd, with people of our own in it."""

    lab: Lab
    endpoint: Endpoint
    service: str = slapd.SERVICE
    people: str = slapd.PEOPLE
    anchor: str = "entryUUID"

    def settings(self, **changes: Any) -> LdapSettings:
        given: dict[str, Any] = {
            "anchor": self.anchor,
            "host": self.endpoint.host,
            "port": self.endpoint.tls_port,
            "base": self.endpoint.base,
            "bind_name": self.service,
            "ca": str(self.lab.ca),
        }
        return LdapSettings(**{**given, **changes})

    def opening(self) -> Opening:
        return opening(self.endpoint.password)

    def target(self, **changes: Any) -> LdapTarget:
        return LdapTarget(self.settings(**changes), self.opening())

    def bare(self, name: str, password: str) -> Any:
        """A connection that is bound as that name, with python-ldap alone. Raises ldap.INVALID_CREDENTIALS."""
        raw = ldap.initialize(f"ldaps://{self.endpoint.host}:{self.endpoint.tls_port}")
        raw.set_option(ldap.OPT_X_TLS_CACERTFILE, str(self.lab.ca))
        raw.set_option(ldap.OPT_X_TLS_NEWCTX, 0)
        raw.simple_bind_s(name, password)
        return raw

    def admin(self) -> Any:
        return self.bare(self.endpoint.admin, self.endpoint.password)

    def add_person(self, **attributes: str) -> CsObject:
        """Another one each time."""
        uid = f"p{secrets.token_hex(4)}"
        values = {"objectClass": "inetOrgPerson", "cn": uid, "sn": uid, "uid": uid, **attributes}
        dn = f"uid={uid},{self.people}"
        raw = self.admin()
        raw.add_s(dn, [(name, [value.encode()]) for name, value in values.items()])
        ((_, found),) = raw.search_s(dn, ldap.SCOPE_BASE, "(objectClass=*)", [self.anchor])
        raw.unbind_s()
        return cs_object(found[self.anchor][0].decode(), dn)

    def signs_in(self, dn: str, password: str) -> bool:
        """By the hash that it keeps (RFC 2307): a sign-in that fails would be counted, and lock the account."""
        raw = self.admin()
        ((_, found),) = raw.search_s(dn, ldap.SCOPE_BASE, "(objectClass=*)", ["userPassword"])
        raw.unbind_s()
        scheme, _, text = found["userPassword"][0].decode().partition("}")
        stored, name = base64.b64decode(text), {"{SSHA": "sha1", "{SSHA512": "sha512"}[scheme]
        size = hashlib.new(name).digest_size
        return stored[:size] == hashlib.new(name, password.encode() + stored[size:]).digest()

    def read(self, cookie: bytes, **changes: Any) -> tuple[dict[str, Imported], bytes]:
        """An import: by anchor, and the mark for the next."""
        found: dict[str, Imported] = {}
        for page in LdapConnector(self.settings(**changes), self.opening()).read(cookie):
            found |= {one.anchor: one for one in page.objects}
            cookie = page.cookie
        return found, cookie

    def subject(self) -> Subject:
        person = self.add_person()
        return Subject(
            make=self.target,
            account=person,
            absent=cs_object(ABSENT, f"uid=absent,{self.people}"),
            signs_in=lambda password: self.signs_in(person.dn, password),
            lock=lambda: self.lock(person.dn),
        )

    def lock(self, dn: str) -> None:
        """Wrong passwords, one more than it takes: the last one finds the account locked."""
        for _ in range(4):
            with suppress(ldap.INVALID_CREDENTIALS, ldap.CONSTRAINT_VIOLATION):
                self.bare(dn, "wrong-password-1")


def directory_389(lab: Lab) -> Slapd:
    """The lab's 389-ds: the same protocol, another server."""
    endpoint = lab.start_target("389-ds")
    return Slapd(lab, endpoint, ds389.SERVICE, ds389.PEOPLE, "nsUniqueId")


# ----------------------------------------------------------------------------------------------------------------- Samba


def accepts(lab: Lab, host: str, dn: str, password: str) -> bool:
    """Whether that controller takes a simple bind, by LDAPS."""
    raw = ldap.initialize(f"ldaps://{lab.fqdn(host)}")
    raw.set_option(ldap.OPT_X_TLS_CACERTFILE, str(lab.ca))
    raw.set_option(ldap.OPT_X_TLS_NEWCTX, 0)
    try:
        raw.simple_bind_s(dn, password)
    except ldap.INVALID_CREDENTIALS:
        return False
    finally:
        raw.unbind_s()
    return True


class Samba:
    """The PRIV domain as a target: an OU of our own, and an account that may reset passwords in it and no more."""

    domain = plan.PRIV.dns

    def __init__(self, lab: Lab, folder: Path) -> None:
        self.lab = lab
        self.base = lab.base_dn("priv")
        mark = secrets.token_hex(3)
        self.unit = f"OU=Synchronized {mark},{self.base}"
        self.service = f"svc-sync-{mark}"
        self.password = f"Aa1-{secrets.token_urlsafe(18)}"
        keytab = folder / "administrator.keytab"
        lab.keytab("priv", ["Administrator"], keytab)
        identity = Identity(f"Administrator@{lab.realm('priv')}", keytab)
        self.admin: Session = SealedConnect(identity, now)(lab.fqdn("privdc"))[0]
        self._arrange()
        self.keytab = folder / "svc-sync.keytab"
        lab.keytab("priv", [self.service], self.keytab)

    def close(self) -> None:
        for entry in self.admin.search(self.unit, "(objectClass=user)", ["objectClass"]):
            self.admin.delete(entry.dn)
        self.admin.delete(self.unit)
        self.admin.raw.unbind_s()

    def settings(self, **changes: Any) -> ActiveDirectorySettings:
        given: dict[str, Any] = {
            "domain": self.domain,
            "controllers": (self.lab.fqdn("privdc"),),
            "bind_name": f"{self.service}@{self.domain}",
            "ca": str(self.lab.ca),
            "base": self.unit,
        }
        return ActiveDirectorySettings(**{**given, **changes})

    def kerberos(self, **changes: Any) -> ActiveDirectorySettings:
        principal = f"{self.service}@{self.lab.realm('priv')}"
        return self.settings(bind_name="", principal=principal, keytab=str(self.keytab), **changes)

    def target(self, settings: ActiveDirectorySettings | None = None) -> AdTarget:
        return AdTarget(settings or self.settings(), opening(self.password))

    def add_user(self, name: str = "", **attributes: bytes) -> Entry:
        """An enabled account without a password yet."""
        chosen = name or f"u{secrets.token_hex(4)}"
        dn = f"CN={chosen},{self.unit}"
        values = {"objectClass": b"user", "sAMAccountName": chosen.encode(), "userAccountControl": b"544"}
        self.admin.add(dn, {key: [value] for key, value in {**values, **attributes}.items()})
        return self.admin.must_read(dn, ["*"])

    def signs_in(self, dn: str, password: str) -> bool:
        """By LDAP, at the same controller; the domain locks nobody."""
        return accepts(self.lab, "privdc", dn, password)

    def subject(self, settings: ActiveDirectorySettings | None = None) -> Subject:
        user = self.add_user()
        return Subject(
            make=lambda: self.target(settings),
            account=cs_object(user.guid(), user.dn),
            absent=cs_object(ABSENT),
            signs_in=lambda password: self.signs_in(user.dn, password),
            lock=lambda: self.lock(user.dn),
        )

    def lock(self, dn: str) -> None:
        """Three wrong passwords, while a policy object for this user alone says that three lock; the lock outlives it."""
        with self.strict(dn):
            for _ in range(3):
                self.signs_in(dn, "wrong")

    @contextmanager
    def strict(self, dn: str, *, length: int = 7) -> Iterator[str]:
        """A policy object (PSO, [MS-ADTS] 3.1.1.4.5.36) for one user: three failures lock for half an hour."""
        name = f"CN=strict {secrets.token_hex(3)},CN=Password Settings Container,CN=System,{self.base}"
        half_an_hour = str(-1800 * 10**7)
        values = {
            "objectClass": "msDS-PasswordSettings",
            "msDS-PasswordSettingsPrecedence": "7",
            "msDS-PasswordReversibleEncryptionEnabled": "FALSE",
            "msDS-PasswordHistoryLength": "24",
            "msDS-PasswordComplexityEnabled": "TRUE",
            "msDS-MinimumPasswordLength": str(length),
            "msDS-MinimumPasswordAge": "0",
            "msDS-MaximumPasswordAge": str(-90 * 86400 * 10**7),
            "msDS-LockoutThreshold": "3",
            "msDS-LockoutObservationWindow": half_an_hour,
            "msDS-LockoutDuration": half_an_hour,
            "msDS-PSOAppliesTo": dn,
        }
        self.admin.add(name, {key: [value.encode()] for key, value in values.items()})
        try:
            yield name
        finally:
            self.admin.delete(name)

    def _arrange(self) -> None:
        self.admin.add(self.unit, {"objectClass": [b"organizationalUnit"]})
        user = self.add_user(self.service)
        quoted = f'"{self.password}"'.encode("utf-16-le")
        self.admin.modify(
            user.dn, [(REPLACE, "unicodePwd", [quoted]), (REPLACE, "userAccountControl", [b"512"])]
        )
        database = self.lab.site.database(plan.host("privdc"))
        command: list[str | Path] = [
            "samba-tool",
            "dsacl",
            "set",
            "-H",
            database,
            "--objectdn",
            self.unit,
            "--sddl",
            _rights(user.sid()),
        ]
        self.lab.exec("privdc", command, check=True)


def pwd_last_set(sid: Sid) -> str:
    """What an account needs to make people change their passwords."""
    return f"(OA;CIIO;RPWP;{GUID_PWD_LAST_SET};{GUID_CLASS_USER};{sid})"


def _rights(sid: Sid) -> str:
    user = GUID_CLASS_USER
    return (
        f"(OA;CIIO;CR;{GUID_RESET_PASSWORD};{user};{sid})"
        f"{pwd_last_set(sid)}"
        f"(OA;CIIO;RPWP;{GUID_LOCKOUT_TIME};{user};{sid})"
    )


@contextmanager
def samba(lab: Lab, folder: Path) -> Iterator[Samba]:
    """Arranged, and taken away again."""
    made = Samba(lab, folder)
    try:
        yield made
    finally:
        made.close()
