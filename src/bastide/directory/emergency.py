"""Emergency accounts in Active Directory: what each controller shows of them, and a new password as the administrator who seals."""

from collections.abc import Mapping
from datetime import datetime

from bastide.directory.active_directory import ActiveDirectory
from bastide.directory.caller import named_caller
from bastide.directory.constants import RID_PROTECTED_USERS, AccountControl
from bastide.directory.entries import Entry, by_sid, from_filetime, plain_dn, require_shown, sid_of_dn
from bastide.directory.kerberos import sign_in
from bastide.directory.ldap import Controllers
from bastide.directory.preparer import write_password
from bastide.directory.session import EXTENDED_DN, Session
from bastide.domain.break_glass import Trace
from bastide.domain.errors import DirectoryError, NoSuchObject
from bastide.domain.ids import Sid
from bastide.domain.people import Forest
from bastide.services.break_glass.ports import Found
from bastide.services.cluster.ports import Caller

#: Counted by each controller for itself, and lastLogonTimestamp, which replicates: one of them is there on an account that ever signed in.
_SIGN_INS = ("lastLogon", "logonCount", "badPwdCount", "badPasswordTime", "lastLogonTimestamp")
_STANDING = (
    "userAccountControl",
    "accountExpires",
    "pwdLastSet",
    "memberOf",
    "msDS-User-Account-Control-Computed",
)
#: msDS-User-Account-Control-Computed ([MS-ADTS] 3.1.1.4.5.17).
_LOCKED = 0x10


class AdEmergencyReader:
    """As the port EmergencyReader."""

    def __init__(self, controllers: Controllers) -> None:
        self._controllers = controllers
        self.domain = controllers.domain.rstrip(".").lower()

    def traces(self, account: Sid) -> Mapping[str, Trace | str]:
        answers = self._controllers.on_each(lambda session: _look(session, account))
        gone = [one for one in answers.values() if isinstance(one, NoSuchObject)]
        if gone and not any(isinstance(one, Trace) for one in answers.values()):
            raise gone[0]
        return {
            name: one.message if isinstance(one, DirectoryError) else one for name, one in answers.items()
        }


class AdEmergencyDirectory(AdEmergencyReader):
    """As the port EmergencyDirectory; written is on one controller."""

    def __init__(self, controllers: Controllers, main: str) -> None:
        super().__init__(controllers)
        self._main = main

    def caller(self) -> Caller:
        return self._controllers.on(self._main, named_caller)

    def find(self, name: str) -> Found:
        ref = ActiveDirectory(Forest.PRIV, self._controllers).find_person(name).ref
        return Found(ref.sid, ref.name, ref.dn)

    def set_password(self, account: Sid, password: str) -> None:
        self._controllers.on(
            self._main, lambda session: write_password(session, by_sid(account), password), repeat=False
        )


class KdcProof:
    """As the port PasswordProof. No KDC but one that has the account's new key can answer so that it opens (RFC 4120 3.1.5)."""

    def prove(self, principal: str, password: str) -> None:
        sign_in(principal, password)


def _look(session: Session, account: Sid) -> Trace:
    entry = session.must_read(by_sid(account), [*_STANDING, *_SIGN_INS], controls=[EXTENDED_DN])
    require_shown(entry)
    control, computed = entry.number("userAccountControl"), entry.number("msDS-User-Account-Control-Computed")
    groups = entry.texts("memberOf")
    sids = [sid_of_dn(dn) for dn in groups]
    return Trace(
        last_logon=_time(entry, "lastLogon"),
        logons=entry.number("logonCount"),
        last_wrong=_time(entry, "badPasswordTime"),
        wrong=entry.number("badPwdCount"),
        shown=any(entry.all(name) for name in _SIGN_INS),
        password_set=_time(entry, "pwdLastSet"),
        enabled=not control & AccountControl.DISABLED,
        locked=bool(computed & _LOCKED),
        expires=from_filetime(entry.number("accountExpires")),
        password_expires=not control & AccountControl.PASSWORD_NEVER_EXPIRES,
        smartcard=bool(control & AccountControl.SMARTCARD_REQUIRED),
        guarded=any(sid is not None and sid.rid == RID_PROTECTED_USERS for sid in sids),
        groups=tuple(sorted(plain_dn(dn) for dn in groups)),
    )


def _time(entry: Entry, name: str) -> datetime | None:
    """Zero is never."""
    return from_filetime(entry.number(name))
