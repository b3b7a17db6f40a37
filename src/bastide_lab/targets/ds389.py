"""389 Directory Server: a suffix, two units, and a service account that may set passwords, unlock, and nothing else.

Debian's own setup wants systemd; the server itself wants a configuration made of its template, and a certificate in a database of NSS.
"""

import base64
import hashlib
import os
import shutil
import signal
from pathlib import Path

from bastide_lab.process import Command
from bastide_lab.targets.place import Endpoint, Place

USER, GROUP = "dirsrv", "dirsrv"
PORT, TLS_PORT = 3389, 3636
STOP_SIGNAL = signal.SIGTERM
BASE = "dc=people,dc=test"
ADMIN = "cn=Directory Manager"
PEOPLE = f"ou=people,{BASE}"
#: Its password is the administrator's.
SERVICE = f"cn=bastide,ou=services,{BASE}"
PROGRAM = "/usr/sbin/ns-slapd"
TEMPLATES = Path("/usr/share/dirsrv/data")
BACK_END = "userRoot"

#: What the template's first entry, cn=config, gets besides. Our tests' passwords are short.
SETTINGS = """\
nsslapd-security: on
nsslapd-secureport: {tls_port}
passwordCheckSyntax: off
passwordStorageScheme: SSHA512
passwordLockout: on
passwordMaxFailure: 3
passwordUnlock: off
passwordIsGlobalPolicy: on
"""
#: Where it would keep classes of our own; without this file it does not start.
OWN_SCHEMA = """\
dn: cn=schema
objectClass: top
objectClass: ldapSubentry
objectClass: subschema
cn: schema
"""
CONTENT = """\
dn: {base}
objectClass: domain
dc: people

dn: ou=people,{base}
objectClass: organizationalUnit
ou: people
aci: (targetattr="userPassword")(version 3.0; acl "bastide sets"; allow (write) userdn="ldap:///{service}";)
aci: (targetattr="accountUnlockTime || passwordRetryCount || retryCountResetTime")(version 3.0; acl "bastide unlocks"; allow (write) userdn="ldap:///{service}";)
aci: (targetattr!="userPassword")(version 3.0; acl "bastide reads"; allow (read,search,compare) userdn="ldap:///{service}";)
aci: (targetattr="userPassword")(version 3.0; acl "own"; allow (write) userdn="ldap:///self";)

dn: ou=services,{base}
objectClass: organizationalUnit
ou: services

dn: {service}
objectClass: organizationalRole
objectClass: simpleSecurityObject
cn: bastide
userPassword: {password}
"""


def start(place: Place, endpoint: Endpoint) -> None:
    """Returns when it answers. A first start that was interrupted begins again: its content is still to be read in."""
    if not _configuration(place).exists() or _content(place).exists():
        _clear(place)
        _populate(place, endpoint)
    place.run_as_user([PROGRAM, "-D", _configuration(place), "-i", place.directory / "run.pid"])
    question = [
        "ldapsearch",
        "-x",
        "-LLL",
        "-H",
        f"ldap://localhost:{endpoint.port}",
        "-s",
        "base",
        "-b",
        "",
        "1.1",
    ]
    place.wait_until(lambda: place.run(question))


def _configuration(place: Place) -> Path:
    return place.directory / "configuration"


def _content(place: Place) -> Path:
    """There until the server has read it in."""
    return place.directory / "content.ldif"


def _partial(place: Place) -> Path:
    return place.directory / "configuration.new"


def _clear(place: Place) -> None:
    """What a first start that was interrupted has left: certutil and pk12util add to a database that is there."""
    for folder in (
        _partial(place),
        _configuration(place),
        *(place.directory / name for name in ("data", "work")),
    ):
        if folder.exists():
            shutil.rmtree(folder)
    for file in (_content(place), _packed(place)):
        file.unlink(missing_ok=True)


def _populate(place: Place, endpoint: Endpoint) -> None:
    partial = _partial(place)
    for folder in (partial / "schema", *(place.directory / name for name in ("data", "logs", "work"))):
        place.run_as_user(["mkdir", "-p", "-m", "700", folder])
    _write_private(place, partial / "schema" / "99user.ldif", OWN_SCHEMA)
    _write_private(place, partial / "dse.ldif", _settings(place, endpoint))
    _certify(place, partial)
    content = _content(place)
    _write_private(place, content, CONTENT.format(base=BASE, service=SERVICE, password=endpoint.password))
    partial.rename(_configuration(place))
    place.run_as_user(
        [PROGRAM, "ldif2db", "-D", _configuration(place), "-n", BACK_END, "-i", content], timeout=60
    )
    content.unlink()


def _settings(place: Place, endpoint: Endpoint) -> str:
    """The package's template with our places, and one back end."""
    work, logs = str(place.directory / "work"), str(place.directory / "logs")
    values = {
        **dict.fromkeys(
            ("lock_dir", "tmp_dir", "ldif_dir", "bak_dir", "run_dir", "inst_dir", "db_home_dir"), work
        ),
        "log_dir": logs,
        "cert_dir": str(_configuration(place)),
        "config_dir": str(_configuration(place)),
        "schema_dir": str(_configuration(place) / "schema"),
        "db_dir": str(place.directory / "data"),
        "db_lib": "bdb",
        "ds_bename": BACK_END,
        "ds_suffix": BASE,
        "ds_user": USER,
        "ds_port": str(endpoint.port),
        "ds_passwd": _salted(endpoint.password),
        "fqdn": endpoint.host,
        "rootdn": ADMIN,
        "ldapi": str(place.directory / "ldapi"),
        "ldapi_enabled": "off",
        "ldapi_autobind": "off",
    }
    text = (TEMPLATES / "template-dse.ldif").read_text().strip("\n")
    first, rest = text.split("\n\n", 1)
    own = SETTINGS.format(tls_port=endpoint.tls_port)
    back_end = "\n".join(
        line for line in (TEMPLATES / "template-suffix-db.ldif").read_text().splitlines() if line[:1] != "#"
    )
    whole = f"{first}\n{own}\n{rest}\n\n{back_end.strip()}\n"
    for name, value in values.items():
        whole = whole.replace(f"%{name}%", value)
    return whole


def _certify(place: Place, folder: Path) -> None:
    """Key and certificate into a database of NSS without a password: the folder is the server's alone."""
    packed = _packed(place)
    database: Command = ["-d", f"sql:{folder}"]
    place.run_as_user(["certutil", "-N", *database, "--empty-password"])
    export: Command = [
        "openssl",
        "pkcs12",
        "-export",
        "-name",
        "Server-Cert",
        "-passout",
        "pass:",
        "-out",
        packed,
    ]
    place.run_as_user(
        [*export, "-in", place.directory / "server.crt", "-inkey", place.directory / "server.key"]
    )
    place.run_as_user(["pk12util", "-i", packed, *database, "-W", "", "-K", ""])
    authority = (place.site.tls / "ca.crt").read_text()
    place.run_as_user(["certutil", "-A", *database, "-n", "ca", "-t", "CT,,"], stdin=authority)
    packed.unlink()


def _packed(place: Place) -> Path:
    """Key and certificate on their way from one form to the other."""
    return place.directory / "server.p12"


def _write_private(place: Place, path: Path, text: str) -> None:
    place.run_as_user(["sh", "-c", 'umask 077 && cat > "$0"', path], stdin=text)


def _salted(password: str) -> str:
    """The form in which the server takes it in its configuration."""
    salt = os.urandom(16)
    digest = hashlib.sha512(password.encode() + salt).digest()
    return "{SSHA512}" + base64.b64encode(digest + salt).decode()
