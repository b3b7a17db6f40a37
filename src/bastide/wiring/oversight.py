"""What auditors need: reports, the baseline of privileged accounts, reviews of who may ask for what."""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from datetime import datetime

from bastide.domain.ids import Sid
from bastide.domain.people import Forest
from bastide.services.access_graph import AccessGraphs
from bastide.services.baseline.look import Baseline
from bastide.services.baseline.ports import Census
from bastide.services.eligibility import Eligibility
from bastide.services.people import Subjects
from bastide.services.ports import Directory, Random, Signer, Store
from bastide.services.reach import Reach
from bastide.services.reviews.campaigns import Campaigns
from bastide.services.reviews.reviewers import People
from bastide.services.reviews.run import ReviewWork
from bastide.services.roles import Roles
from bastide.services.tables import Tables


@dataclass(frozen=True, slots=True)
class OversightAdapters:
    """By domain: what looks at its accounts as the service account, and the names of Bastide's own."""

    censuses: Mapping[str, Census] = field(default_factory=dict)
    own: Mapping[str, Collection[str]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Oversight:
    """The use cases."""

    tables: Tables
    baseline: Baseline
    reviews: Campaigns
    review_work: ReviewWork
    access_graphs: AccessGraphs


def assemble_oversight(
    adapters: OversightAdapters,
    *,
    store: Store,
    forests: Mapping[Forest, Directory],
    subjects: Subjects,
    reach: Reach,
    roles: Roles,
    signer: Signer,
    random: Random,
    now: Callable[[], datetime],
    administrators: Callable[[], Collection[Sid]],
    four_eyes: bool = False,
) -> Oversight:
    """Wire the use cases to these adapters."""
    people = People(store=store, forests=forests, censuses=adapters.censuses, administrators=administrators)
    eligibility = Eligibility(store=store, forests=forests, now=now)
    return Oversight(
        tables=Tables(store=store, eligibility=eligibility, censuses=adapters.censuses, now=now),
        baseline=Baseline(store=store, censuses=adapters.censuses, own=adapters.own, now=now),
        access_graphs=AccessGraphs(store=store, eligibility=eligibility, reach=reach),
        reviews=Campaigns(
            store=store,
            people=people,
            subjects=subjects,
            signer=signer,
            random=random,
            now=now,
            four_eyes=four_eyes,
        ),
        review_work=ReviewWork(
            store=store,
            people=people,
            eligibility=eligibility,
            roles=roles,
            signer=signer,
            random=random,
            now=now,
            four_eyes=four_eyes,
        ),
    )
