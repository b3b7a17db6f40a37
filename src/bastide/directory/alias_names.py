"""DNS as the cluster alias needs it: addresses, their names, and whether a name is another's (CNAME)."""

import socket

from bastide.directory.network import RealNetwork


class AliasNames(RealNetwork):
    """As the port Names."""

    def canonical(self, name: str) -> str:
        """In lower case. Raises OSError."""
        try:
            found = socket.getaddrinfo(name, None, type=socket.SOCK_STREAM, flags=socket.AI_CANONNAME)
        except socket.gaierror as error:
            raise OSError((error.strerror or "no such name").lower()) from None
        return (found[0][3] or name).rstrip(".").lower()
