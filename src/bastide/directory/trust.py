"""Tests of the domains and of the trust, as Test-PAMDomainConfiguration and Test-PAMTrust were, but with reasons.

Everything is read with the service account's own rights; nothing is changed; whatever goes wrong is a finding. The order is that in which a
person would look: name service, ports, sign-in, clock, then what the directory says.
"""

from collections.abc import Callable, Iterator, Mapping
from datetime import datetime

from ldap.filter import filter_format

from bastide.directory.active_directory import ActiveDirectory
from bastide.directory.constants import TrustAttributes, TrustDirection
from bastide.directory.domain_probe import DomainProber, clocks, ok, sign_in, warn, wrong
from bastide.directory.entries import Entry
from bastide.directory.network import Network, RealNetwork
from bastide.domain.errors import DirectoryError
from bastide.domain.health import Finding, Severity
from bastide.domain.ids import Sid
from bastide.domain.people import Forest
from bastide.services.ports import Samples

#: trustDirection, [MS-ADTS] 6.1.6.7.12, as people say it.
_DIRECTIONS = ("disabled", "inbound", "outbound", "both ways")
_TRUST = ("trustPartner", "trustDirection", "trustAttributes", "securityIdentifier")


class AdProber:
    """Prober over LDAP, DNS and TCP. `now` is the clock that the controllers are compared with."""

    def __init__(
        self,
        priv: ActiveDirectory,
        corp: ActiveDirectory | None,
        now: Callable[[], datetime],
        *,
        samples: Callable[[], Samples] = Samples,
        network: Network | None = None,
    ) -> None:
        self._sides = {Forest.PRIV: priv} | ({Forest.CORP: corp} if corp is not None else {})
        self._now = now
        self._samples = samples
        self._network: Network = network or RealNetwork()

    def test_domain(self, forest: Forest) -> tuple[Finding, ...]:
        side = self._sides.get(forest)
        if side is None:
            return (ok("domain.single-forest", "there is one forest only; PRIV is tested"),)
        return tuple(_safely("domain", lambda: self._domain(forest, side)))

    def test_trust(self) -> tuple[Finding, ...]:
        corp = self._sides.get(Forest.CORP)
        if corp is None:
            return (ok("trust.single-forest", "there is one forest only: no trust is needed"),)
        priv = self._sides[Forest.PRIV]
        return tuple(_safely("trust", lambda: _trust(priv, corp)))

    def capabilities(self, forest: Forest) -> tuple[Finding, ...]:
        """What the directory proved to be able to do."""
        return tuple(_safely("capability", lambda: _capabilities(forest, self._sides[forest])))

    def rights(self, forest: Forest) -> tuple[Finding, ...]:
        """What the service account may write, on one object of each kind."""
        return tuple(_safely("rights", lambda: _rights(forest, self._sides[forest], self._samples())))

    def _domain(self, forest: Forest, side: ActiveDirectory) -> Iterator[Finding]:
        prober = DomainProber(side.connections, self._network, self._now)
        yield from prober.name_service()
        yield from prober.ports()
        answers = prober.asked()
        yield from sign_in(answers)
        yield from clocks(answers)
        yield from _capabilities(forest, side)
        yield from _rights(forest, side, self._samples())


def _safely(key: str, findings: Callable[[], Iterator[Finding]]) -> Iterator[Finding]:
    """A test that cannot go on says why, after what it found so far."""
    try:
        yield from findings()
    except DirectoryError as error:
        yield wrong(f"{key}.stopped", "the test could not go on", error.remedy, error.message)


# --------------------------------------------------------------------------------------------- what the directory says


def _capabilities(forest: Forest, side: ActiveDirectory) -> Iterator[Finding]:
    found = side.capabilities()
    if forest is Forest.CORP:
        return
    yield ok(
        "capability.link-ttl",
        "memberships can carry a time limit"
        if found.link_ttl
        else "memberships carry no time limit; the account's end does",
        found.evidence.get("link_ttl", ""),
    )
    evidence = found.evidence.get("authentication_policies", "")
    if found.authentication_policies:
        yield ok("capability.ticket-cap", "an authentication policy can cap the life of tickets", evidence)
    else:
        yield warn(
            "capability.ticket-cap",
            "no authentication policies: a ticket lives for 4 h (Protected Users) after the end of a grant",
            "raise the functional level of PRIV to 2012 R2 or higher",
            evidence,
        )


def _rights(forest: Forest, side: ActiveDirectory, samples: Samples) -> Iterator[Finding]:
    if forest is Forest.CORP:
        yield _right(side, "group", samples.corp_group, "member")
        return
    yield _right(side, "group", samples.priv_group, "member")
    yield _right(side, "user", samples.priv_user, "accountExpires")


def _right(side: ActiveDirectory, kind: str, dn: str, needed: str) -> Finding:
    """[MS-ADTS] 3.1.1.4.5.9: allowedAttributesEffective is what the caller may write on that very object."""
    key = f"rights.{kind}"
    if not dn:
        return warn(
            key,
            f"no PAM {kind} is known to test the rights on",
            f"prepare a PAM {kind} first, then test again",
        )
    try:
        entry = side.connections.on_any(
            "read rights", lambda s: s.must_read(dn, ["allowedAttributesEffective"])
        )
    except DirectoryError as error:
        return wrong(key, f"the PAM {kind} {dn} cannot be read", error.remedy, error.message)
    may = {name.lower(): name for name in entry.texts("allowedAttributesEffective")}
    evidence = f"may write on {dn}: " + (", ".join(sorted(may.values())) or "nothing")
    if needed.lower() not in may:
        return wrong(
            key, f"the service account may not write {needed} of a PAM {kind}",
            "run the delegation script: `bastide delegation`", evidence,
        )  # fmt: skip
    if len(may) > 1:
        return warn(
            key, f"the service account may write more than {needed} of a PAM {kind}",
            "take it out of administrative groups; the delegation script gives all that it needs", evidence,
        )  # fmt: skip
    return ok(key, f"the service account may write {needed} of a PAM {kind}, and nothing else", evidence)


# ------------------------------------------------------------------------------------------------------------ the trust


def _trust(priv: ActiveDirectory, corp: ActiveDirectory) -> Iterator[Finding]:
    at_corp, at_priv = _trusted_domain(corp, priv), _trusted_domain(priv, corp)
    yield _direction(
        "trust.corp-side", corp, priv, at_corp, TrustDirection.OUTBOUND,
        "CORP must trust PRIV, and PRIV must not trust CORP: whoever owns CORP would come in",
    )  # fmt: skip
    yield _direction(
        "trust.priv-side", priv, corp, at_priv, TrustDirection.INBOUND,
        "PRIV must be trusted by CORP only, and trust nobody",
    )  # fmt: skip
    if at_corp is not None:
        yield _partner_sid(at_corp, priv.domain().sid)
        yield from attributes(at_corp.number("trustAttributes"))
    yield _sid_filtering(corp.capabilities().sid_filtering, corp.capabilities().evidence, at_corp)
    yield from _crossing(corp)


def _trusted_domain(side: ActiveDirectory, partner: ActiveDirectory) -> Entry | None:
    """[MS-ADTS] 6.1.6.7: the trustedDomain object below CN=System."""
    condition = (
        f"(&(objectClass=trustedDomain){filter_format('(trustPartner=%s)', [partner.domain().dns_name])})"
    )
    container = f"CN=System,{side.domain().base}"
    found = side.connections.on_any("read the trust", lambda s: s.search(container, condition, list(_TRUST)))
    return found[0] if found else None


def _direction(
    key: str,
    side: ActiveDirectory,
    partner: ActiveDirectory,
    trust: Entry | None,
    wanted: TrustDirection,
    rule: str,
) -> Finding:
    where, other = side.domain().dns_name, partner.domain().dns_name
    if trust is None:
        return wrong(
            key, f"{where} knows no trust with {other}, or does not show it",
            "make the trust from CORP: one-way, outgoing, forest", rule,
        )  # fmt: skip
    direction = TrustDirection(trust.number("trustDirection") & 3)
    evidence = f"trustDirection {direction:d} ({_DIRECTIONS[direction]}). {rule}"
    if direction == wanted:
        return ok(key, f"{where} has the trust in the right direction, and in that one only", evidence)
    return wrong(
        key,
        f"the trust of {where} with {other} points the wrong way, or both ways",
        "make it anew: one-way",
        evidence,
    )


def _partner_sid(trust: Entry, sid: Sid) -> Finding:
    if not trust.all("securityIdentifier"):
        return warn(
            "trust.sid", "CORP does not show whose SID it trusts", "compare it by hand: securityIdentifier"
        )
    found = trust.sid("securityIdentifier")
    if found != sid:
        return wrong(
            "trust.sid",
            "CORP trusts another domain of that name",
            "make the trust anew",
            f"{found}, not {sid}",
        )
    return ok("trust.sid", "CORP trusts this very PRIV domain", str(found))


#: What a bit means for Bastide; [MS-ADTS] 6.1.6.7.9.
_BITS: Mapping[TrustAttributes, tuple[Severity, str, str]] = {
    TrustAttributes.NON_TRANSITIVE: (Severity.OK, "only this one domain of PRIV is trusted", ""),
    TrustAttributes.QUARANTINED: (
        Severity.WARNING, "every SID that is not of PRIV's own domain is filtered: shadow principals and SID history do not pass",
        "right for foreign principals; clear it only for shadow principals",
    ),
    TrustAttributes.CROSS_ORGANIZATION: (
        Severity.WARNING, "selective authentication: PAM users need 'Allowed to authenticate' on every server of CORP",
        "grant it, or use forest-wide authentication",
    ),
    TrustAttributes.TREAT_AS_EXTERNAL: (
        Severity.WARNING, "SID history passes: whoever owns PRIV may be anybody in CORP with a RID above 1000",
        "clear it unless shadow principals are used: netdom trust /enablesidhistory:no",
    ),
    TrustAttributes.USES_RC4: (Severity.WARNING, "tickets over the trust may be RC4", "set AES on the trust"),
    TrustAttributes.PIM_TRUST: (
        Severity.WARNING, "PIM trust: shadow principals pass, with them every SID of CORP that is not filtered always",
        "right for shadow principals; clear it otherwise: netdom trust /EnablePIMTrust:no",
    ),
    TrustAttributes.TGT_DELEGATION: (
        Severity.WARNING, "full delegation crosses the trust: a server in CORP can keep the tickets of PAM users",
        "netdom trust /EnableTGTDelegation:no",
    ),
}  # fmt: skip


def attributes(value: int) -> Iterator[Finding]:
    """Each bit of trustAttributes in words."""
    bits = TrustAttributes(value & int(~TrustAttributes(0)))
    forest = bool(bits & TrustAttributes.FOREST_TRANSITIVE)
    yield ok(
        "trust.kind",
        "a forest trust"
        if forest
        else "an external trust: it covers one domain, and shadow principals need a forest trust",
        f"trustAttributes 0x{value:x} ({bits!r})",
    )
    for bit, (severity, text, remedy) in _BITS.items():
        if bits & bit:
            yield Finding(
                f"trust.{(bit.name or '').lower().replace('_', '-')}",
                severity,
                text,
                f"0x{int(bit):x} is set",
                remedy,
            )


def _sid_filtering(filters: bool, evidence: Mapping[str, str], trust: Entry | None) -> Finding:
    proof = evidence.get("sid_filtering", "")
    if filters:
        bits = trust.number("trustAttributes") if trust else 0
        return ok(
            "trust.sid-filtering", "CORP filters foreign SIDs as the bits above say", f"{proof}; 0x{bits:x}"
        )
    return warn(
        "trust.sid-filtering",
        "NO SID FILTERING: this CORP lets every SID in a PRIV ticket pass, whatever trustAttributes say. Whoever owns PRIV owns CORP.",
        "guard PRIV as CORP's own domain controllers are guarded; only a Windows CORP filters",
        proof,
    )


def _crossing(corp: ActiveDirectory) -> Iterator[Finding]:
    """The proof of the pudding: the service account's PRIV ticket buys a sealed session in CORP."""
    for controller in corp.controllers():
        if controller.reachable:
            yield ok("trust.ticket", f"a ticket of PRIV opened a sealed connection to {controller.name}")
        else:
            yield wrong(
                "trust.ticket",
                f"no ticket of PRIV works at {controller.name}",
                "see the domain test of CORP",
                controller.problem,
            )
