"""Which passwords of a domain were set lately, and where: what coverage compares with the notifications that came."""

from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from uuid import UUID

from ldap.filter import filter_format

from bastide.directory.constants import MATCH_IN_CHAIN, AccountControl
from bastide.directory.entries import any_sid, plain_dn, to_filetime
from bastide.directory.password_set import WANTED, password_set
from bastide.directory.pcns import AdNotificationDirectory
from bastide.directory.session import Session
from bastide.domain.errors import (
    DirectoryDenied,
    DirectoryUnavailable,
    TargetError,
    TargetUnavailable,
)
from bastide.domain.ids import Sid
from bastide.pcns import Target
from bastide.services.passwords.ports import PasswordDate
from bastide.targets.active_directory import PEOPLE, naming_context
from bastide.targets.ad_connection import ActiveDirectorySettings, open_session
from bastide.targets.kinds import Opening
from bastide.targets.ldap_connection import door, pages

#: LDAP_MATCHING_RULE_BIT_AND ([MS-ADTS] 3.1.1.3.4.4.1).
_BIT_AND = "1.2.840.113556.1.4.803"
_WANTED = ("objectGUID", "sAMAccountName", *WANTED)
_NOBODY = "(!(objectClass=*))"


class AdPasswordDates:
    """PasswordDates over the connections of the source agents. `source`: domain to the settings of its agent and what opens them."""

    def __init__(self, source: Callable[[str], tuple[ActiveDirectorySettings, Opening]]) -> None:
        self._source = source

    def since(self, domain: str, moment: datetime) -> Iterator[PasswordDate]:
        """Enabled users whom the PCNS configuration includes. Raises DirectoryUnavailable, DirectoryDenied; NotFound if there is no configuration."""
        try:
            session = open_session(*self._source(domain))
            try:
                yield from _dates(session, moment)
            finally:
                session.raw.unbind_ext_s()
        except TargetUnavailable as error:
            raise DirectoryUnavailable(error.message, remedy=error.remedy) from error
        except TargetError as error:
            raise DirectoryDenied(error.message, remedy=error.remedy) from error


def _dates(session: Session, moment: datetime) -> Iterator[PasswordDate]:
    root = naming_context(session)
    targets = AdNotificationDirectory(session).read().configuration.targets
    included = "".join(_covered(session, root, target) for target in targets if not target.disabled)
    disabled = f"(!(userAccountControl:{_BIT_AND}:={int(AccountControl.DISABLED)}))"
    recent = filter_format("(pwdLastSet>=%s)", [str(to_filetime(moment))])
    condition = f"(&{PEOPLE}{recent}{disabled}(|{included or _NOBODY}))"
    controllers: Mapping[str, str] | None = None
    for found in pages(session, root, condition, _WANTED):
        for entry in found:
            if controllers is None:
                controllers = _controllers(session)
            last = password_set(entry)
            if last is not None and last.at >= moment:
                where = controllers.get(last.origin, last.origin)
                yield PasswordDate(entry.guid(), entry.text("sAMAccountName"), last.at, where)


def _covered(session: Session, root: str, target: Target) -> str:
    """A filter for whom a target is told of; the same rule as pcns.Target.covers."""
    inside = _members(session, root, target.inclusion)
    return f"(&{inside}(!{_members(session, root, target.exclusion)}))" if target.exclusion else inside


def _members(session: Session, root: str, sid: str) -> str:
    """A filter for the members of a group, nested ones too. A primary group is in no memberOf: its members have its RID instead."""
    with door("read a group", session.controller):
        group = session.search(root, any_sid([Sid.parse(sid)]), ["objectSid"]) if sid else []
        if not group:
            return _NOBODY
        below = filter_format(f"(memberOf:{MATCH_IN_CHAIN}:=%s)", [plain_dn(group[0].dn)])
        nested = session.search(root, f"(&(objectClass=group){below})", ["objectSid"])
    rids = {entry.sid().rid for entry in (*group, *nested)}
    return f"(|{below}{''.join(filter_format('(primaryGroupID=%s)', [str(rid)]) for rid in sorted(rids))})"


def _controllers(session: Session) -> Mapping[str, str]:
    """Invocation id to DNS name, of the whole forest. What cannot be read is left out."""
    with door("read the controllers", session.controller):
        configuration = session.must_read("", ["configurationNamingContext"]).text(
            "configurationNamingContext"
        )
        sites = f"CN=Sites,{configuration}"
        agents = session.search(sites, "(objectClass=nTDSDSA)", ["invocationId"])
        servers = session.search(sites, "(objectClass=server)", ["dNSHostName"])
    names = {server.dn.lower(): server.text("dNSHostName").lower() for server in servers}
    return {
        str(UUID(bytes_le=agent.all("invocationId")[0])): names.get(agent.dn.partition(",")[2].lower(), "")
        or agent.dn
        for agent in agents
        if agent.all("invocationId")
    }
