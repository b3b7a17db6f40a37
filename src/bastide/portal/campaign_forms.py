"""An access review as a form, and a form as a draft. Pure."""

import re
from collections.abc import Mapping
from datetime import timedelta

from bastide.domain.errors import InvalidInput
from bastide.domain.reviews import LONGEST, LOOKBACK_LONGEST, Every, Verdict
from bastide.domain.roles import length
from bastide.portal import forms
from bastide.portal.admin import lines, seconds
from bastide.services.reviews.campaigns import Draft

_USUAL = Draft(name="", fallback="", silence=Verdict.KEEP)
#: A form that nobody typed into. What silence does is not chosen for anybody.
NEW: Mapping[str, str] = {
    "lasts": length(_USUAL.lasts),
    "remind": length(_USUAL.remind),
    "lookback": length(_USUAL.lookback),
    "unit": "months",
}
_COUNT = re.compile(r"[0-9]{1,4}")


def draft_of(fields: Mapping[str, str]) -> Draft:
    """Raises InvalidInput."""
    return Draft(
        name=fields.get("name", ""),
        roles=lines(fields, "roles"),
        reviewer=fields.get("reviewer", "").strip(),
        fallback=fields.get("fallback", "").strip(),
        silence=_silence(fields),
        opens_at=forms.moment(fields, "opens"),
        lasts=_length(fields, "lasts", "for", LONGEST),
        remind=_length(fields, "remind", "remind", LONGEST),
        lookback=_length(fields, "lookback", "lookback", LOOKBACK_LONGEST),
        every=_every(fields),
    )


def _silence(fields: Mapping[str, str]) -> Verdict:
    try:
        return Verdict(fields.get("silence", ""))
    except ValueError:
        raise InvalidInput(
            "silence", "is not said", remedy="choose what is done where nobody decides: keep or remove"
        ) from None


def _length(fields: Mapping[str, str], field: str, called: str, longest: timedelta) -> timedelta:
    return timedelta(seconds=seconds(fields, field, called, longest))


def _every(fields: Mapping[str, str]) -> Every | None:
    """None: it does not come back."""
    said, unit = fields.get("every", "").strip(), fields.get("unit", "")
    if not said:
        return None
    if _COUNT.fullmatch(said) is None or unit not in {"days", "months"}:
        raise InvalidInput(
            "every",
            "is not how often it comes back",
            remedy="write a whole number, and choose days or months",
        )
    return Every(days=int(said)) if unit == "days" else Every(months=int(said))
