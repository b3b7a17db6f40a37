"""tools/install.py names Debian's backports to apt. What it makes of the sources of machines as they are found in the wild."""

from pathlib import Path

import pytest
from tools import install
from tools.install import InstallError, Source, add_backports, deb822_sources, mirror, one_line_sources

SUITE = "bookworm-backports"
DEBIAN = Source("http://deb.debian.org/debian", ("bookworm",), ("main",))
CD = "cdrom:[Debian GNU/Linux 12.0.0 _Bookworm_ - Official amd64 NETINST with firmware 20230610-10:21]/"


# ---------------------------------------------------------------------------------------------------- sources.list, *.list


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("deb http://deb.debian.org/debian bookworm main", DEBIAN),
        ("  deb\thttp://deb.debian.org/debian\tbookworm  main  # the mirror", DEBIAN),
        (
            "deb http://deb.debian.org/debian bookworm main contrib non-free-firmware",
            Source("http://deb.debian.org/debian", ("bookworm",), ("main", "contrib", "non-free-firmware")),
        ),
        (
            "deb [arch=amd64 signed-by=/usr/share/keyrings/a.gpg] https://m.test/debian bookworm main",
            Source("https://m.test/debian", ("bookworm",), ("main",), "/usr/share/keyrings/a.gpg"),
        ),
        (
            "deb [ signed-by=/a.gpg,/b.gpg trusted=yes ] https://m.test/debian bookworm main",
            Source("https://m.test/debian", ("bookworm",), ("main",), "/a.gpg /b.gpg", "yes"),
        ),
        ("deb [trusted=yes]file:/srv/apt ./", Source("file:/srv/apt", ("./",), (), "", "yes")),
        (f"deb {CD} bookworm main", Source(CD, ("bookworm",), ("main",))),
    ],
)
def test_a_line_is_a_source(line: str, expected: Source) -> None:
    assert list(one_line_sources(line)) == [expected]


@pytest.mark.parametrize(
    "line",
    [
        "",
        "# deb http://deb.debian.org/debian bookworm main",
        "#deb http://deb.debian.org/debian bookworm main",
        "deb-src http://deb.debian.org/debian bookworm main",
        "rpm http://deb.debian.org/debian bookworm main",
        "deb",
        "deb http://deb.debian.org/debian",
        "deb http://deb.debian.org/debian # bookworm main",
        "deb [signed-by=/a.gpg",
    ],
)
def test_a_line_that_is_none_is_passed_over(line: str) -> None:
    assert list(one_line_sources(line)) == []


def test_lines_stay_in_order() -> None:
    text = "deb http://one.test/debian bookworm main\r\n\ndeb http://two.test/debian bookworm-updates main\n"
    assert [(s.uri, s.suites) for s in one_line_sources(text)] == [
        ("http://one.test/debian", ("bookworm",)),
        ("http://two.test/debian", ("bookworm-updates",)),
    ]


# ------------------------------------------------------------------------------------------------------------- *.sources

#: As in Debian's container images and on cloud machines.
STANZAS = """\
# See deb822-style sources in sources.list(5)
Types: deb deb-src
URIs: http://deb.debian.org/debian
# a comment between fields
Suites: bookworm bookworm-updates
Components: main contrib
Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg

Types: deb
URIs: http://deb.debian.org/debian-security
Suites: bookworm-security
Components: main
Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg
"""
KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg"


def test_stanzas_are_sources() -> None:
    assert list(deb822_sources(STANZAS)) == [
        Source(
            "http://deb.debian.org/debian", ("bookworm", "bookworm-updates"), ("main", "contrib"), KEYRING
        ),
        Source("http://deb.debian.org/debian-security", ("bookworm-security",), ("main",), KEYRING),
    ]


def test_each_uri_is_a_source_and_values_go_on_in_indented_lines() -> None:
    text = "types: deb\nuris: https://a.test/debian\n https://b.test/debian\nSUITES:\n bookworm\n trixie\nComponents: main\n"
    assert list(deb822_sources(text)) == [
        Source(uri, ("bookworm", "trixie"), ("main",))
        for uri in ("https://a.test/debian", "https://b.test/debian")
    ]


def test_a_key_may_stand_in_the_stanza_and_a_line_of_spaces_ends_one() -> None:
    key = "-----BEGIN PGP PUBLIC KEY BLOCK-----\n .\n mDMEY\n -----END PGP PUBLIC KEY BLOCK-----"
    first = (
        f"Types: deb\nURIs: https://a.test/debian\nSuites: bookworm\nComponents: main\nSigned-By:\n {key}\n"
    )
    second = "Types: deb\nURIs: https://b.test/debian\nSuites: ./\nTrusted: yes\n"
    assert list(deb822_sources(f"{first}  \n{second}")) == [
        Source("https://a.test/debian", ("bookworm",), ("main",), f"\n {key}"),
        Source("https://b.test/debian", ("./",), (), "", "yes"),
    ]


@pytest.mark.parametrize("value", ["no", "No", "false", "off", "0"])
def test_a_stanza_that_is_switched_off_is_none(value: str) -> None:
    text = f"Enabled: {value}\nTypes: deb\nURIs: https://a.test/debian\nSuites: bookworm\nComponents: main\n"
    assert list(deb822_sources(text)) == []
    assert list(deb822_sources(text.replace(value, "yes"))) != []


@pytest.mark.parametrize(
    "text", ["", "\n\n", "# nothing\n", " indented first\n", "Types: deb-src\nURIs: x\n", "no field\n"]
)
def test_what_is_no_stanza_is_passed_over(text: str) -> None:
    assert list(deb822_sources(text)) == []


# -------------------------------------------------------------------------------------------------------------- backports


def test_the_mirror_is_the_one_of_debian() -> None:
    """Other archives name their suites after Debian's; a CD has no backports."""
    other = Source("https://apt.vendor.test/x", ("bookworm",), ("main",), "/usr/share/keyrings/vendor.gpg")
    disc = Source(CD, ("bookworm",), ("main",))
    proxy = Source("https://nexus.test/apt-proxy", ("bookworm",), ("main",))
    updates = Source("https://nexus.test/apt-proxy", ("bookworm-updates",), ("main",))
    assert mirror([other, DEBIAN], "bookworm") is DEBIAN
    assert mirror([disc, other, proxy, updates], "bookworm") is proxy
    assert mirror([other], "bookworm") is other, "an archive inside a company may be called anything"
    assert mirror([disc, Source("http://deb.debian.org/debian", ("trixie",), ("main",))], "bookworm") is None


@pytest.fixture
def apt(tmp_path: Path) -> Path:
    (tmp_path / "sources.list.d").mkdir()
    return tmp_path


def added(apt: Path) -> str:
    file = apt / "sources.list.d" / install.BACKPORTS_FILE
    return file.read_text() if file.exists() else ""


def test_backports_come_from_the_same_mirror_with_the_same_key(apt: Path) -> None:
    (apt / "sources.list.d" / "debian.sources").write_text(STANZAS)
    (apt / "sources.list.d" / "vendor.list").write_text("deb https://apt.vendor.test/x bookworm main\n")
    add_backports(SUITE, apt)
    assert added(apt) == (
        f"Types: deb\nURIs: http://deb.debian.org/debian\nSuites: {SUITE}\nComponents: main\nSigned-By: {KEYRING}\n"
    )
    assert list(deb822_sources(added(apt))) == [
        Source("http://deb.debian.org/debian", (SUITE,), ("main",), KEYRING)
    ]


def test_trust_without_a_key_is_kept(apt: Path) -> None:
    (apt / "sources.list").write_text("deb [trusted=yes] file:/srv/debian bookworm main\n")
    add_backports(SUITE, apt)
    assert "Trusted: yes\n" in added(apt)


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("sources.list", f"deb http://deb.debian.org/debian {SUITE} main\n"),
        ("sources.list.d/x.list", f"deb\thttp://deb.debian.org/debian {SUITE} main\n"),
        ("sources.list.d/x.sources", f"Types: deb\nURIs: http://x.test\nSuites: bookworm {SUITE}\n"),
    ],
)
def test_backports_that_are_known_are_left_alone(apt: Path, file: str, text: str) -> None:
    (apt / file).write_text(text)
    add_backports(SUITE, apt)
    assert not added(apt)


@pytest.mark.parametrize("text", ["", f"deb {CD} bookworm main\n", f"# deb http://x.test {SUITE} main\n"])
def test_without_a_mirror_the_person_is_asked(apt: Path, text: str) -> None:
    (apt / "sources.list").write_text(text)
    with pytest.raises(InstallError, match="no apt source names the suite bookworm of Debian"):
        add_backports(SUITE, apt)
    assert not added(apt)


@pytest.mark.parametrize(
    ("text", "expected"),
    [("2:4.22.6+dfsg-1~bpo12+1", (4, 22)), ("2:4.22~rc1+dfsg-1", (4, 22)), ("4.9", (4, 9)), ("15+248", None)],
)
def test_versions(text: str, expected: tuple[int, int] | None) -> None:
    if expected is None:
        with pytest.raises(InstallError, match="cannot be read"):
            install.version(text)
    else:
        assert install.version(text) == expected
