"""Everything that touches the outside, as the composition root is given it."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from bastide.authn import Realm, Rights
from bastide.clock import Clock
from bastide.domain.people import Forest
from bastide.services.help_desk.ports import Settings as HelpDeskSettings
from bastide.services.journal import Journal
from bastide.services.nodes import Me, nobody_knows
from bastide.services.passwords.ports import ConnectedSystems
from bastide.services.ports import (
    AuditSink,
    CodeHasher,
    Preparer,
    Prober,
    Random,
    Sealer,
    Signer,
    Store,
)
from bastide.services.recovery import Mark
from bastide.services.reset.ports import PolicyReader
from bastide.services.signin import Acceptor, TokenReader
from bastide.store.mark import MemoryMark
from bastide.wiring.alerts import AlertAdapters
from bastide.wiring.break_glass import BreakGlassAdapters
from bastide.wiring.intake import IntakeAdapters
from bastide.wiring.monitor import MonitorAdapters
from bastide.wiring.notifications import NotificationAdapters
from bastide.wiring.oversight import OversightAdapters
from bastide.wiring.passwords import PasswordAdapters
from bastide.wiring.reset import ResetAdapters


@dataclass(frozen=True, slots=True, kw_only=True)
class Adapters:
    """Everything that touches the outside."""

    store: Store
    realms: Mapping[Forest, Realm]
    preparer: Preparer | None
    prober: Prober | None = None
    acceptor: Acceptor | None
    tokens: TokenReader | None = None
    rights: Rights
    sealer: Sealer
    signer: Signer
    hasher: CodeHasher
    random: Random
    sinks: Sequence[AuditSink]
    clock: Clock
    systems: ConnectedSystems | None = None
    #: DNS names in lower case of the domains that can be asked who their controllers are. None: nothing comes in from the network here.
    source_domains: frozenset[str] | None = None
    passwords: PasswordAdapters | None = None
    notifications: NotificationAdapters | None = None
    alerts: AlertAdapters | None = None
    intake: IntakeAdapters | None = None
    #: With `passwords` only.
    reset: ResetAdapters | None = None
    #: With `passwords` only.
    help_desk: HelpDeskSettings | None = None
    #: What the domains ask of passwords, for the help desk.
    policies: Mapping[Forest, PolicyReader] = field(default_factory=dict)
    monitoring: MonitorAdapters | None = None
    break_glass: BreakGlassAdapters = field(default_factory=BreakGlassAdapters)
    oversight: OversightAdapters = field(default_factory=OversightAdapters)
    #: The digest of the token that monitoring shows. None: it is not set up.
    metrics_token: bytes | None = None
    #: None: what is assembled here is no node.
    me: Me | None = None
    #: Outside of the database. In memory it notices what comes back while the process runs.
    mark: Mark = field(default_factory=MemoryMark)
    gone: Callable[[str], bool] = nobody_knows
    #: The log files of this node. None: it keeps none.
    journal: Journal | None = None
