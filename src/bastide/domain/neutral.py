"""Text that somebody else chose, made into words that no mail program and no chat takes for more than words.

A justification goes to approvers by mail and chat, whose programs make links, mentions and markup out of what looks like it. Which of them does what
changes with every version, so nothing is left that looks like it, whatever the channel is:

  (1) One line: breaks, control characters and what hides or reorders text are spaces. Letters in disguise are undisguised (NFKC).
  (2) What markup, mentions and links are made of stands in its wide form (U+FF01 to U+FF5E): a person reads it as before, a program does not. The
      dot and the colon only where they could be part of an address.
  (3) At most two marks on a letter: more of them are written over the lines around it.
  (4) No more than so many characters.
"""

import re
import unicodedata

from bastide.domain.ids import UNSEEN

#: From a character to its wide form.
_WIDER = 0xFF01 - ord("!")
_MARKUP = {ord(c): ord(c) + _WIDER for c in "<>&*_~`|#[]{}^$=@"}
#: C: control, format, surrogate, private, unassigned. Zl, Zp: separators of lines and paragraphs.
_HIDDEN = ("C", "Zl", "Zp")
#: And letters and marks that are blank.
_UNSEEN = re.compile(f"[{UNSEEN}]")
_MARKS = "M"
_MARKS_KEPT = 2
#: `corp.com`, `www.4corp.com`, `javascript:x`, `//host`, `\\host`; U+3002 counts as a dot in names of hosts.
_ADDRESSES = re.compile(
    r"(?<=\w)[.\u3002](?=[^\W\d])|(?<=[^\W\d])[.\u3002](?=[^\s.,;:!?)\"'])|(?<=[^\W\d]):(?=\S)|(?<=[/\\])[/\\]"
)
_DOT = chr(ord(".") + _WIDER)
_CUT = "\u2026"


def neutral(text: str, limit: int) -> str:
    """At most `limit` characters of it, as words and nothing else."""
    shown = _visible(unicodedata.normalize("NFKC", text[: 4 * limit]))
    shown = _ADDRESSES.sub(_widened, shown.translate(_MARKUP))
    return shown if len(shown) <= limit else shown[: limit - 1].rstrip() + _CUT


def _visible(text: str) -> str:
    """(1), (3)."""
    kept: list[str] = []
    marks = 0
    for c in text:
        category = unicodedata.category(c)
        marks = marks + 1 if category.startswith(_MARKS) else 0
        if marks <= _MARKS_KEPT:
            kept.append(" " if category.startswith(_HIDDEN) or _UNSEEN.match(c) else c)
    return " ".join("".join(kept).split())


def _widened(found: re.Match[str]) -> str:
    return _DOT if found[0] == "\u3002" else chr(ord(found[0]) + _WIDER)
