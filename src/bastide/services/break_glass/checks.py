"""What can be wrong with an emergency account and its envelope. Pure: what was seen comes in, findings go out, and nothing raises.

Protected Users is judged against: a member signs in by Kerberos alone, and an emergency is the day on which clocks, DNS or KDCs are wrong. What it
guards against, a password that stays in a machine's memory, a password of one use does by itself.
"""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta

from bastide.domain.break_glass import (
    ENOUGH_CUSTODIANS,
    Envelope,
    Receipt,
    State,
    Trace,
    What,
    happened,
    unexplained,
)
from bastide.domain.health import Finding, Severity

_ANEW = "bastide break-glass seal"


def ok(key: str, text: str, evidence: str = "") -> Finding:
    return Finding(f"break-glass.{key}", Severity.OK, text, evidence)


def warn(key: str, text: str, remedy: str, evidence: str = "") -> Finding:
    return Finding(f"break-glass.{key}", Severity.WARNING, text, evidence, remedy)


def wrong(key: str, text: str, remedy: str, evidence: str = "") -> Finding:
    return Finding(f"break-glass.{key}", Severity.ERROR, text, evidence, remedy)


# --------------------------------------------------------------------------------------------------------- the envelope


def envelope(one: Envelope, now: datetime, drill_after: timedelta) -> Iterator[Finding]:
    """Whether it is good for an emergency, as far as the database knows."""
    yield state(one)
    yield from split(one.threshold, len(one.custodians), one.name)
    yield _drill(one, now, drill_after)


def state(one: Envelope) -> Finding:
    """Whether it was used."""
    sealed = f"envelope {one.number}, sealed {_day(one.sealed_at)} by {one.sealer}"
    if one.state is State.SEALED:
        return ok("envelope", f"{one.name} is sealed and unused", sealed)
    return wrong(
        "envelope",
        f"the envelope of {one.name} is used: {one.why}",
        f"find out who it was, then `{_ANEW}` it anew: a new password, new words",
        f"{sealed}; used {_day(one.ended_at)}",
    )


def split(threshold: int, count: int, name: str) -> Iterator[Finding]:
    """How many of how many."""
    said = f"{threshold} of {count} custodians open {name}"
    if count < ENOUGH_CUSTODIANS:
        remedy = f"name {ENOUGH_CUSTODIANS} or more: one on holiday, one ill"
        yield warn("custodians", f"{name} has {count} custodians only", remedy, said)
    elif threshold == count:
        remedy = "let one be out of reach: as 2 of 3, 3 of 5"
        yield warn("custodians", f"all {count} custodians are needed for {name}", remedy, said)
    else:
        yield ok("custodians", said)


def _drill(one: Envelope, now: datetime, drill_after: timedelta) -> Finding:
    since = one.drilled_at or one.sealed_at
    days = (now - since).days
    if now - since <= drill_after:
        what = (
            f"drilled {days} days ago" if one.drilled_at else f"sealed {days} days ago, and not drilled yet"
        )
        return ok("drill", f"{one.name} was {what}")
    what = f"was last drilled {days} days ago" if one.drilled_at else f"was never drilled since {_day(since)}"
    return warn(
        "drill",
        f"{one.name} {what}: nobody knows whether its words are still there",
        f"`bastide break-glass drill {one.name}` with its custodians",
        f"policy.drill_days is {drill_after.days}",
    )


# ---------------------------------------------------------------------------------------------------------- the account


def account(name: str, seen: Mapping[str, Trace | str], now: datetime) -> Iterator[Finding]:
    """Whether somebody with the password could sign in, as every controller shows the account."""
    shown = {where: one for where, one in seen.items() if isinstance(one, Trace)}
    if shown:
        traces = list(shown.values())
        found = [*_blocked(name, traces, now), *_unwise(name, traces)]
        yield from found or [ok("account", f"{name} can sign in", f"as {', '.join(sorted(shown))} show it")]
    yield from answered(name, seen)


def answered(name: str, seen: Mapping[str, Trace | str]) -> Iterator[Finding]:
    """Controllers that say nothing of it; nothing if all do."""
    silent = {where: one for where, one in seen.items() if isinstance(one, str)}
    if len(silent) == len(seen):
        yield wrong(
            "account", f"no controller shows {name}", "look at the controllers", "; ".join(silent.values())
        )
    elif silent:
        yield warn(
            "controllers",
            f"{' and '.join(sorted(silent))} did not answer: a sign-in there is not seen",
            "look at that controller",
            "; ".join(silent.values()),
        )


def _blocked(name: str, traces: Sequence[Trace], now: datetime) -> Iterator[Finding]:
    """What stops a sign-in, now or one day."""
    if not all(one.enabled for one in traces):
        yield wrong("account", f"{name} is disabled", "enable it, and look who did that")
    ends = [one.expires for one in traces if one.expires is not None]
    if any(one <= now for one in ends):
        yield wrong(
            "account",
            f"{name} has expired",
            "let it never expire: `samba-tool user setexpiry --noexpiry`, or Active Directory Users and Computers",
        )
    elif ends:
        yield warn("account", f"{name} expires on {_day(min(ends))}", "let it never expire")
    if any(one.password_expires for one in traces):
        yield wrong(
            "account",
            f"the password of {name} expires, and then no envelope opens it",
            "set 'Password never expires' on it (userAccountControl 0x10000)",
        )
    if any(one.smartcard for one in traces):
        yield wrong(
            "account", f"{name} signs in with a smart card only", "take 'Smart card is required' away"
        )
    if any(one.locked for one in traces):
        yield wrong(
            "account",
            f"{name} is locked: somebody tried wrong passwords",
            "unlock it, find out who it was, and give it a policy of its own without a lockout: nobody guesses its password",
        )


def _unwise(name: str, traces: Sequence[Trace]) -> Iterator[Finding]:
    if any(one.guarded for one in traces):
        yield warn(
            "account",
            f"{name} is in Protected Users: it signs in by Kerberos alone, also when time, DNS or the KDC is what is broken",
            "take it out of that group; its password is good for one use anyway",
        )


def unnamed(domain: str) -> Finding:
    """A domain that no service account of this node looks at."""
    return wrong(
        "watch",
        f"the settings of this node name no domain {domain}, so nobody would notice a use of the account",
        "seal accounts of PRIV and CORP, on a node of Bastide",
    )


def unseen(name: str, dn: str, seen: Mapping[str, Trace | str]) -> Finding:
    """An account that no controller shows to the service account."""
    return wrong(
        "watch",
        f"Bastide's service account does not see {name}, so nobody would notice a use of it",
        _let_it_read(dn),
        "; ".join(str(one) for one in seen.values()),
    )


def _let_it_read(dn: str) -> str:
    return f'give the service account Read All Properties on it: dsacls "{dn}" /G "SERVICE:RP", or `samba-tool dsacl set` with (A;;RP;;;its SID)'


def late(name: str, controllers: Sequence[str]) -> Iterator[Finding]:
    """Controllers that did not have the new password when it was proved."""
    if controllers:
        yield warn(
            "controllers",
            f"{' and '.join(controllers)} did not get the new password of {name} within a minute: until it arrives there, the words do not open it there",
            "look at replication: `samba-tool drs showrepl`, or repadmin /showrepl",
        )


def hidden(name: str, dn: str, seen: Mapping[str, Trace | str]) -> Iterator[Finding]:
    """Whether the service account sees sign-ins at all: what is kept from it must not read as "nobody was in"."""
    traces = [one for one in seen.values() if isinstance(one, Trace)]
    if traces and not any(one.shown for one in traces):
        yield wrong(
            "watch",
            f"Bastide cannot see whether {name} signs in: lastLogon and logonCount are kept from the service account",
            _let_it_read(dn or name),
        )


# ------------------------------------------------------------------------------------------------------- what was seen


def used(one: Envelope, shown: Mapping[str, Trace]) -> Iterator[Finding]:
    """What happened since the sealing, against the receipts. `shown`: by controllers that answer; where none shows sign-ins nobody knows that there was none."""
    found = happened(one, shown)
    for receipt in one.receipts:
        yield _opening(receipt)
    bare = unexplained(one, found)
    for sign in found:
        times = f"{sign.times} times, " if sign.times > 1 else ""
        evidence = f"{times}{_day(sign.at)}" if sign.at else ""
        if sign in bare:
            text = f"{one.name} {sign.text}, and no receipt says why"
            yield wrong(
                "sign-in", text, "ask the custodians; if nobody opened it, treat it as an attack", evidence
            )
        elif sign.what is What.SIGN_IN:
            yield ok("sign-in", f"{one.name} {sign.text}, as a receipt says", evidence)
        else:
            yield warn("change", f"{one.name}: {sign.text}", "find out who it was, and why", evidence)
    if not any(trace.shown for trace in shown.values()):
        return
    if one.receipts and not any(sign.what is What.SIGN_IN for sign in found):
        yield ok("sign-in", f"{one.name} was opened, and never signed in on a controller that answers")
    if not one.receipts and not found:
        yield ok("sign-in", f"nobody used {one.name} since it was sealed")


def _opening(receipt: Receipt) -> Finding:
    who = f"{receipt.by} on {receipt.host}"
    return ok(
        "opening", f"opened {_day(receipt.opened_at)} by {who}: {receipt.reason}", f"receipt {receipt.id}"
    )


def _day(at: datetime | None) -> str:
    return f"{at:%Y-%m-%d %H:%M} UTC" if at else "never"
