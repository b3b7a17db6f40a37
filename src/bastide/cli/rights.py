"""The delegation plan of these settings, with the accounts looked up in the directory."""

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

from bastide.cli.exits import Exit, Stop
from bastide.cli.server import open_services
from bastide.config import Config, load
from bastide.directory import delegation
from bastide.directory.delegation import Account, CorpGroup, Plan, Resets
from bastide.domain.ids import Sid
from bastide.domain.people import Forest
from bastide.services.ports import Directory
from bastide.wiring import Services


def script(
    path: Path,
    *,
    forest: str,
    dialect: str,
    corp_groups: list[str],
    reset_account: str = "",
    reset_containers: list[str] | None = None,
) -> str:
    """The text to run. Raises Stop, ConfigError, BastideError."""
    containers = reset_containers or []
    if bool(reset_account) != bool(containers):
        raise Stop(
            "--reset-account and --reset-container go together",
            remedy="name the account of the domain's management agent, and each container of people whose passwords it resets",
            status=Exit.USAGE,
        )
    config = load(path)
    if dialect == "policy":
        return delegation.policy_ldif(_policy_plan(config))
    with open_services(path) as services:
        plan = _plan(config, services, corp_groups)
        if containers:
            plan = replace(plan, resets=_resets(config, services, plan, reset_account, containers))
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


def _resets(config: Config, services: Services, plan: Plan, name: str, containers: list[str]) -> Resets:
    """The account is one of CORP, or with a single forest of that one. Raises Stop."""
    forest, domain = (
        (Forest.PRIV, config.priv.domain) if config.corp is None else (Forest.CORP, config.corp.domain)
    )
    account = _account(services.forests[forest], name, domain)
    if account.sid in {plan.service.sid, plan.preparer.sid}:
        raise Stop(
            f"{name} is an account of Bastide that sets no passwords of people",
            remedy="make an account of its own for the management agent: docs/how-to/self-service-reset.md",
        )
    return Resets(account, tuple(dict.fromkeys(containers)))


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
