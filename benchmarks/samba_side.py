"""Accounts, groups, rights and states straight into sam.ldb, thousands a second. Runs on /usr/bin/python3, beside a controller that runs.

One JSON object on standard input, {"database": path, "operation": name, ...}; one JSON value as the last line on standard output.
"""

import json
import sys
from collections.abc import Callable, Mapping
from typing import Any

import ldb  # type: ignore[import-not-found]
from samba.auth import system_session  # type: ignore[import-not-found]
from samba.dcerpc import misc, security  # type: ignore[import-not-found]
from samba.ndr import ndr_unpack  # type: ignore[import-not-found]
from samba.netcmd.main import samba_tool  # type: ignore[import-not-found]
from samba.param import LoadParm  # type: ignore[import-not-found]
from samba.samdb import SamDB  # type: ignore[import-not-found]

Order = Mapping[str, Any]
# NORMAL_ACCOUNT and PASSWD_NOTREQD ([MS-ADTS] 2.2.16): enabled, without the cost of a password hash each
ENABLED = "544"
COMMIT_EVERY = 5000


def open_database(path: str) -> Any:
    parameters = LoadParm()
    parameters.load_default()
    return SamDB(path, lp=parameters, session_info=system_session(), options=["batch_mode:1"])


def populate(database: Any, order: Order) -> object:
    """Users, then groups; a group named in `members` has all the users. Gives the reference of each by account name."""
    database.transaction_start()
    for name in order["users"]:
        user = {
            "dn": f"CN={name},{order['users_container']}",
            "objectClass": "user",
            "sAMAccountName": name,
            "userAccountControl": ENABLED,
            "accountExpires": order["expires"],
        }
        database.add(user)
    for name, kind in order["groups"].items():
        group = {
            "dn": f"CN={name},{order['groups_container']}",
            "objectClass": "group",
            "sAMAccountName": name,
            "groupType": str(kind),
        }
        if name in order["members"]:
            group["member"] = [f"CN={user},{order['users_container']}" for user in order["users"]]
        database.add(group)
    database.transaction_commit()
    return {name: reference(database, name) for name in (*order["users"], *order["groups"], *order["known"])}


def populate_many(database: Any, order: Order) -> object:
    """A large domain: users, and groups of twenty of them each, in units of their own."""
    users, groups = f"OU=Bulk,{order['base']}", f"OU=BulkGroups,{order['base']}"
    for unit in (users, groups):
        database.add({"dn": unit, "objectClass": "organizationalUnit"})
    database.transaction_start()
    for number in range(order["users"]):
        if number % COMMIT_EVERY == 0:
            database.transaction_commit()
            database.transaction_start()
        name = f"bulk{number:05}"
        user = {
            "dn": f"CN={name},{users}",
            "objectClass": "user",
            "sAMAccountName": name,
            "mail": f"{name}@corp.test",
            "employeeID": str(number),
            "userAccountControl": ENABLED,
        }
        database.add(user)
    for number in range(order["groups"]):
        name = f"bulkgroup{number:04}"
        some = [f"CN=bulk{(number * 20 + one) % order['users']:05},{users}" for one in range(20)]
        database.add(
            {"dn": f"CN={name},{groups}", "objectClass": "group", "sAMAccountName": name, "member": some}
        )
    database.transaction_commit()
    return order["users"]


def change_many(database: Any, order: Order) -> object:
    """Another mail address for each of these, in one transaction."""
    database.transaction_start()
    for number, dn in enumerate(order["people"]):
        replace(database, dn, "mail", [f"{order['stamp']}-{number}@corp.test"])
    database.transaction_commit()
    return len(order["people"])


def set_passwords(database: Any, order: Order) -> object:
    """As an administrator sets them."""
    for name, password in order["passwords"].items():
        database.setpassword(f"(sAMAccountName={name})", password)
    return len(order["passwords"])


def reference(database: Any, name: str) -> dict[str, str]:
    found = database.search(expression=f"(sAMAccountName={name})", attrs=["objectGUID", "objectSid"])[0]
    return {
        "guid": str(ndr_unpack(misc.GUID, found["objectGUID"][0])),
        "sid": str(ndr_unpack(security.dom_sid, found["objectSid"][0])),
        "dn": str(found.dn),
        "name": name,
    }


def grant_rights(_database: Any, order: Order) -> object:
    """Entries of the product's delegation, with the tool its script calls, in one process: seconds instead of half a minute."""
    for dn, sddl in order["rights"]:
        arguments = ("dsacl", "set", f"--objectdn={dn}", f"--sddl={sddl}", "-H", order["database"])
        if samba_tool(*arguments):
            raise SystemExit(f"no rights on {dn}")
    return len(order["rights"])


def arrange(database: Any, order: Order) -> object:
    """The group has exactly these members, and the users this end (FILETIME), whatever was before."""
    database.transaction_start()
    replace(database, order["group"], "member", order["members"])
    for dn in order["users"]:
        replace(database, dn, "accountExpires", [order["expires"]])
    database.transaction_commit()
    return len(order["users"])


def replace(database: Any, dn: str, name: str, values: list[str]) -> None:
    change = ldb.Message(ldb.Dn(database, dn))
    change[name] = ldb.MessageElement(values, ldb.FLAG_MOD_REPLACE, name)
    database.modify(change)


OPERATIONS: dict[str, Callable[[Any, Order], object]] = {
    "populate": populate,
    "populate_many": populate_many,
    "change_many": change_many,
    "set_passwords": set_passwords,
    "grant_rights": grant_rights,
    "arrange": arrange,
}


if __name__ == "__main__":
    request = json.load(sys.stdin)
    answer = OPERATIONS[request["operation"]](open_database(request["database"]), request)
    print(json.dumps(answer))
