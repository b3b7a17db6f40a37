"""The part that needs Samba's own Python bindings. Runs as a program on /usr/bin/python3, in a controller's namespace.

It reads one JSON object from standard input, {"operation": name, ...}, because it holds passwords; samba-tool's commands
are called inside of this process for the same reason: their arguments never become those of a process. What is printed
goes to the controller's log, so nothing here prints its input.
"""

import json
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import ldb  # type: ignore[import-not-found]
from samba import ntacls  # type: ignore[import-not-found]
from samba.auth import system_session  # type: ignore[import-not-found]
from samba.ndr import ndr_pack  # type: ignore[import-not-found]
from samba.netcmd.main import samba_tool  # type: ignore[import-not-found]
from samba.param import LoadParm  # type: ignore[import-not-found]
from samba.provision.sambadns import ARecord  # type: ignore[import-not-found]
from samba.samdb import SamDB  # type: ignore[import-not-found]

Order = Mapping[str, Any]

# Owner and rights of a share's tree: Domain Admins and SYSTEM all, the readers all, nobody else anything.
SHARE_SDDL = "O:LAG:DAD:P(A;OICI;FA;;;DA)(A;OICI;FA;;;SY)(A;OICI;FA;;;{sid})"

ATTEMPTS = 5


def tool(*arguments: str) -> None:
    """A samba-tool command in this process. Its own messages go to the log; arguments do not."""
    if samba_tool(*arguments):
        raise SystemExit(f"samba-tool {' '.join(arguments[:3])} failed")


def patiently(*arguments: str) -> None:
    """A command that is safe to repeat. On a machine with much to do the other controller's answer comes too late for the RPC library."""
    for _ in range(ATTEMPTS - 1):
        if not samba_tool(*arguments):
            return
    tool(*arguments)


def open_database(path: str) -> Any:
    return SamDB(path, lp=loadparm(), session_info=system_session())


def loadparm() -> Any:
    """The host's smb.conf: SMB_CONF_PATH names it."""
    parameters = LoadParm()
    parameters.load_default()
    return parameters


def provision(order: Order) -> None:
    tool("domain", "provision", *order["arguments"], f"--adminpass={order['password']}")


def join(order: Order) -> None:
    tool(
        "domain",
        "join",
        order["domain"],
        "DC",
        *order["arguments"],
        f"-U{order['account']}%{order['password']}",
    )


def knit(order: Order) -> None:
    """Make two controllers replicate both ways now, not at their next periodic check, and notify each other from then on."""
    login = f"-U{order['account']}%{order['password']}"
    for controller in order["controllers"]:
        patiently("drs", "kcc", controller, login)
    forth = tuple(order["controllers"])
    base = order["base_dn"]
    for part in (
        "CN=Schema,CN=Configuration,",
        "CN=Configuration,",
        "",
        "DC=DomainDnsZones,",
        "DC=ForestDnsZones,",
    ):
        for destination, source in (forth, forth[::-1]):
            patiently("drs", "replicate", destination, source, part + base, login)


def trust(order: Order) -> None:
    """One way, seen from here: outgoing. Without validation, which the trusted side of a one-way trust always fails."""
    tool(
        *("domain", "trust", "create", order["domain"]),
        *("--type=forest", "--direction=outgoing", "--create-location=both", "--skip-validation"),
        f"-U{order['account']}%{order['password']}",
    )


def export_keytab(order: Order) -> None:
    for principal in order["principals"]:
        tool("domain", "exportkeytab", order["path"], f"--principal={principal}")


def populate(order: Order) -> None:
    """Write the scene into the directory of a controller that is not running."""
    database = open_database(order["database"])
    relax_password_ages(database)
    for unit in order["units"]:
        database.create_ou(f"{unit},{database.domain_dn()}")
    for group in order["groups"]:
        database.newgroup(**group)
    for person in order["people"]:
        database.newuser(
            **person, useusernameascn=None
        )  # None, not False: the display name is the common name
    for group, member in order["memberships"]:
        database.add_remove_group_members(group, [member])
    for service in order["services"]:
        add_service(database, service)
    for name, address in order["addresses"]:
        add_address(database, name, address)
    for share in order["shares"]:
        add_share(database, share)


def relax_password_ages(database: Any) -> None:
    """No least age, which would refuse a test's change; no greatest, by which an old snapshot would go bad."""
    database.set_minPwdAge("0")
    database.set_maxPwdAge("0")


def add_address(database: Any, name: str, address: str) -> None:
    """An A record, [MS-ADTS] 6.1.1.1.5: a dnsNode below its zone in the application partition."""
    label, _, zone = name.partition(".")
    record = {
        "dn": f"DC={label},DC={zone},CN=MicrosoftDNS,DC=DomainDnsZones,{database.domain_dn()}",
        "objectClass": ["top", "dnsNode"],
        "dnsRecord": [ndr_pack(ARecord(address))],
    }
    database.add(record)


def add_service(database: Any, service: Order) -> None:
    account = service["username"]
    database.newuser(account, service["password"], useusernameascn=True, userou=service["userou"])
    found = database.search(expression=f"(sAMAccountName={account})", attrs=["dn"])
    change = ldb.Message(found[0].dn)
    values = {"msDS-SupportedEncryptionTypes": [str(service["encryption_types"])]}
    if service["principals"]:
        values["servicePrincipalName"] = list(service["principals"])
    for name, value in values.items():
        change[name] = ldb.MessageElement(value, ldb.FLAG_MOD_REPLACE, name)
    database.modify(change)


def add_share(database: Any, share: Order) -> None:
    directory = Path(share["path"])
    directory.mkdir(parents=True)
    file = directory / share["file"]
    file.write_text(share["content"])
    found = database.search(expression=f"(sAMAccountName={share['readers']})", attrs=["objectSid"])
    sid = database.schema_format_value("objectSid", found[0]["objectSid"][0]).decode()
    for path in (directory, file):
        # The NT ACL decides; smbd would otherwise also ask the mode bits.
        path.chmod(0o777)
        ntacls.setntacl(
            loadparm(), str(path), SHARE_SDDL.format(sid=sid), database.get_domain_sid(), system_session()
        )


OPERATIONS: dict[str, Callable[[Order], None]] = {
    "provision": provision,
    "populate": populate,
    "trust": trust,
    "join": join,
    "knit": knit,
    "export_keytab": export_keytab,
}


if __name__ == "__main__":
    request = json.load(sys.stdin)
    OPERATIONS[request["operation"]](request)
