"""Is this domain controller answering? Runs as a program inside of the controller's namespace, on any Python.

usage: ready.py ADDRESS SECONDS FILE...   exit code 0 when every port answers, LDAP has answered a search of the rootDSE,
and every FILE (winbindd's socket) is there.
"""

import socket
import sys
import time
from pathlib import Path

# DNS, Kerberos, the RPC mapper, SMB, kpasswd, LDAPS, the global catalog
PORTS = (53, 88, 135, 445, 464, 636, 3268)
LDAP = 389
# RFC 4511 searchRequest: base "", scope base, filter (objectClass=*), all attributes
SEARCH_ROOT_DSE = (
    bytes.fromhex("3025 020101 6320 0400 0a0100 0a0100 020100 020100 010100 870b")
    + b"objectClass"
    + bytes.fromhex("3000")
)
SEARCH_RESULT_ENTRY = 0x64
PATIENCE = 5.0
POLL = 0.05


def answers(address: str, port: int) -> bool:
    """Does the port take a connection, and, if it is LDAP, answer a search?"""
    try:
        with socket.create_connection((address, port), timeout=PATIENCE) as connection:
            if port != LDAP:
                return True
            connection.sendall(SEARCH_ROOT_DSE)
            return SEARCH_RESULT_ENTRY in connection.recv(16)
    except OSError:
        return False


def main(address: str, seconds: str, *files: str) -> int:
    deadline = time.monotonic() + float(seconds)
    waiting_for: list[object] = [*(Path(name) for name in files), *PORTS, LDAP]
    while waiting_for:
        first = waiting_for[0]
        done = first.exists() if isinstance(first, Path) else answers(address, int(str(first)))
        if done:
            waiting_for.pop(0)
        elif time.monotonic() > deadline:
            print(f"{address}: not ready after {seconds} s: {', '.join(map(str, waiting_for))}")
            return 1
        else:
            time.sleep(POLL)
    return 0


if __name__ == "__main__":
    raise SystemExit(main(*sys.argv[1:]))
