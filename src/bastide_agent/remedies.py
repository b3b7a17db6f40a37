"""What to do about what stops the agent, for the person at the domain controller: which side to look at, and with what. Pure."""

import shlex
from pathlib import Path

from bastide import wire
from bastide.pcns import Target
from bastide.wire import WireError
from bastide_agent.failures import HungUp, NoKeytab, Refused, SealBroken, Stop, Unreachable, Unusable
from bastide_agent.settings import DEFAULT_PATH

_RESTART = "`systemctl status samba-ad-dc`; `samba.private` in the settings is `private dir` of smb.conf"
_MAKE = "`bastide pcns extend-schema`, then `bastide pcns target add`, from any machine with Bastide"
_SETTINGS = (
    f"mend it, or name another with --config; without a file at {DEFAULT_PATH} the defaults count, "
    "and docs/how-to/install-the-agent.md lists every setting"
)
_STOPS = {
    6000: _MAKE,
    6026: "run it on a writable Samba domain controller, as root",
    6029: "`bastide pcns list` shows them, `bastide pcns target remove NAME` forgets one",
    6030: _MAKE,
}


def of_stop(error: Stop) -> str:
    """Why the agent cannot work. Empty: the sentence says it already."""
    if error.number in {6006, 6007} and not any(word in str(error) for word in ("useradd", "`ch")):
        return _SETTINGS
    return _STOPS.get(error.number, "")


def of_directory() -> str:
    """The controller's own database does not answer."""
    return f"on this controller: {_RESTART}"


def of_defect() -> str:
    """An error that nobody foresaw."""
    return "a defect of Bastide: report it, with this line and `bastide --version`"


def of_configuration(*, there: bool) -> str:
    """What lies in the directory is not there, or cannot be used."""
    return "`bastide pcns list` shows it, `bastide pcns target edit NAME` mends it" if there else _MAKE


def of_nobody(*, any_target: bool) -> str:
    """No target is active."""
    return "`bastide pcns target enable NAME`" if any_target else "`bastide pcns target add --help`"


def of_key() -> str:
    """The OpenPGP key that Samba encrypts to."""
    return (
        "on this controller: `gpg --import openpgp.pgp` as root, and the fingerprint that "
        "`bastide keys generate --openpgp` printed after `password hash gpg key ids =` in smb.conf; restart Samba"
    )


def of_queue_key(path: Path) -> str:
    """The key that seals the agent's own queue: `run` refuses it too."""
    name = shlex.quote(str(path))
    return f"on this controller: `chown` it to `user` of the settings, `chmod 0600 {name}`, then `bastide-agent check` again"


def of_target(error: Exception, target: Target, controller: str) -> str:
    """A target was not reached, or turned us away. Which side it is, first."""
    match error:
        case Unreachable():
            said = _of_silence(error, target)
        case Refused(delay=delay) if delay:
            said = "on the server: it could not decide now; `journalctl -u bastide` says why, then try again"
        case Refused():
            said = (
                f"on the server: `journalctl -u bastide`, event 6914: {controller} is no controller of a domain "
                "that the server knows (priv.domain, corp.domain, passwords.source_domains)"
            )
        case Unusable():
            said = (
                f"in the directory: `bastide pcns target edit {target.name}` with --server-address or --spn"
            )
        case SealBroken():
            said = (
                f"Kerberos, on both sides: exactly one account holds {target.spn} (`samba-tool spn list ACCOUNT`), "
                "passwords.keytab on the server has its newest key, the clocks agree (`chronyc tracking`)"
            )
        case WireError():
            said = "on the server: is its Bastide of the same version as this agent (`bastide --version`)"
        case _:
            said = of_directory()
    return said


def _of_silence(error: Unreachable, target: Target) -> str:
    host, _, port = target.server.rpartition(":") if ":" in target.server else (target.server, "", "")
    match error:
        case HungUp():
            return (
                "on the server: `journalctl -u bastide`. Event 6915: Kerberos failed (passwords.keytab, who holds "
                f"{target.spn}, the clocks). Nothing there: another service listens at {target.server}"
            )
        case NoKeytab():
            return (
                "on this controller, as root: `klist -k secrets.keytab` in `private dir` of smb.conf lists the machine "
                "account's keys; `samba.private` in the settings names that directory"
            )
        case _:
            return (
                f"on this controller: `nc -vz {host} {port or wire.PORT}`. On the server: does bastide.service "
                "run, does passwords.port listen, does a firewall stand between"
            )
