"""The delegation plan of these settings, with the accounts looked up in the directory."""

from datetime import timedelta
from pathlib import Path

from bastide.cli.exits import Stop
from bastide.cli.server import open_services
from bastide.config import Config, load
from bastide.directory import delegation
from bastide.directory.delegation import Account, CorpGroup, Plan
from bastide.domain.ids import Sid
from bastide.domain.people import Forest
from bastide.services.ports import Directory
from bastide.wiring import Services


def script(path: Path, *, forest: str, dialect: str, corp_groups: list[str]) -> str:
    """The text to run. Raises Stop, ConfigError, BastideError."""
    config = load(path)
    if dialect == "policy":
        return delegation.policy_ldif(_policy_plan(config))
    with open_services(path) as services:
        plan = _plan(config, services, corp_groups)
    write = delegation.windows_script if dialect == "windows" else delegation.samba_script
    return write(plan, Forest(forest))


def _plan(config: Config, services: Services, corp_groups: list[str]) -> Plan:
    priv = services.forests[Forest.PRIV]
    preparer = config.priv.preparer
    if preparer is None:
        raise Stop(
            "the settings name no preparer, so nothing but the service account could be given rights",
            remedy='set [priv.preparer], or delegate by hand: docs/operations/delegation.md, "Without the preparer"',
        )
    base = _base(config.priv.domain)
    return Plan(
        service=_account(priv, config.priv.principal, config.priv.domain),
        preparer=_account(priv, preparer.principal, config.priv.domain),
        priv_base=base,
        corp_base=_base(config.corp.domain) if config.corp is not None else base,
        users=config.priv.users_container,
        groups=(config.priv.groups_container,),
        corp_groups=_corp_groups(services, corp_groups),
        policy=config.policy.ticket_policy,
        cap=timedelta(seconds=config.policy.ticket_cap_seconds),
        shadow_principals=config.corp is not None and priv.capabilities().shadow_principals,
    )


def _policy_plan(config: Config) -> Plan:
    """The ticket cap concerns no account, so nothing is looked up."""
    nobody = Account(Sid("S-1-0-0"), "nobody")
    base = _base(config.priv.domain)
    return Plan(
        service=nobody,
        preparer=nobody,
        priv_base=base,
        corp_base=base,
        users=config.priv.users_container,
        groups=(config.priv.groups_container,),
        policy=config.policy.ticket_policy,
        cap=timedelta(seconds=config.policy.ticket_cap_seconds),
    )


def _account(directory: Directory, principal: str, domain: str) -> Account:
    """`name@domain` is a name for dsacls too, and of the domain only its DNS name is in the settings."""
    name = principal.partition("@")[0]
    return Account(directory.find_person(name).ref.sid, f"{name}@{domain}")


def _corp_groups(services: Services, names: list[str]) -> tuple[CorpGroup, ...]:
    """Those named, and those that are PAM groups already."""
    corp = services.forests.get(Forest.CORP)
    if corp is None:
        return ()
    with services.store.read() as uow:
        known = [group.corp.sid for group in uow.groups.all() if group.needs_link]
    found = [corp.find_group(name) for name in dict.fromkeys([*known, *names])]
    return tuple({group.ref.dn: CorpGroup(group.ref.dn, group.protected) for group in found}.values())


def _base(domain: str) -> str:
    return ",".join(f"DC={label}" for label in domain.split("."))
