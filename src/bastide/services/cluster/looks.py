"""Collects what the checks judge: one look each at the directory, a keytab, DNS. Nothing is changed."""

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import replace
from datetime import datetime

from bastide.domain.cluster import Alias
from bastide.domain.errors import Conflict, DirectoryDenied, StoreUnavailable
from bastide.domain.health import Finding, Severity
from bastide.services.cluster import checks
from bastide.services.cluster.ports import AliasDirectory, Certificate, Holders, Holding, KeyFile, Names


class AliasRefused(Conflict):
    """Something is in the way. `findings` are all that was seen; the message is the first error."""

    def __init__(self, findings: tuple[Finding, ...]) -> None:
        first = next(one for one in findings if one.severity.is_error)
        super().__init__(first.text, remedy=first.remedy)
        self.findings = findings


def require(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    """All of them. Raises AliasRefused if one is an error."""
    found = tuple(findings)
    if any(one.severity.is_error for one in found):
        raise AliasRefused(found)
    return found


def before_creating(
    directory: AliasDirectory, alias: Alias, place: str, keys: KeyFile
) -> tuple[tuple[Finding, ...], Holding | None]:
    """Everything that can stop `create`, and the account that would be taken over."""
    found = directory.find(alias)
    said = [*checks.name(alias, found)]
    if found is None:
        said += checks.place(directory.place(place), directory.quota(), directory.caller(), directory.domain)
    said += checks.spns(alias, holders(directory, alias), found.dn if found else "")
    said += key_place(alias, keys)
    return tuple(said), found


def key_place(alias: Alias, keys: KeyFile) -> Iterator[Finding]:
    """Whether the key file can be written, and holds nothing of the alias yet."""
    try:
        keys.check_place()
        old = [key.version for key in keys.read() if key.principal in alias.principals]
    except (StoreUnavailable, DirectoryDenied) as error:
        yield checks.wrong("cluster.keytab-place", error.message, error.remedy)
        return
    if old:
        yield checks.wrong(
            "cluster.keytab-place",
            f"{keys.path} has keys of {alias.fqdn} already, of an account that this would replace",
            "move the file away, or name another with --keytab; a node's own keytab gets the keys by `bastide cluster join`",
            f"versions {', '.join(map(str, sorted(set(old))))}",
        )
        return
    yield checks.ok("cluster.keytab-place", f"{keys.path} can be written")


def holders(directory: AliasDirectory, alias: Alias) -> Mapping[str, Holders]:
    return {spn: directory.holders(spn) for spn in alias.spns}


def in_directory(
    directory: AliasDirectory, alias: Alias, now: datetime
) -> tuple[tuple[Finding, ...], Holding | None]:
    """The account, its names in the forest, and its key on every controller."""
    found = directory.find(alias)
    said = [*checks.account(alias, found, now)]
    if found is not None:
        said += checks.spns(alias, holders(directory, alias), found.dn)
        said += checks.controllers(directory.versions(found.dn))
    return tuple(said), found


def keytabs(alias: Alias, files: Collection[KeyFile], version: int) -> Iterator[Finding]:
    """Each keytab against the directory."""
    for file in files:
        try:
            yield from checks.keytab(alias, file.path, file.read(), version)
        except DirectoryDenied as error:
            yield checks.wrong("cluster.keytab", error.message, error.remedy)


def of_node(alias: Alias, names: Names, shown: Certificate | None, now: datetime) -> Iterator[Finding]:
    """What a node and its clients see: DNS, and the certificate."""
    full = _addresses(names, alias.fqdn)
    short = _addresses(names, alias.name)
    found = full if isinstance(full, frozenset) else frozenset()
    canonical = names.canonical(alias.fqdn) if found else ""
    yield from checks.dns(
        alias, full, short, canonical, {address: _back(names, address) for address in found}
    )
    if shown is None:
        yield Finding(
            "cluster.certificate",
            Severity.SKIPPED,
            "no certificate was looked at",
            remedy="name the node's with --certificate, or set server.certificate in bastide.toml",
        )
    else:
        yield from checks.certificate(alias, shown, now)


def ahead(alias: Alias, names: Names, shown: Certificate | None, now: datetime) -> tuple[Finding, ...]:
    """The same before there is an account: what would keep a node from joining is in nobody's way yet."""
    return tuple(
        replace(one, severity=Severity.WARNING) if one.severity.is_error else one
        for one in of_node(alias, names, shown, now)
    )


def _addresses(names: Names, name: str) -> frozenset[str] | str:
    try:
        return names.addresses(name)
    except OSError as error:
        return str(error)


def _back(names: Names, address: str) -> str:
    """Empty: the address has no name, which hurts nobody."""
    try:
        return names.name_of(address)
    except OSError:
        return ""
