"""The three connected systems: what their own administrators do there, and the management agents over them.

Bob goes by another name in each. What ties the accounts together is his address.
"""

import json
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bastide_lab import plan
from bastide_lab.targets import Endpoint, slapd
from tools.demo.stage import CORP, Stage

MAIL = f"bob@{CORP}"
#: How people call them, by the names of their agents.
TITLES = {"openldap": "OpenLDAP", "postgresql": "PostgreSQL", "mariadb": "MariaDB"}
LAB_KINDS = {"openldap": "slapd", "postgresql": "postgres", "mariadb": "mariadb"}
LOGINS = {"openldap": f"uid=bbaker,{slapd.PEOPLE}", "postgresql": "bob.baker", "mariadb": "baker_b"}

_PERSON = f"""\
dn: {LOGINS["openldap"]}
objectClass: inetOrgPerson
uid: bbaker
cn: Bob Baker
sn: Baker
mail: {MAIL}
"""
_POSTGRESQL = """\
\\set ON_ERROR_STOP on
CREATE ROLE bastide LOGIN CREATEROLE PASSWORD '{secret}';
CREATE ROLE "{login}" LOGIN PASSWORD '{password}';
CREATE TABLE staff (id integer PRIMARY KEY, login text, mail text);
INSERT INTO staff VALUES (1, '{login}', '{mail}');
GRANT SELECT (id, login, mail) ON staff TO bastide;
"""
_MARIADB = """\
CREATE USER bastide@'%' IDENTIFIED BY '{secret}' REQUIRE SSL;
GRANT SELECT, UPDATE ON mysql.* TO bastide@'%';
CREATE USER '{login}'@'%' IDENTIFIED BY '{password}' REQUIRE SSL;
CREATE TABLE staff (id integer PRIMARY KEY, login varchar(64), mail varchar(64));
INSERT INTO staff VALUES (1, '{login}', '{mail}');
GRANT SELECT (id, login, mail) ON staff TO bastide@'%';
"""
_TARGET = """\
name = "{name}"
connector = "{kind}"
joins = ["mail = mail"]
[settings]
{settings}
[passwords]
verify = true
"""
_SOURCE = """\
name = "corp"
connector = "active-directory"
project = "person"
flows = ["mail -> mail"]
filters = ["mail absent"]
[settings]
domain = "{domain}"
principal = "svc-bastide@{realm}"
keytab = "{keytab}"
[source]
domain = "{domain}"
targets = {targets}
"""


def fresh() -> str:
    """A password of letters, digits, "-" and "_"."""
    return secrets.token_urlsafe(18) + "-aA7"


@dataclass(slots=True)
class System:
    """One of them, with bob's account. `secret`: what Bastide signs in with; `password`: what bob did before the change."""

    name: str
    endpoint: Endpoint
    secret: str = field(default_factory=fresh, repr=False)
    password: str = field(default_factory=fresh, repr=False)

    @property
    def title(self) -> str:
        return TITLES[self.name]

    @property
    def login(self) -> str:
        return LOGINS[self.name]

    def sign_in(self, ca: Path) -> dict[str, Any]:
        """What bob needs, for person.py."""
        port = self.endpoint.tls_port
        given = {
            "host": self.endpoint.host,
            "port": port,
            "name": self.login,
            "ca": str(ca),
            "password": self.password,
        }
        return given | ({"database": self.endpoint.base} if self.name == "postgresql" else {})

    def document(self, ca: Path) -> str:
        """Its management agent in TOML."""
        settings: dict[str, Any] = {"host": self.endpoint.host, "ca": str(ca)}
        if self.name == "openldap":
            settings |= {"bind_name": slapd.SERVICE, "base": slapd.PEOPLE}
        else:
            settings |= {"database": self.endpoint.base, "user": "bastide"}
            settings["read"] = {
                "table": "staff",
                "anchor": "id",
                "dn": "login",
                "attributes": ["login", "mail"],
            }
            settings["passwords"] = {"kind": "role", "name": "login"}
        kind = "ldap" if self.name == "openldap" else self.name
        return _TARGET.format(name=self.name, kind=kind, settings=_toml(settings, "settings"))


def source_document(stage: Stage) -> str:
    """CORP, which makes the people, and where their passwords go."""
    return _SOURCE.format(
        domain=CORP, realm=stage.lab.realm("priv"), keytab=stage.work / "bastide.keytab", targets=json.dumps(list(TITLES))
    )  # fmt: skip


def _toml(values: Mapping[str, Any], table: str) -> str:
    """JSON's strings, numbers and lists are TOML's."""
    tables = {name: value for name, value in values.items() if isinstance(value, dict)}
    lines = [f"{name} = {json.dumps(value)}" for name, value in values.items() if name not in tables]
    for name, inner in tables.items():
        lines += [f"[{table}.{name}]", _toml(inner, f"{table}.{name}")]
    return "\n".join(lines)


def start(stage: Stage) -> dict[str, System]:
    """Start all three; their administrators make bob's account, Bastide's, and what Bastide may read."""
    made = {name: System(name, stage.lab.start_target(kind)) for name, kind in LAB_KINDS.items()}
    _fill_openldap(stage, made["openldap"])
    for name, program in (("postgresql", _psql), ("mariadb", _mariadb)):
        system = made[name]
        text = {"postgresql": _POSTGRESQL, "mariadb": _MARIADB}[name]
        sql = text.format(secret=system.secret, password=system.password, login=system.login, mail=MAIL)
        stage.on("targets", program(stage, system), stdin=sql)
    return made


def _folder(stage: Stage, system: System) -> Path:
    return stage.lab.site.directory(plan.TARGETS) / LAB_KINDS[system.name]


def _psql(stage: Stage, system: System) -> list[str | Path]:
    """As the server's own user, by its Unix socket."""
    become = ["setpriv", "--reuid=postgres", "--regid=postgres", "--init-groups"]
    where = ["-h", str(_folder(stage, system)), "-p", str(system.endpoint.port)]
    return [*become, "psql", "-q", *where, system.endpoint.base]


def _mariadb(stage: Stage, system: System) -> list[str | Path]:
    """As root, by its Unix socket."""
    socket = f"--socket={_folder(stage, system) / 'socket'}"
    return ["mariadb", "--no-defaults", socket, system.endpoint.base]


def _fill_openldap(stage: Stage, system: System) -> None:
    """The lab's service account there has the administrator's password: see bastide_lab.targets.slapd."""
    system.secret = system.endpoint.password
    secret = secret_file(stage, system, newline="")
    where = ["-x", "-H", f"ldaps://{system.endpoint.host}", "-D", slapd.ADMIN, "-y", str(secret)]
    tls = {"LDAPTLS_CACERT": str(stage.lab.ca)}
    stage.on("targets", ["ldapadd", *where], stdin=_PERSON, env=tls)
    stage.on(
        "targets", ["ldappasswd", *where, "-T", "/dev/stdin", system.login], stdin=system.password, env=tls
    )


def secret_file(stage: Stage, system: System, newline: str = "\n") -> Path:
    """What the operator gives to `bastide ma add --secret-file`; readable by root only."""
    path = stage.work / f"{system.name}.secret"
    path.touch(0o600)
    path.write_text(system.secret + newline)
    return path
