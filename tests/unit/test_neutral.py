"""What others chose is words in a message, and nothing else: no line, no markup, no mention, no link."""

import re
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bastide.domain.neutral import neutral

HOSTILE = [
    "<b>bold</b> <script>alert(1)</script>",
    "[click](https://evil.example/?a=1&b=2)",
    "![pixel](http://evil.example/p.png)",
    "@everyone @here <!channel> <@U123> <users/all>",
    "*bold* _under_ ~gone~ `code` ||spoiler|| > quote # head",
    "https://evil.example www.evil.example evil.example bob@evil.example mailto:bob@evil.example javascript:alert(1)",
    r"\\evil\share //evil/share file:///etc/passwd tel:+41",
    "line one\r\nBcc: all@evil.example\r\n\r\nSecond body",
    "\u202egnp.exe\u202c \u2066x\u2069 zero\u200bwidth\ufeff \x00\x1b[31mred",
    "\uff1cscript\uff1e \uff20everyone \ufe64b\ufe65 evil\uff0eexample evil\u3002example evil\uff61example",
    "a" + "\u0301" * 200,
    "&lt;b&gt; &#60; $person ${link} {0} %s",
]
#: What programs make something of.
MARKUP = set("<>&*_~`|#[]{}^$=@")


@pytest.mark.parametrize("text", HOSTILE)
def test_nothing_is_left_that_a_program_could_take_for_more_than_words(text: str) -> None:
    shown = neutral(text, 400)
    assert not MARKUP & set(shown)
    assert not re.search(r"\w\.[^\W\d]|[^\W\d]:\S|//|\\\\|\n|\r|\u3002", shown)
    assert not any(unicodedata.category(c).startswith(("C", "Zl", "Zp")) for c in shown)


def test_a_person_reads_it_as_before() -> None:
    assert neutral("Größe prüfen: 3.5 GB, 12:30 Uhr, CORP\\alice (INC-4711)", 100) == (
        "Größe prüfen: 3.5 GB, 12:30 Uhr, CORP\\alice (INC-4711)"
    )
    assert neutral("svc_backup", 100) == "svc\uff3fbackup"
    assert neutral("bob@corp.com", 100) == "bob\uff20corp\uff0ecom"
    assert neutral("3.11 v2 10.0.0.1 end. (etc.), a.", 100) == "3.11 v2 10.0.0.1 end. (etc.), a."
    assert neutral("https://corp.com", 100) == "https\uff1a/\uff0fcorp\uff0ecom"


def test_lines_become_one() -> None:
    assert neutral(" one \r\n\t two\u2028three ", 100) == "one two three"


def test_a_letter_keeps_two_marks() -> None:
    marks = [c for c in neutral("x" + "\u0336" * 50, 100) if unicodedata.category(c) == "Mn"]
    assert len(marks) == 2


def test_what_is_too_long_is_cut_and_says_so() -> None:
    assert neutral("word " * 100, 12) == "word word w\u2026"
    assert neutral("x" * 12, 12) == "x" * 12


@given(st.text(max_size=300), st.integers(1, 100))
def test_whatever_comes_it_holds(text: str, limit: int) -> None:
    shown = neutral(text, limit)
    assert len(shown) <= limit
    assert not MARKUP & set(shown)
    assert not re.search(r"//|\\\\|[\r\n]", shown)
    assert not re.search(r"(?<=[^\W\d]):\S", shown)


@pytest.mark.parametrize(
    "name", ["www.4evil.example", "www.-evil.example", "www._x.evil.example", "ftp.1.example"]
)
def test_a_name_of_a_host_has_no_dot_left_whatever_follows_it(name: str) -> None:
    """Outlook makes a link of all that begins with `www.`, and a browser reads the wide dots in it as dots."""
    assert "." not in neutral(name, 100)
