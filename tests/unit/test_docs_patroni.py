"""docs/operations/postgresql-patroni.md shows what the lab runs, but for what only the lab does."""

import re
from pathlib import Path

from bastide.wiring.database import database_url
from bastide_lab.cluster import Databases, patroni
from bastide_lab.plan import Site
from tests.unit.test_database_url import config

PAGE = (Path(__file__).parents[2] / "docs" / "operations" / "postgresql-patroni.md").read_text()
#: Of a lab, whose data is thrown away; a page names a folder that the distribution has already.
ONLY_IN_THE_LAB = {'fsync: "off"', "shared_buffers: 64MB", "unix_socket_directories: .", "- no-sync"}
#: Seconds: until the lab's cluster is whole it goes quicker, and is then set to what the page says.
VALUES = {
    "ttl": patroni.TTL, "loop_wait": patroni.LOOP_WAIT, "retry": patroni.RETRY, "user": patroni.USER,
    "replication": patroni.REPLICATION, "rewind": patroni.REWIND, "port": patroni.PORT, "rest": patroni.REST_PORT,
}  # fmt: skip
#: Values that are each host's own, or secret.
OWN = re.compile(r"\{\w+\}\S*|/\S+|10\.51\.\S+|db1\S*|\"\.\.\.\"|\[\"db1.*\]")


def block(kind: str) -> str:
    """The first one of that language on the page."""
    found = re.search(rf"```{kind}\n(.*?)```", PAGE, re.DOTALL)
    assert found is not None, kind
    return found[1]


def lines(text: str) -> list[str]:
    """Without comments, with a dot for what differs from host to host. A list may stand in one line or in several."""
    plain = [re.sub(r"\s+# .*", "", line).rstrip() for line in text.splitlines()]
    flat: list[str] = []
    for line in filter(None, plain):
        name, bracket, rest = line.partition(": [")
        if bracket and "initdb" in name:
            flat += [f"{name}:", *(f"- {part}" for part in re.split(r",\s*", rest.rstrip("]")))]
        else:
            flat.append(line)
    return [OWN.sub(".", line).strip() for line in flat]


def test_the_page_shows_what_the_lab_runs() -> None:
    settings = patroni.SETTINGS
    for name, value in VALUES.items():
        settings = settings.replace(f"{{{name}}}", str(value))
    ran = lines(settings.replace('"{replication_password}"', '"..."').replace('"{rewind_password}"', '"..."')
                .replace("[{etcd}]", "{etcd}").replace("{{", "{").replace("}}", "}"))  # fmt: skip
    assert [line for line in ran if line not in ONLY_IN_THE_LAB] == lines(block("yaml"))


def test_the_url_on_the_page_is_that_of_the_lab_and_takes_a_password(tmp_path: Path) -> None:
    shown = re.search(r'url = "(.*?)"', block("toml"))
    assert shown is not None
    mine = Databases(Site("docs", tmp_path)).url
    options = re.compile(r"sslrootcert=.*")
    assert options.sub("", shown[1].partition("?")[2]) == options.sub("", mine.partition("?")[2])
    secret = tmp_path / "password"
    secret.write_text("x")
    assert "bastide:x@db1" in database_url(config(shown[1], str(secret)))
