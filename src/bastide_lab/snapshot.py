"""What a lab keeps between two lives: the stopped forests, their certificates and their passwords.

A snapshot is keyed by the recipe (the source of the modules that decide what is in it) and Samba's version: whoever
changes the recipe provisions anew, everybody else starts in seconds. It holds secrets and is readable by root only.
"""

import hashlib
import os
import shutil
from collections.abc import Iterable
from pathlib import Path

from bastide_lab.plan import CACHE_ROOT, Host, Site
from bastide_lab.process import run

RECIPE = (
    "plan.py",
    "scene.py",
    "samba_side.py",
    "controller.py",
    "samba_conf.py",
    "capture.py",
    "tls.py",
    "passwords.py",
    "snapshot.py",
    "lab.py",
)
BASE = "base"
SECOND_DC = "second-dc"
KEPT = 4


def key() -> str:
    """The name under which the present recipe's snapshots lie."""
    digest = hashlib.sha256(run(["/usr/sbin/samba", "--version"]).encode())
    for name in RECIPE:
        digest.update((Path(__file__).parent / name).read_bytes())
    return digest.hexdigest()[:16]


def directory(kind: str, recipe: str, cache_root: Path = CACHE_ROOT) -> Path:
    return cache_root / f"{recipe}-{kind}"


def save(site: Site, hosts: Iterable[Host], target: Path) -> None:
    """Copy the stopped hosts. A snapshot appears whole or not at all."""
    target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    partial = target.with_suffix(f".{os.getpid()}")
    partial.mkdir(mode=0o700)
    try:
        for host in hosts:
            _copy(site.data(host), partial / host.name)
        _copy(site.tls, partial / "tls")
        _copy(site.secrets, partial / "secrets.json")
        partial.rename(target)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    _prune(target.parent)


def restore(site: Site, hosts: Iterable[Host], source: Path) -> None:
    """The way back. Extended attributes come along: the shares' NT ACLs are in them."""
    os.utime(source)  # `_prune` drops what has lain unused for longest
    for host in hosts:
        site.directory(host).mkdir(parents=True, exist_ok=True)
        _copy(source / host.name, site.data(host))
    _copy(source / "tls", site.tls)
    _copy(source / "secrets.json", site.secrets)


def _copy(source: Path, target: Path) -> None:
    run(["cp", "--archive", "--reflink=auto", "--no-target-directory", source, target])


def _prune(cache: Path) -> None:
    """Drop the oldest snapshots of other recipes, and what a killed `save` has left."""
    snapshots = sorted(cache.iterdir(), key=lambda path: path.stat().st_mtime, reverse=True)
    for old in snapshots[KEPT:]:
        shutil.rmtree(old, ignore_errors=True)
