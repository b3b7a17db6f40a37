"""`bastide-agent filter`: what Samba runs as `check password script`, once for each new password. It imports little, because Samba waits for it.

    check password script = /usr/bin/bastide-agent filter --when-down=refuse

The password comes on standard input, the names in SAMBA_CPS_ACCOUNT_NAME and SAMBA_CPS_FULL_NAME (smb.conf(5)); 0 is yes, anything else no. The check of complexity is done here, whatever
state the agent is in: Samba does none where this program is set. The word list is the agent's. What happens when the agent does not answer must be said: `--when-down=allow` or `refuse`; both are
loud (syslog, priority alert). No password is ever written anywhere.
"""

import json
import os
import socket
import sys
import syslog
from collections.abc import Sequence

from bastide_agent.complexity import objection

SOCKET = "/run/bastide-agent/agent.sock"
ALLOW, REFUSE = 0, 1
USAGE = 64
#: Samba gives up after 10 s, and refuses.
_PATIENCE = 3.0
_LONGEST = 64 * 1024
_LARGEST_ANSWER = 256 * 1024


def run(arguments: Sequence[str]) -> int:
    """The exit code."""
    choice, path = "", SOCKET
    for argument in arguments:
        name, _, value = argument.partition("=")
        if name == "--when-down" and value in {"allow", "refuse"}:
            choice = value
        elif name == "--socket" and value:
            path = value
        else:
            return _usage(argument)
    if not choice:
        return _usage("--when-down is missing")
    account = os.environ.get("SAMBA_CPS_ACCOUNT_NAME", "")
    raw = sys.stdin.buffer.read(_LONGEST)
    try:
        password = raw.decode()
    except UnicodeDecodeError:
        return _refuse(account, "it is not UTF-8")
    why = objection(password, account, os.environ.get("SAMBA_CPS_FULL_NAME", ""))
    if why:
        return _refuse(account, why)
    return _by_agent(account, password, path, choice)


def _by_agent(account: str, password: str, path: str, choice: str) -> int:
    try:
        answer = ask(path, {"ask": "filter", "account": account, "password": password})
        verdict = answer["verdict"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        verdict, answer = "unknown", {"reason": type(error).__name__}
    if verdict == "allow":
        return ALLOW
    if verdict == "refuse":
        return _refuse(account, str(answer.get("reason", "")))
    did = "ALLOWED without the word list" if choice == "allow" else "REFUSED"
    _say(
        syslog.LOG_ALERT,
        f"the agent cannot check ({answer.get('reason')}): the new password of {account!r} was {did}",
    )
    return ALLOW if choice == "allow" else REFUSE


def ask(path: str, question: dict[str, str]) -> dict[str, object]:
    """One question to the agent. Raises OSError, ValueError."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as connection:
        connection.settimeout(_PATIENCE)
        connection.connect(path)
        connection.sendall(json.dumps(question).encode())
        answer = json.loads(connection.recv(_LARGEST_ANSWER))
    if not isinstance(answer, dict):
        raise ValueError("no answer")  # noqa: TRY004  # to the caller it is a bad value
    return answer


def _refuse(account: str, why: str) -> int:
    _say(syslog.LOG_NOTICE, f"the new password of {account!r} was refused: {why}")
    return REFUSE


def _usage(what: str) -> int:
    _say(
        syslog.LOG_ALERT,
        f"{what[:80]!r}: say `bastide-agent filter --when-down=allow|refuse [--socket=PATH]`; until then every password is refused",
    )
    return USAGE


def _say(priority: int, text: str) -> None:
    syslog.openlog("bastide-agent-filter", syslog.LOG_PID, syslog.LOG_AUTHPRIV)
    syslog.syslog(priority, text)
    sys.stderr.write(text + "\n")
