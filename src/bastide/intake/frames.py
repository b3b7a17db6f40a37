"""Lines out of a stream: framed by octet counting (RFC 5425, 4.3), or each ended by a line feed, as forwarders do it. One connection keeps to one of the two."""

from bastide.domain.observed_lines import LINE_LIMIT

#: Digits of a length.
_DIGITS = 6


class BadFrameError(ValueError):
    """What comes cannot be told apart into lines: the connection has to end."""


class Frames:
    """Takes pieces and gives whole lines. Holds at most one unfinished line."""

    def __init__(self) -> None:
        self._rest = b""
        self._counted: bool | None = None

    def feed(self, piece: bytes) -> list[bytes]:
        """The lines that are whole now. Raises BadFrameError."""
        self._rest += piece
        if self._counted is None and self._rest:
            self._counted = self._rest[:1].isdigit()
        found = []
        while (line := self._counted_line() if self._counted else self._ended_line()) is not None:
            if line:
                found.append(line)
        return found

    def _counted_line(self) -> bytes | None:
        digits, blank, rest = self._rest.partition(b" ")
        if not blank:
            if len(digits) > _DIGITS or (digits and not digits.isdigit()):
                raise BadFrameError("a length was expected")
            return None
        if not digits.isdigit() or len(digits) > _DIGITS or int(digits) > LINE_LIMIT:
            raise BadFrameError("a length was expected, or it is longer than a line may be")
        length = int(digits)
        if len(rest) < length:
            return None
        self._rest = rest[length:]
        return rest[:length].strip()

    def _ended_line(self) -> bytes | None:
        line, ended, rest = self._rest.partition(b"\n")
        if len(line) > LINE_LIMIT:
            raise BadFrameError("a line is longer than one may be")
        if not ended:
            return None
        self._rest = rest
        return line.strip()
