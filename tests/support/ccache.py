"""A file of Kerberos tickets, without a KDC."""

import struct


def cache(principal: str, *, ends: int) -> bytes:
    """A credentials cache of version 4 (MIT, doc/formats/ccache_file_format): a ticket-granting ticket that no KDC gave."""

    def counted(raw: bytes) -> bytes:
        return struct.pack(">I", len(raw)) + raw

    def named(name: str) -> bytes:
        parts, _, realm = name.rpartition("@")
        components = parts.split("/")
        return struct.pack(">II", 1, len(components)) + b"".join(
            counted(one.encode()) for one in (realm, *components)
        )

    realm = principal.rpartition("@")[2]
    key = struct.pack(">H", 18) + counted(bytes(32))
    times = struct.pack(">IIII", 1, 1, ends, 0)
    ticket = (
        named(principal) + named(f"krbtgt/{realm}@{realm}") + key + times
        + b"\0" + struct.pack(">III", 0, 0, 0) + counted(b"no ticket") + counted(b"")
    )  # fmt: skip
    return struct.pack(">HH", 0x0504, 0) + named(principal) + ticket
