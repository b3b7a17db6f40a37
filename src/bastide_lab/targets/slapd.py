"""OpenLDAP with password policy: a suffix, two units, and a service account that may set passwords, unlock, and nothing else.

The program is copied: Debian's AppArmor profile is for /usr/sbin/slapd, and knows only the system's own directories.
"""

import shutil
import signal
from urllib.parse import quote

from bastide_lab.process import Command
from bastide_lab.targets.place import Endpoint, Place

USER, GROUP = "openldap", "openldap"
PORT, TLS_PORT = 389, 636
STOP_SIGNAL = signal.SIGTERM
BASE = "dc=people,dc=test"
ADMIN = f"cn=admin,{BASE}"
PEOPLE = f"ou=people,{BASE}"
#: Its password is the administrator's. Policy counts for it, as it does not for the administrator (slapo-ppolicy(5)).
SERVICE = f"cn=bastide,ou=services,{BASE}"
POLICY = f"cn=default,ou=policies,{BASE}"
PROGRAM = "/usr/sbin/slapd"

CONFIGURATION = """\
include /etc/ldap/schema/core.schema
include /etc/ldap/schema/cosine.schema
include /etc/ldap/schema/inetorgperson.schema
modulepath /usr/lib/ldap
moduleload back_mdb
moduleload ppolicy
moduleload back_monitor
pidfile {place}/run.pid
argsfile {place}/run.args
TLSCACertificateFile {ca}
TLSCertificateFile {place}/server.crt
TLSCertificateKeyFile {place}/server.key
TLSProtocolMin 3.3
sizelimit 500
sizelimit size.pr=unlimited size.prtotal=unlimited

database monitor
access to * by dn.exact="{admin}" read

database mdb
suffix "{base}"
rootdn "{admin}"
rootpw {password}
directory {place}/data
maxsize 1073741824
dbnosync
index objectClass eq
index uid eq
index entryUUID eq
index modifyTimestamp eq
overlay ppolicy
ppolicy_default "{policy}"
access to attrs=userPassword
  by dn.exact="{service}" write
  by self write
  by anonymous auth
  by * none
access to attrs=pwdReset,pwdAccountLockedTime
  by dn.exact="{service}" manage
  by * read
access to *
  by dn.exact="{service}" read
  by self read
  by * none
"""
CONTENT = """\
dn: {base}
objectClass: domain
dc: people

dn: ou=people,{base}
objectClass: organizationalUnit
ou: people

dn: ou=services,{base}
objectClass: organizationalUnit
ou: services

dn: ou=policies,{base}
objectClass: organizationalUnit
ou: policies

dn: {service}
objectClass: organizationalRole
objectClass: simpleSecurityObject
cn: bastide
userPassword: {password}

dn: {policy}
objectClass: device
objectClass: pwdPolicy
cn: default
pwdAttribute: userPassword
pwdMinLength: 8
pwdCheckQuality: 2
pwdLockout: TRUE
pwdMaxFailure: 3
pwdLockoutDuration: 0
pwdAllowUserChange: TRUE
"""


def start(place: Place, endpoint: Endpoint) -> None:
    """Returns when it answers."""
    program = place.directory / "slapd"
    configuration = place.directory / "slapd.conf"
    if not configuration.exists():
        shutil.copy(PROGRAM, program)
        _populate(place, endpoint)
    socket = f"ldapi://{quote(str(place.directory / 'ldapi'), safe='')}"
    addresses = f"ldap://:{endpoint.port}/ ldaps://:{endpoint.tls_port}/ {socket}"
    place.run([program, "-h", addresses, "-f", configuration, "-u", USER, "-g", GROUP])
    question = ["ldapsearch", "-x", "-LLL", "-H", socket, "-s", "base", "-b", "", "1.1"]
    place.wait_until(lambda: place.run(question))


def _populate(place: Place, endpoint: Endpoint) -> None:
    values = {
        "place": place.directory,
        "ca": place.site.tls / "ca.crt",
        "base": BASE,
        "admin": ADMIN,
        "service": SERVICE,
        "policy": POLICY,
        "password": endpoint.password,
    }
    data = place.directory / "data"
    data.mkdir(mode=0o700)
    shutil.chown(data, USER, GROUP)
    partial = place.directory / "slapd.conf.new"
    partial.touch(mode=0o640)
    shutil.chown(partial, "root", GROUP)
    partial.write_text(CONFIGURATION.format(**values))
    add: Command = [place.directory / "slapd", "-T", "add", "-f", partial, "-b", BASE]
    place.run_as_user(add, stdin=CONTENT.format(**values))
    partial.rename(place.directory / "slapd.conf")
