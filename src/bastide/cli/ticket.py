"""The caller's Kerberos ticket, as SPNEGO for the server's HTTP/ name. python-gssapi is loaded only when a ticket is wanted."""

from bastide.cli.exits import Exit, Stop

_NEVER_WITHOUT = "or sign in with --account CORP\\name"


class Exchange:
    """One handshake with one server."""

    def __init__(self, host: str) -> None:
        try:
            import gssapi  # noqa: PLC0415  # needs a C library that a client with --account does without
            from gssapi.raw.misc import GSSError  # noqa: PLC0415
        except ImportError:
            raise Stop(
                "this machine cannot use Kerberos tickets: python-gssapi is not installed",
                remedy=f"install bastide[ad], {_NEVER_WITHOUT}",
                status=Exit.NOT_SIGNED_IN,
            ) from None
        self._error = GSSError
        self._host = host
        name = gssapi.Name(f"HTTP@{host}", gssapi.NameType.hostbased_service)
        flags = (
            gssapi.RequirementFlag.mutual_authentication | gssapi.RequirementFlag.out_of_sequence_detection
        )
        spnego = gssapi.OID.from_int_seq("1.3.6.1.5.5.2")
        self._context = gssapi.SecurityContext(name=name, flags=flags, mech=spnego, usage="initiate")

    def step(self, token: bytes | None = None) -> bytes | None:
        """The next token for the server, or the check of its last one. Raises Stop."""
        try:
            answer: bytes | None = self._context.step(token)
        except self._error as error:
            raise self._translate(error, is_answer=token is not None) from None
        return answer

    def _translate(self, error: Exception, *, is_answer: bool) -> Stop:
        said = " ".join(str(error).replace("\0", "").split())
        if is_answer:
            return Stop(
                f"{self._host} could not prove that it is the server: {said}",
                remedy="do not go on; ask the administrator of Bastide",
                status=Exit.UNAVAILABLE,
            )
        return Stop(
            f"no Kerberos ticket for HTTP/{self._host}: {said}",
            remedy=f"get one with kinit, {_NEVER_WITHOUT}",
            status=Exit.NOT_SIGNED_IN,
        )
