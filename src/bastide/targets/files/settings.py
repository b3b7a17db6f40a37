"""What an agent of a file says, whatever its format."""

import codecs
from typing import Annotated

from msgspec import Meta

from bastide.domain.credentials import denied
from bastide.domain.errors import InvalidInput
from bastide.targets.hashing import Scheme
from bastide.targets.kinds import Settings

Name = Annotated[str, Meta(min_length=1, max_length=128)]
FilePath = Annotated[str, Meta(max_length=4096, pattern=r"^/[^\x00]*[^/\x00]\Z")]
EXPORT_PASSWORD = "export_password"  # noqa: S105  # the name of an attribute
DN = "dn"


class Export(Settings, frozen=True, kw_only=True):
    """Where passwords go: a file of the same format, with one record for each account that has had one. `attributes` go along."""

    path: FilePath
    scheme: Scheme = Scheme.ARGON2ID
    attributes: tuple[Name, ...] = ()
    #: What the hash is called.
    attribute: Name = EXPORT_PASSWORD


class FileSettings(Settings, frozen=True, kw_only=True):
    """A file. `anchor` and `dn` name attributes; an empty `dn` is the anchor. `attributes`: what is imported; empty: all but `secret`."""

    path: FilePath
    anchor: Name
    dn: str = ""
    type: Name = "user"
    attributes: tuple[Name, ...] = ()
    #: Attributes that are never imported, beside those that domain/credentials.py knows.
    secret: tuple[Name, ...] = ()
    #: A byte order mark in the file says otherwise, and is believed.
    encoding: str = "utf-8"
    row_limit: Annotated[int, Meta(ge=1)] = 1_000_000
    #: Longest record, in characters.
    size_limit: Annotated[int, Meta(ge=1)] = 65_536

    def __post_init__(self) -> None:
        try:
            known = codecs.lookup(self.encoding)
        except (LookupError, ValueError):
            known = None
        # There are codecs that are no encodings of text: "zip", "hex".
        if known is None or not getattr(known, "_is_text_encoding", True):
            raise InvalidInput("settings.encoding", f"{self.encoding[:40]!r} is no encoding")
        if named := [name for name in (self.anchor, self.dn, *self.attributes) if self.hides(name)]:
            raise InvalidInput("settings.attributes", f"{named[0]} holds passwords and is never imported")

    def hides(self, name: str) -> bool:
        """Whether an attribute is not imported. It may have options after a semicolon: userPassword;lang-en is one too."""
        secret = {name.casefold() for name in self.secret}
        return denied(name) or name.casefold().partition(";")[0] in secret

    @property
    def written(self) -> Export | None:
        """The export, for formats that have one."""
        export = getattr(self, "export", None)
        return export if isinstance(export, Export) else None


class WithExport(FileSettings, frozen=True, kw_only=True):
    """Formats whose export needs nothing more."""

    export: Export | None = None

    def __post_init__(self) -> None:
        FileSettings.__post_init__(self)
        check_export(self)


def check_export(settings: FileSettings) -> None:
    """Raises InvalidInput."""
    export = settings.written
    if export is None:
        return
    if export.path == settings.path:
        raise InvalidInput("settings.export.path", "is the file that is read")
    names = [name.casefold() for name in (settings.anchor, *export.attributes, export.attribute)]
    if len(set(names)) != len(names):
        raise InvalidInput("settings.export.attributes", "names one twice")
