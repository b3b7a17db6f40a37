"""Whose password it is that was changed: the account that was imported, and none that Bastide uses itself."""

from collections.abc import Iterator

from bastide.domain.management_agents import CsObject, ManagementAgent, PasswordSource
from bastide.domain.passwords import Receipt

#: Attributes, casefolded.
_SID = "objectsid"
_NAMES = frozenset({"samaccountname", "userprincipalname"})


def not_whom(
    user_sid: str, found: CsObject, source: PasswordSource, own_names: frozenset[str]
) -> Receipt | None:
    """Whether it is another account than the one that was imported, or one of ours. What the controller says of the SID proves nothing; without an imported
    one, nobody can say that an account is none of `own_accounts`.
    """
    sids: set[str] = set()
    called = {found.dn.casefold()}
    for name, values in found.attributes.items():
        folded = name.casefold()
        if folded == _SID:
            sids.update(values)
        elif folded in _NAMES:
            called.update(value.casefold() for value in values)
    if user_sid not in sids if sids else source.own_accounts:
        return Receipt.OTHER_ACCOUNT
    if not sids.isdisjoint(source.own_accounts) or not called.isdisjoint(own_names):
        return Receipt.OWN_ACCOUNT
    return None


def signs_in_as(agent: ManagementAgent, domain: str) -> Iterator[str]:
    """The names of the account that an agent of this domain uses there, casefolded: in full, and that of the account alone."""
    named = str(agent.settings.get("domain", "")).strip(".").casefold()
    if domain not in {named, agent.source.domain if agent.source else ""}:
        return
    for setting in ("principal", "bind_name"):
        name = str(agent.settings.get(setting, "")).casefold()
        if name:
            yield name
            yield name.rpartition("\\")[2].partition("@")[0]
