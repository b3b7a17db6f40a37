"""The kind `ldap` sets no passwords in a domain of Active Directory: the proof that none comes back compares the domains of the other kind."""

from typing import cast

import pytest

from bastide.directory.session import Session
from bastide.domain.errors import CapabilityMissing
from bastide.targets.ldap import _abilities


class Root:
    """A rootDSE."""

    def __init__(self, **attributes: list[str]) -> None:
        self.attributes = attributes

    def texts(self, name: str) -> tuple[str, ...]:
        return tuple(self.attributes.get(name, ()))

    def text(self, name: str) -> str:
        return "".join(self.texts(name)[:1])


class Server:
    controller = "ldap1.lab.test"

    def __init__(self, root: Root) -> None:
        self.root = root

    def must_read(self, dn: str, attributes: list[str]) -> Root:
        assert dn == ""
        return Root(**{one: list(self.root.texts(one)) for one in attributes})

    def read(self, *_: object, **__: object) -> None:
        return None


@pytest.mark.parametrize(
    ("capabilities", "domain"),
    [
        (["1.2.840.113556.1.4.800", "1.2.840.113556.1.4.1670"], True),
        (["1.2.840.113556.1.4.1851"], False),
        ([], False),
    ],
)
def test_a_controller_of_active_directory_is_refused(capabilities: list[str], domain: bool) -> None:
    server = cast("Session", Server(Root(supportedCapabilities=capabilities)))
    if domain:
        with pytest.raises(CapabilityMissing, match="Active Directory"):
            _abilities(server)
    else:
        assert _abilities(server).password_modify is False
