"""Which domain controller this is: asked of its own directory, believed of nothing else."""

from collections.abc import Sequence
from typing import Protocol

from bastide_agent import __version__
from bastide_agent.capture import guid_text
from bastide_agent.channel import Machine
from bastide_agent.failures import NoAccount, Stop
from bastide_agent.ldapi import Attributes, Root

#: [MS-ADTS] 2.2.16: SERVER_TRUST_ACCOUNT, and PARTIAL_SECRETS_ACCOUNT of a read-only controller, which has not everybody's password.
_CONTROLLER, _READ_ONLY = 0x2000, 0x04000000


class Source(Protocol):
    """What is asked of the directory."""

    def root(self) -> Root: ...
    def read(self, dn: str, names: Sequence[str]) -> Attributes: ...


def identify(source: Source) -> tuple[Root, Machine, str]:
    """The rootDSE, who we are to others, and the invocation id of this database. Raises DirectoryGone, Stop (6026)."""
    root = source.root()
    try:
        server = source.read(root.server, ["serverReference"])
        account = source.read(server["serverReference"][0].decode(), ["sAMAccountName", "userAccountControl"])
        control = int(account["userAccountControl"][0])
        name = account["sAMAccountName"][0].decode()
        invocation = guid_text(source.read(root.ntds_settings, ["invocationId"])["invocationId"][0])
    except (NoAccount, KeyError, IndexError):
        raise Stop(6026, "this directory does not know its own controller") from None
    if not control & _CONTROLLER or control & _READ_ONLY:
        raise Stop(6026, f"{name} is no writable domain controller")
    domain = ".".join(part.partition("=")[2] for part in root.base.split(",")).lower()
    realm = domain.upper()
    return (
        root,
        Machine(
            principal=f"{name}@{realm}",
            realm=realm,
            domain=domain,
            controller=root.host,
            software=f"bastide-agent {__version__}",
        ),
        invocation,
    )
