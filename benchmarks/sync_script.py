"""What `samba-tool user syncpasswords` calls: takes LDIF on standard input, sets the password in slapd by RFC 3062.

Usage: sync_script.py FILE, which says how to get at slapd (mode 0600). An administrator would write it so: python-ldap, and nothing around it.
"""

import base64
import json
import sys
from pathlib import Path

import ldap


def main() -> None:
    """One object. syncpasswords wants to hear DONE-EXIT."""
    order = json.loads(Path(sys.argv[1]).read_text())
    found: dict[str, str] = {}
    for line in sys.stdin.read().replace("\n ", "").splitlines():
        name, _, value = line.partition(":")
        found[name] = base64.b64decode(value[1:]).decode() if value.startswith(":") else value.strip()
    password = found.get("virtualClearTextUTF8")
    if password is None:
        print("DONE-EXIT: no password")
        return
    raw = ldap.initialize(f"ldaps://{order['host']}:{order['port']}")
    raw.set_option(ldap.OPT_X_TLS_CACERTFILE, order["ca"])
    raw.set_option(ldap.OPT_X_TLS_NEWCTX, 0)
    raw.simple_bind_s(order["service"], order["password"])
    raw.passwd_s(f"uid={found['sAMAccountName']},{order['base']}", None, password)
    raw.unbind_s()
    print("DONE-EXIT: set")


if __name__ == "__main__":
    main()
