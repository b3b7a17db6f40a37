"""What can be wrong with a cluster alias, each with its remedy. Pure: what was seen comes in, findings go out, and nothing raises.

`bastide cluster` stops at an error here before anything is written; `bastide validate` may take up the same functions.
"""

import shlex
from collections.abc import Collection, Iterator, Mapping
from datetime import datetime, timedelta

from bastide.domain import cluster
from bastide.domain.cluster import Alias, Key
from bastide.domain.health import Finding, Severity
from bastide.services.cluster.ports import Caller, Certificate, Holders, Holding, Place, Quota

_AES_ONLY = 0x18
#: schemaIDGUID of the class computer ([MS-ADSC] 2.21).
_COMPUTER = "bf967a86-0de6-11d0-a285-00aa003049e2"
_SOON = timedelta(days=30)


def ok(key: str, text: str, evidence: str = "") -> Finding:
    return Finding(key, Severity.OK, text, evidence)


def warn(key: str, text: str, remedy: str, evidence: str = "") -> Finding:
    return Finding(key, Severity.WARNING, text, evidence, remedy)


def wrong(key: str, text: str, remedy: str, evidence: str = "") -> Finding:
    return Finding(key, Severity.ERROR, text, evidence, remedy)


# ------------------------------------------------------------------------------------------------------ where it is made


def place(found: Place, quota: Quota, caller: Caller, domain: str) -> Iterator[Finding]:
    """The OU: whether it is there, shows itself, and takes a computer object of the caller."""
    who = caller.name
    if not found.found:
        yield wrong(
            "cluster.ou",
            f"there is no {found.dn}, or {who} may not see it",
            "make it, or correct --ou; if it is there, give this account List Contents on the container above and Read All Properties on it",
            f"of its path can be seen: {found.deepest or 'nothing'}",
        )
        return
    if not found.readable:
        yield wrong(
            "cluster.ou-read",
            f"{who} may not read the properties of {found.dn}",
            _give(found.dn, "Read All Properties", f"{who}@{domain}:RPLC", f"(A;;RPLCLO;;;{caller.sid})")
            + "; and take away what denies it, if anything does",
            "the entry came without its attributes",
        )
        return
    yield ok("cluster.ou", f"{found.dn} is there and can be read")
    if found.creates:
        yield ok(
            "cluster.ou-create",
            f"{who} may make computer objects there",
            "allowedChildClassesEffective has computer",
        )
        return
    yield wrong(
        "cluster.ou-create",
        f"{who} has no right to make computer objects in {found.dn}",
        _give(
            found.dn,
            "Create Computer objects",
            f"{who}@{domain}:CC;computer",
            f"(OA;CI;CC;{_COMPUTER};;{caller.sid})",
        )
        + "; or let an administrator make the account there, disabled, and take it over",
        "allowedChildClassesEffective lacks computer",
    )
    yield _quota(quota, who)


def _give(dn: str, what: str, windows: str, samba: str) -> str:
    """The command on each kind of controller, for an administrator of the domain."""
    return (
        f'give it {what}: dsacls "{dn}" /G "{windows}", or on a Samba controller '
        f"`samba-tool dsacl set --objectdn={shlex.quote(dn)} --sddl={shlex.quote(samba)}`"
    )


def _quota(found: Quota, caller: str) -> Finding:
    """What is left to somebody without the right, and why it is not used: who makes an account on the quota stays its master."""
    key = "cluster.quota"
    evidence = f"ms-DS-MachineAccountQuota {found.limit}; made by {caller} on it: {found.used}"
    remedy = "the right in the OU is what is needed; the quota does not count where it is held"
    if found.limit <= 0:
        return warn(key, "the domain lets nobody make computers on a quota", remedy, evidence)
    if found.used >= found.limit:
        return wrong(
            key,
            f"{caller} has used up the quota of computers: {found.used} of {found.limit}",
            f"{remedy}; or delete computers that are not needed any more: (mS-DS-CreatorSID=its SID) finds them",
            evidence,
        )
    return warn(
        key,
        f"{caller} could make {found.limit - found.used} more computers on the quota, but outside of the OU, and stay their master",
        remedy,
        evidence,
    )


# ----------------------------------------------------------------------------------------------- whether the name is free


def name(alias: Alias, found: Holding | None) -> Iterator[Finding]:
    """The account's name: free, taken, or pre-staged for us."""
    if found is None:
        yield ok("cluster.name", f"the name {alias.account} is free")
        return
    about = f"{found.dn}; made {_day(found.made)}; owner {found.owner}; " + (
        f"password set {_day(found.changed)}" if found.changed else "no password yet"
    )
    if not found.computer:
        yield wrong(
            "cluster.name",
            f"{alias.account} is no ordinary computer account, so it is never taken over",
            "choose another alias",
            about,
        )
        return
    if found.enabled:
        yield wrong(
            "cluster.name",
            f"an enabled account has the name {alias.account}: {found.dn}, of {found.owner}, since {_day(found.made)}",
            "if something uses it (a machine of that name, or another cluster), choose another alias; if nobody does, disable that account "
            "(Disable-ADAccount; on Samba `samba-tool user disable`) or delete it, and try again",
            about,
        )
        return
    yield ok("cluster.name", f"{alias.account} is there, disabled: it will be taken over", about)
    yield from _takeover(found)


def _takeover(found: Holding) -> Iterator[Finding]:
    """Whose it is counts: who owns an account, or made it on the quota, can set its password later, and so forge tickets for the alias."""
    if found.by_quota or not found.owner_trusted:
        how = (
            "was made on the quota of a person without rights"
            if found.by_quota
            else f"belongs to {found.owner}"
        )
        yield wrong(
            "cluster.account-owner",
            f"{found.dn} {how}, who could set its password and be the alias",
            "delete it and let an administrator pre-stage it, or make Domain Admins its owner (Active Directory Users and Computers, Security, "
            "Advanced, Owner) and clear mS-DS-CreatorSID by making it anew",
            f"owner {found.owner}",
        )
    else:
        yield ok("cluster.account-owner", f"{found.dn} belongs to {found.owner}")
    needed = {"useraccountcontrol"} | (
        {"msds-supportedencryptiontypes"} if found.encryption != _AES_ONLY else set()
    )
    if lacking := sorted(needed - _plain(found.writable)):
        yield wrong(
            "cluster.account-write",
            f"you may not change {found.dn}: {', '.join(lacking)}",
            "give this account Full Control of that object (Security tab, as the guide to pre-staging says), or run this as an administrator",
            "allowedAttributesEffective: " + (", ".join(sorted(found.writable)) or "nothing"),
        )


def _plain(names: Collection[str]) -> set[str]:
    return {one.lower() for one in names}


def spns(alias: Alias, held: Mapping[str, Holders], own: str) -> Iterator[Finding]:
    """Each name once in the forest: of two accounts with one name the KDC takes neither. `own`: the alias' account; empty: there is none yet."""
    for spn in alias.spns:
        found = held[spn]
        others = [dn for dn in found.dns if dn.lower() != own.lower()]
        scope = (
            "the whole forest was looked through"
            if found.whole
            else "no global catalog answered: only this domain was looked through"
        )
        if others:
            yield wrong(
                "cluster.spn",
                f"{spn} is held by {' and '.join(others)}",
                f"take it away there if nothing uses it: setspn -D {spn} ACCOUNT, or `samba-tool spn delete {spn} ACCOUNT`; else choose another alias",
                scope,
            )
        elif found.whole:
            yield ok(
                "cluster.spn",
                f"{spn} is held by {'the alias alone' if found.dns else 'nobody else'}",
                scope,
            )
        else:
            yield warn(
                "cluster.spn",
                f"{spn} is held by nobody else in this domain",
                "ask again where a global catalog (port 3268) can be reached",
                scope,
            )


# ---------------------------------------------------------------------------------------------------- how the account is


def account(alias: Alias, found: Holding | None, now: datetime) -> Iterator[Finding]:
    """The account as it must be while it serves."""
    key = "cluster.account"
    if found is None:
        yield wrong(key, f"there is no account {alias.account}", "`bastide cluster create` makes it")
        return
    if not found.enabled:
        yield wrong(
            key,
            f"{found.dn} is disabled: no ticket for the alias can be bought",
            "enable it, or `bastide cluster create` again",
        )
    elif found.delegates:
        yield wrong(
            key,
            f"{found.dn} may act in the name of others",
            "take every delegation away from it: the alias needs none",
        )
    elif found.encryption != _AES_ONLY:
        yield wrong(
            key,
            f"{found.dn} takes other keys than AES",
            f"set msDS-SupportedEncryptionTypes to {_AES_ONLY}, then `bastide cluster rotate`: weak keys go with the old password",
            f"msDS-SupportedEncryptionTypes {found.encryption}, not {_AES_ONLY}",
        )
    else:
        yield ok(key, f"{found.dn} is enabled, takes AES only, and acts in nobody's name")
    if lacking := [spn for spn in alias.spns if spn.lower() not in _plain(found.spns)]:
        yield wrong(
            "cluster.spn-missing",
            f"{found.dn} does not hold {' and '.join(lacking)}",
            f"setspn -S {lacking[0]} {alias.name}, or `samba-tool spn add`",
        )
    yield from _masters(found)
    yield _age(found, now)


def _masters(found: Holding) -> Iterator[Finding]:
    others = [
        *found.masters,
        *([] if found.owner_trusted or found.owner in found.masters else [f"{found.owner} (its owner)"]),
    ]
    if others:
        yield warn(
            "cluster.account-masters",
            f"{', '.join(others)} can set the password, the names or the permissions of {found.dn}, and so be the alias",
            "take those rights away, and give the account to Domain Admins (Security, Advanced, Owner)",
        )


def _age(found: Holding, now: datetime) -> Finding:
    key = "cluster.key-age"
    if found.changed is None:
        return wrong(key, "the account never had a password of ours", "`bastide cluster rotate`")
    days = (now - found.changed).days
    if now - found.changed > cluster.OLD_KEY:
        return warn(key, f"the key is {days} days old", "`bastide cluster rotate`")
    return ok(key, f"the key is {days} days old", f"pwdLastSet {_day(found.changed)}")


# ----------------------------------------------------------------------------------------------------------- the keytabs


def controllers(seen: Mapping[str, int | str]) -> Iterator[Finding]:
    """Whether all controllers have the same key: with a stale one, which of two keys a ticket has depends on who sold it."""
    key = "cluster.controllers"
    silent = {name: said for name, said in seen.items() if isinstance(said, str)}
    known = {name: said for name, said in seen.items() if not isinstance(said, str)}
    evidence = ", ".join(f"{name}: {said}" for name, said in sorted(seen.items()))
    if len(set(known.values())) > 1:
        yield warn(
            key,
            "the controllers have different versions of the key",
            "wait for replication; `samba-tool drs showrepl` or repadmin /showrepl says what holds it up",
            evidence,
        )
    elif silent:
        yield warn(
            key,
            f"{' and '.join(sorted(silent))} did not say which key it has",
            "look at that controller; until it answers, nobody knows",
            evidence,
        )
    else:
        yield ok(key, "all controllers have the same key", evidence)


def keytab(alias: Alias, path: str, keys: Collection[Key], version: int) -> Iterator[Finding]:
    """One keytab against the directory's version."""
    mine = cluster.of_alias(keys, alias)
    label = "cluster.keytab"
    seen = f"{path} has versions {', '.join(map(str, cluster.versions(mine))) or 'none'}; the directory {version}"
    if not mine:
        yield wrong(
            label,
            f"{path} has no key of {alias.fqdn}",
            "`bastide cluster join` with the key file of the alias",
            seen,
        )
        return
    highest = cluster.newest(mine)
    if lacking := cluster.missing(mine, alias, version):
        yield wrong(
            label,
            f"{path} does not have the current key (version {version}) of {' and '.join(lacking)}: tickets bought since the rotation are refused there",
            "`bastide cluster join` again on that node, with the key file that the rotation wrote",
            seen,
        )
    elif highest > version:
        yield warn(
            label,
            f"{path} has a key that the directory does not have (version {highest}, there {version})",
            "a rotation was not finished, or this controller lags: wait a minute, then `bastide cluster rotate` again",
            seen,
        )
    elif cluster.weak(mine):
        yield wrong(
            label,
            f"{path} has other keys than AES for the alias: types {', '.join(map(str, cluster.weak(mine)))}",
            "make the file anew: `bastide cluster rotate`, then join",
            seen,
        )
    else:
        yield ok(label, f"{path} has the current key (version {version})", seen)
    if older := [one for one in cluster.versions(mine) if one < version]:
        yield ok(
            "cluster.keytab-older",
            f"{path} keeps {len(older)} older version{'s' if len(older) > 1 else ''}, for tickets that are still open",
            "`bastide cluster rotate --prune` takes them away when none can be",
        )


# ------------------------------------------------------------------------------------------------------------- the node


def dns(
    alias: Alias,
    full: frozenset[str] | str,
    short: frozenset[str] | str,
    canonical: str,
    back: Mapping[str, str],
) -> Iterator[Finding]:
    """The alias' names in DNS; a text in the place of addresses is why there are none. `back`: the name of each address."""
    key = "cluster.dns"
    if isinstance(full, str):
        yield wrong(
            key,
            f"{alias.fqdn} has no address here: {full}",
            f"add an A or AAAA record for {alias.fqdn}, to the address that clients come to",
        )
        return
    if canonical.lower() != alias.fqdn:
        yield warn(
            key,
            f"{alias.fqdn} is a CNAME of {canonical}: clients then ask for a ticket for {canonical}, not for the alias",
            "make it an A or AAAA record",
            canonical,
        )
    else:
        yield ok(key, f"{alias.fqdn} is {', '.join(sorted(full))}")
    if isinstance(short, str) or short != full:
        seen = short if isinstance(short, str) else ", ".join(sorted(short)) or "nothing"
        yield warn(
            "cluster.dns-short",
            f"the short name {alias.name} does not lead to the same addresses",
            f"add {alias.domain} to the search domains, or let people use {alias.fqdn}",
            seen,
        )
    strange = {address: said for address, said in back.items() if said and said != alias.fqdn}
    if strange:
        said = ", ".join(f"{address} is {name}" for address, name in sorted(strange.items()))
        yield warn(
            "cluster.dns-reverse",
            "the alias' address belongs to another name: clients that look back (rdns = true) ask for a ticket for that",
            "correct the PTR record, or set rdns = false on clients",
            said,
        )


def certificate(alias: Alias, shown: Certificate, now: datetime) -> Iterator[Finding]:
    """Browsers come under the alias, so every node's certificate must be for it."""
    key = "cluster.certificate"
    star = f"*.{alias.domain}"
    if not {alias.fqdn, star} & shown.names:
        yield wrong(
            key,
            f"the certificate is not for {alias.fqdn}",
            f"get one with {alias.fqdn} among its subject alternative names",
            ", ".join(sorted(shown.names)),
        )
    elif shown.ends <= now:
        yield wrong(key, f"the certificate has expired: {_day(shown.ends)}", "renew it")
    elif shown.ends - now < _SOON:
        yield warn(key, f"the certificate ends on {_day(shown.ends)}", "renew it")
    else:
        yield ok(key, f"the certificate is for {alias.fqdn}, until {_day(shown.ends)}")


def _day(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%d %H:%M UTC")
