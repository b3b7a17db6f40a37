"""What a domain is and what its directory proves to be able to do. Asked from rootDSE, the schema and the configuration."""

from dataclasses import dataclass
from threading import Lock

from bastide.directory.constants import (
    CONTROL_LINK_TTL,
    FEATURE_PAM,
    LEVEL_2012_R2,
    LEVEL_2016,
    POLICIES,
    SHADOW_PRINCIPALS,
)
from bastide.directory.entries import Entry
from bastide.directory.ldap import Controllers
from bastide.directory.session import Session
from bastide.domain.errors import DirectoryDenied, NoSuchObject
from bastide.domain.ids import Sid, guid_from_bytes
from bastide.services.ports import Capabilities

_ROOT = (
    "defaultNamingContext", "configurationNamingContext", "schemaNamingContext", "supportedControl", "vendorName",
    "domainFunctionality", "forestFunctionality",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Domain:
    """Names of a domain: the base DN, its configuration, its SID and both of its names."""

    base: str
    configuration: str
    schema: str
    sid: Sid
    dns_name: str
    netbios: str


class View:
    """What is asked once and then remembered."""

    def __init__(self, controllers: Controllers) -> None:
        self._controllers = controllers
        self._lock = Lock()
        self._domain: Domain | None = None
        self._capabilities: Capabilities | None = None

    def domain(self) -> Domain:
        if self._domain is None:
            found = self._controllers.on_any("read the domain", read_domain)
            with self._lock:
                self._domain = found
        return self._domain

    def capabilities(self) -> Capabilities:
        if self._capabilities is None:
            domain = self.domain()
            found = self._controllers.on_any("measure the directory", lambda s: measure(s, domain))
            with self._lock:
                self._capabilities = found
        return self._capabilities


def read_domain(session: Session) -> Domain:
    """Ask one controller. Raises DirectoryDenied if it shows nothing."""
    root = session.must_read("", _ROOT)
    base, configuration = root.text("defaultNamingContext"), root.text("configurationNamingContext")
    top = session.must_read(base, ["objectSid"])
    if not top.all("objectSid"):
        raise DirectoryDenied(
            f"{session.controller} does not show the SID of {base}", remedy="check read rights"
        )
    crossings = session.search(
        f"CN=Partitions,{configuration}", "(objectClass=crossRef)", ["nCName", "nETBIOSName"]
    )
    netbios = next((c.text("nETBIOSName") for c in crossings if c.text("nCName").lower() == base.lower()), "")
    dns_name = ".".join(part.split("=", 1)[1] for part in base.split(",") if part.upper().startswith("DC="))
    return Domain(
        base=base,
        configuration=configuration,
        schema=root.text("schemaNamingContext"),
        sid=top.sid(),
        dns_name=dns_name.lower(),
        netbios=netbios,
    )


def measure(session: Session, domain: Domain) -> Capabilities:
    """What this directory can do, with the evidence."""
    root = session.must_read("", _ROOT)
    forest = root.number("forestFunctionality")
    level = root.number("domainFunctionality")
    control = CONTROL_LINK_TTL in root.texts("supportedControl")
    feature = _feature_enabled(session, domain)
    ttl = control and feature and forest >= LEVEL_2016
    shadow = ttl and _there(session, f"{SHADOW_PRINCIPALS},{domain.configuration}")
    policies = level >= LEVEL_2012_R2 and _there(session, f"{POLICIES},{domain.configuration}")
    samba = _is_samba(root)
    return Capabilities(
        link_ttl=ttl,
        shadow_principals=shadow,
        authentication_policies=policies,
        sid_filtering=not samba,
        evidence={
            "link_ttl": f"control {CONTROL_LINK_TTL} {_is(control)} in rootDSE; feature {FEATURE_PAM} "
            f"{'enabled' if feature else 'not enabled'}; forest level {forest}, needs {LEVEL_2016}",
            "shadow_principals": f"{SHADOW_PRINCIPALS} {_is(shadow)}, and needs what link_ttl needs",
            "authentication_policies": f"domain level {level}, needs {LEVEL_2012_R2}",
            "sid_filtering": f"vendorName {root.text('vendorName')!r}: Samba filters no SIDs on trusts"
            if samba
            else "no vendorName in rootDSE: AD DS, which filters as trustAttributes say",
        },
    )


def _is_samba(root: Entry) -> bool:
    """The one place where the vendor is the evidence: SID filtering cannot be seen in any attribute, and Samba has none (measured)."""
    return "samba" in root.text("vendorName").lower()


def _feature_enabled(session: Session, domain: Domain) -> bool:
    """Forest-wide features are listed on CN=Partitions ([MS-ADTS] 3.1.1.9); each names its feature by GUID."""
    partitions = session.must_read(f"CN=Partitions,{domain.configuration}", ["msDS-EnabledFeature"])
    for dn in partitions.texts("msDS-EnabledFeature"):
        feature = session.must_read(dn, ["msDS-OptionalFeatureGUID"]).all("msDS-OptionalFeatureGUID")
        if feature and guid_from_bytes(feature[0]) == FEATURE_PAM:
            return True
    return False


def _there(session: Session, dn: str) -> bool:
    try:
        return session.read(dn, ["cn"]) is not None
    except NoSuchObject:
        return False


def _is(found: bool) -> str:
    return "is there" if found else "is not there"
