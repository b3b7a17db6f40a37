"""The forests as the service account sees them: sign-in, what the directory can do, and what the account may write."""

from collections.abc import Iterator

from bastide.domain.errors import DirectoryError, DirectoryUnavailable, Refused
from bastide.domain.health import Category, Finding
from bastide.domain.people import Forest
from bastide.health.check import PATIENT, Check, Need
from bastide.health.look import bad, good, refusal, unasked, unfound
from bastide.health.world import World
from bastide.services.reset.people import directory_of, named_group

_RENAMED = "write the group's name of now into [reset], or its SID, which no renaming changes"


def sign_ins(world: World) -> Iterator[Finding]:
    """A sealed connection to each controller of each domain, with the account that is used there."""
    from bastide.directory.domain_probe import sign_in  # noqa: PLC0415  # needs the extra `ad`

    for name, domain in world.domains().items():
        try:
            yield from sign_in(domain.asked())
        except DirectoryUnavailable:
            yield unfound(name)


def capabilities(world: World) -> Iterator[Finding]:
    """What PRIV proved to be able to do."""
    yield from world.prober().capabilities(Forest.PRIV)


def rights(world: World) -> Iterator[Finding]:
    """On one prepared object of each kind."""
    forests = [Forest.PRIV, *([Forest.CORP] if world.config.corp is not None else [])]
    for forest in forests:
        for found in world.prober().rights(forest):
            yield Finding(
                found.key,
                found.severity,
                found.text,
                found.evidence,
                found.remedy,
                f"{forest.value.upper()} {found.key}",
            )


def trust(world: World) -> Iterator[Finding]:
    """As both sides show it, and what it lets through."""
    yield from world.prober().test_trust()


def reset_groups(world: World) -> Iterator[Finding]:
    """Groups that the table [reset] names. One that was renamed stops all resets (services/reset/people.py)."""
    table = world.config.reset
    named = (
        [] if table is None else [*table.excluded, *(name for rule in table.rules for name in rule.groups)]
    )
    if not named:
        yield unasked("groups", "[reset] names no group")
        return
    accounts = directory_of(world.forests())
    for name in dict.fromkeys(named):
        try:
            found = named_group(accounts, name).ref.name
        except Refused as error:
            yield bad(f"reset: {name}", f"{error.message}, so nobody can reset a password", _RENAMED)
        except DirectoryError as error:
            yield refusal(f"reset: {name}", error)
        else:
            yield good(f"reset: {name}", f"the group {found} is there")


CHECKS = (
    Check(
        id="directory.sign-in",
        category=Category.DIRECTORY,
        subject="a sealed connection to each controller",
        why="A controller that does not let Bastide in keeps a membership that was taken away elsewhere, until it has replicated.",
        run=sign_ins,
        needs=(Need.NETWORK,),
        timeout=PATIENT,
    ),
    Check(
        id="directory.capabilities",
        category=Category.DIRECTORY,
        subject="what the directory can do by itself",
        why="Whether access ends on time with Bastide down depends on what the directory can do.",
        run=capabilities,
        needs=(Need.NETWORK, Need.DIRECTORY, Need.DATABASE),
        timeout=PATIENT,
    ),
    Check(
        id="directory.rights",
        category=Category.DIRECTORY,
        subject="the service account's rights",
        why="With fewer rights a grant fails; with more, a stolen service account is worth more than it needs to be.",
        run=rights,
        needs=(Need.NETWORK, Need.DIRECTORY, Need.DATABASE),
        timeout=PATIENT,
    ),
    Check(
        id="directory.reset-groups",
        category=Category.DIRECTORY,
        subject="groups that self-service reset goes by",
        why="While a group that [reset] names is not there, nobody resets a password: its people would go through another rule.",
        run=reset_groups,
        needs=(Need.NETWORK, Need.DIRECTORY, Need.DATABASE),
        timeout=PATIENT,
    ),
    Check(
        id="trust.both-sides",
        category=Category.TRUST,
        subject="the trust as both forests show it",
        why="A trust in the wrong direction gives CORP what it must not have; without one, access does not cross.",
        run=trust,
        needs=(Need.NETWORK, Need.DIRECTORY, Need.DATABASE),
        timeout=PATIENT,
    ),
)
