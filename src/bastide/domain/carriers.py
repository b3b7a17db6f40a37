"""Which carrier can carry which CORP group, where. What cannot work is refused before a role is saved, with what to use instead."""

from bastide.domain.errors import CapabilityMissing, Conflict
from bastide.domain.roles import Carrier, Scope


def check(
    name: str, scope: Scope, carrier: Carrier, *, security: bool, shadow_principals: bool, single_forest: bool
) -> None:
    """Raise Conflict or CapabilityMissing unless `carrier` can carry the group `name`."""
    if not security:
        raise Conflict(f"{name} is a distribution group and carries no rights")
    match carrier:
        case Carrier.FOREIGN_PRINCIPAL:
            _foreign_principal(name, scope, shadow_principals=shadow_principals, single_forest=single_forest)
        case Carrier.SHADOW_PRINCIPAL:
            if not shadow_principals:
                raise CapabilityMissing(
                    "this PRIV forest has no working shadow principals (they need Windows at forest level 2016)",
                    remedy="use the carrier foreign-principal with a domain-local CORP group",
                )
        case Carrier.DIRECT:
            if not single_forest:
                raise Conflict(
                    "the carrier direct is for single-forest mode", remedy="use the carrier foreign-principal"
                )


def _foreign_principal(name: str, scope: Scope, *, shadow_principals: bool, single_forest: bool) -> None:
    if single_forest:
        raise Conflict("in one forest there is no foreign principal", remedy="use the carrier direct")
    if scope not in {Scope.DOMAIN_LOCAL, Scope.BUILTIN}:
        shadow = "the carrier shadow-principal, or " if shadow_principals else ""
        raise Conflict(
            f"{name} is a {scope.value} group, and a foreign principal fits only into a domain-local one",
            remedy=f"use {shadow}a domain-local CORP group that holds the same right",
        )
