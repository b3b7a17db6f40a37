"""Runs on the system's Python, which has Samba's libraries: makes a computer account over SAMR, on the quota of the ticket's owner.

Standard input: {"server": .., "name": .., "realm": .., "user": ..}.
"""

import json
import os
import sys

from samba.credentials import MUST_USE_KERBEROS, SPECIFIED, Credentials  # type: ignore[import-not-found]
from samba.dcerpc import lsa, samr, security  # type: ignore[import-not-found]
from samba.param import LoadParm  # type: ignore[import-not-found]

#: ACB_WSTRUST ([MS-SAMR] 2.2.1.12).
_WORKSTATION = 0x80


def main() -> None:
    order = json.load(sys.stdin)
    lp = LoadParm()
    lp.set("realm", order["realm"])
    credentials = Credentials()
    credentials.set_realm(order["realm"])
    credentials.set_domain(order["realm"].partition(".")[0])
    credentials.set_username(order["user"])
    credentials.set_named_ccache(os.environ["KRB5CCNAME"], SPECIFIED, lp)
    credentials.set_kerberos_state(MUST_USE_KERBEROS)
    connection = samr.samr(f"ncacn_np:{order['server']}[seal]", lp, credentials)
    server = connection.Connect2(order["server"], security.SEC_FLAG_MAXIMUM_ALLOWED)
    name = lsa.String()
    name.string = order["realm"].partition(".")[0]
    sid = connection.LookupDomain(server, name)
    domain = connection.OpenDomain(server, security.SEC_FLAG_MAXIMUM_ALLOWED, sid)
    computer = lsa.String()
    computer.string = order["name"]
    connection.CreateUser2(domain, computer, _WORKSTATION, security.SEC_FLAG_MAXIMUM_ALLOWED)


if __name__ == "__main__":
    main()
