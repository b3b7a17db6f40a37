"""A receipt as a file: what `bastide break-glass open` wrote where nothing else was up. Whoever has the file can change it, so it is only believed where it
says more than the directory.
"""

import re
from typing import Literal

import msgspec

from bastide.domain.break_glass import MOST_CUSTODIANS, NUMBERS, REASON_LIMIT, Receipt
from bastide.domain.errors import InvalidInput
from bastide.domain.ids import NAME_LIMIT, parse_id, parse_name, parse_text

LARGEST = 16 * 1024
_KIND: Literal["bastide-break-glass-receipt"] = "bastide-break-glass-receipt"
_HOW = re.compile(r"shown|ticket")


class _Kept(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What stands in the file."""

    kind: Literal["bastide-break-glass-receipt"]
    format: Literal[1]
    receipt: Receipt


def to_text(receipt: Receipt) -> str:
    return msgspec.json.format(msgspec.json.encode(_Kept(_KIND, 1, receipt)), indent=1).decode() + "\n"


def from_text(text: bytes) -> Receipt:
    """Raises InvalidInput."""
    try:
        receipt = msgspec.json.decode(text[:LARGEST], type=_Kept).receipt
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise InvalidInput(
            "receipt", f"it is no receipt of `bastide break-glass open`: {error}", remedy="name another file"
        ) from None
    parse_id("receipt", receipt.id)
    for text_of in (receipt.account, receipt.by, receipt.host):
        parse_name("receipt", text_of[: NAME_LIMIT + 1])
    parse_text("receipt", receipt.reason, REASON_LIMIT)
    places_fit = all(0 <= one < MOST_CUSTODIANS for one in receipt.shares)
    if not (0 <= receipt.number < NUMBERS and places_fit and len(receipt.shares) <= MOST_CUSTODIANS):
        raise InvalidInput("receipt", "its numbers are none of an envelope's")
    if receipt.opened_at.tzinfo is None or not _HOW.fullmatch(receipt.how):
        raise InvalidInput("receipt", "it does not say when or how the envelope was opened")
    return receipt
