"""Real connected systems on the lab's host `targets`: each with TLS from the lab's CA, and a directory of its own there.

They are started when somebody asks, are no part of a snapshot, and go with the lab.
"""

import json
import os
import secrets
import shutil
import signal
import time
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from types import ModuleType

from bastide_lab import tls
from bastide_lab.errors import LabError
from bastide_lab.plan import TARGETS, Site
from bastide_lab.targets import ds389, mariadb, postgres, slapd
from bastide_lab.targets.place import Endpoint, Pair, Place

__all__ = ["KINDS", "Endpoint", "Pair", "start", "stop"]

KINDS: dict[str, ModuleType] = {"slapd": slapd, "389-ds": ds389, "postgres": postgres, "mariadb": mariadb}
#: Ports of the second of a kind are those of the first and this.
STEP = 1000
STOP_LIMIT = 20.0
POLL = 0.02


def start(site: Site, kind: str, name: str, pair: Pair | None) -> Endpoint:
    """Start one, for the first time or again; if it runs, it is left alone. Raises LabError."""
    if kind not in KINDS:
        raise LabError(f"no target is called {kind!r}: it is one of {', '.join(KINDS)}")
    directory = site.directory(TARGETS) / name
    if not directory.exists():
        _lay_out(site, kind, directory, pair)
    place, endpoint = _read(site, directory)
    if not place.processes():
        KINDS[endpoint.kind].start(place, endpoint)
    return endpoint


def stop(site: Site, name: str, *, kill: bool, forget: bool) -> None:
    """Stop one and wait until its processes are gone; `forget` takes its data too."""
    directory = site.directory(TARGETS) / name
    if not directory.exists():
        raise LabError(f"no target is called {name!r} in this lab")
    place, _ = _read(site, directory)
    _end(place, signal.SIGKILL if kill else place.stop_signal)
    if forget:
        shutil.rmtree(directory)


def _lay_out(site: Site, kind: str, directory: Path, pair: Pair | None) -> None:
    """The directory, its certificate and its random password; whole or not at all."""
    others = [json.loads(path.read_text()) for path in directory.parent.glob("*/endpoint.json")]
    module = KINDS[kind]
    taken = [other["port"] for other in others if other["kind"] == kind]
    offset = max(taken) - module.PORT + STEP if taken else 0
    partial = directory.with_suffix(".new")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    certificate = pair or _good_pair(site)
    for source, name in ((certificate.certificate, "server.crt"), (certificate.key, "server.key")):
        shutil.copyfile(source, partial / name)
        (partial / name).chmod(0o600)
        shutil.chown(partial / name, module.USER, module.GROUP)
    shutil.chown(partial, module.USER, module.GROUP)
    endpoint = Endpoint(
        kind=kind,
        host=TARGETS.fqdn,
        port=module.PORT + offset,
        tls_port=(module.TLS_PORT or module.PORT) + offset,
        admin=module.ADMIN,
        base=module.BASE,
        password=secrets.token_urlsafe(18) + "-aA7",
    )
    descriptor = os.open(partial / "endpoint.json", os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as file:
        json.dump(asdict(endpoint), file)
    partial.rename(directory)


def _read(site: Site, directory: Path) -> tuple[Place, Endpoint]:
    endpoint = Endpoint(**json.loads((directory / "endpoint.json").read_text()))
    module = KINDS[endpoint.kind]
    return Place(site, directory, module.USER, module.GROUP, module.STOP_SIGNAL), endpoint


def _good_pair(site: Site) -> Pair:
    if not (site.tls / "targets.crt").exists():
        tls.issue(site.tls, "targets", "server", [TARGETS.fqdn])
    return Pair(site.tls / "targets.crt", site.tls / "targets.key")


def _end(place: Place, number: signal.Signals) -> None:
    """Zombies count: PostgreSQL asks whether the process of its lock file exists, and init may be slow."""
    mine = place.processes()
    leaders = place.leaders()
    deadline = time.monotonic() + STOP_LIMIT
    while living := [pid for pid in mine if Path(f"/proc/{pid}").exists()]:
        if time.monotonic() > deadline:
            raise LabError(f"processes {living} of {place.directory.name} do not end")
        for pid in living if number is signal.SIGKILL else leaders:
            with suppress(ProcessLookupError):
                os.kill(pid, number)
        leaders = []
        time.sleep(POLL)
