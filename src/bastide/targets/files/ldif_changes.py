"""What change records of LDIF (RFC 2849, section "LDIF change record") make of the objects they name. Pure: no file is touched."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from ldap.dn import dn2str, str2dn

from bastide.targets.files.ldif_records import Block, Line
from bastide.targets.files.records import Record, bad


@dataclass(slots=True)
class Entry:
    """An object while changes are made to it. Names of attributes count without case; the first spelling is kept."""

    dn: str
    attributes: dict[str, tuple[str, list[str]]] = field(default_factory=dict)

    def __repr__(self) -> str:
        return f"Entry({self.dn})"

    def add(self, name: str, value: str) -> None:
        """One more value; the same again changes nothing."""
        values = self.attributes.setdefault(name.casefold(), (name, []))[1]
        if value not in values:
            values.append(value)

    def drop(self, name: str, value: str) -> None:
        """One value less; one that is not there changes nothing."""
        key = name.casefold()
        if key in self.attributes and value in self.attributes[key][1]:
            self.attributes[key][1].remove(value)
            if not self.attributes[key][1]:
                del self.attributes[key]

    def record(self, line: int) -> Record:
        """As an import takes it."""
        return Record(line, dict(self.attributes.values()), self.dn)


def entry_of(record: Record) -> Entry:
    """An object of the base file."""
    entry = Entry(record.dn)
    for name, values in record.values.items():
        for value in values:
            entry.add(name, value)
    return entry


def key_of(dn: str, line: int) -> str:
    """A DN for comparison: without case, and without the blanks that mean nothing. Raises BadSource."""
    return str(dn2str(_parts(dn, line))).casefold()


def names_of(block: Block) -> Iterator[str]:
    """The keys of the objects that a change is about: what it was called, and what it is called now. Raises BadSource."""
    yield key_of(block.dn, block.start)
    if _type(block) in {"modrdn", "moddn"}:
        yield key_of(_renamed(block), block.start)


def apply(block: Block, entries: dict[str, Entry]) -> tuple[str, Entry | None]:
    """Changes `entries`, by key; tells the entry that the change was about, and its key before. Raises BadSource."""
    kind, key = _type(block), key_of(block.dn, block.start)
    if kind == "add":
        if key in entries:
            raise bad(block.start, "adds an object that is there already")
        entry = Entry(block.dn)
        for line in block.lines[2:]:
            entry.add(line.name, line.value)
        entries[key] = entry
        return key, entry
    if key not in entries:
        raise bad(block.start, "changes an object that is not there")
    if kind == "delete":
        return key, entries.pop(key)
    if kind == "modify":
        _modify(block, entries[key])
        return key, entries[key]
    entry = entries.pop(key)
    _rename(block, entry)
    entries[key_of(entry.dn, block.start)] = entry
    return key, entry


def is_delete(block: Block) -> bool:
    """Whether the object is gone after it."""
    return _type(block) == "delete"


def _type(block: Block) -> str:
    found = block.lines[1] if len(block.lines) > 1 else None
    if found is not None and found.name.casefold() == "control":
        raise bad(found.number, "has a control, which is not understood")
    kind = found.value.strip().casefold() if found and found.name.casefold() == "changetype" else ""
    if kind not in {"add", "delete", "modify", "modrdn", "moddn"}:
        raise bad(block.start, "begins a record that tells no change (changetype) that is known")
    return kind


def _modify(block: Block, entry: Entry) -> None:
    for part in _split(block.lines[2:]):
        verb, name = part[0].name.casefold(), part[0].value.strip()
        if any(line.name.casefold() != name.casefold() for line in part[1:]):
            raise bad(part[0].number, "begins a part of a change that names two attributes")
        values = [line.value for line in part[1:]]
        if verb == "replace" or (verb == "delete" and not values):
            entry.attributes.pop(name.casefold(), None)
        if verb in {"add", "replace"}:
            for value in values:
                entry.add(name, value)
        elif verb == "delete":
            for value in values:
                entry.drop(name, value)
        else:
            raise bad(part[0].number, "is no add, delete or replace")


def _split(lines: Sequence[Line]) -> Iterator[list[Line]]:
    part: list[Line] = []
    for line in lines:
        if line.name:
            part.append(line)
        elif part:
            yield part
            part = []
    if part:
        yield part


def _renamed(block: Block) -> str:
    """The new DN. Raises BadSource."""
    fields = _fields(block)
    old = _parts(block.dn, block.start)
    new = _parts(fields.get("newrdn", ""), block.start)
    if not old or len(new) != 1:
        raise bad(block.start, "renames an object without a newrdn")
    above = _parts(fields["newsuperior"], block.start) if "newsuperior" in fields else old[1:]
    return str(dn2str(new + above))


def _rename(block: Block, entry: Entry) -> None:
    fields = _fields(block)
    if fields.get("deleteoldrdn", "1").strip() == "1":
        for name, value, _ in _parts(block.dn, block.start)[0]:
            entry.drop(name, value)
    for name, value, _ in _parts(fields["newrdn"], block.start)[0]:
        entry.add(name, value)
    entry.dn = _renamed(block)


def _fields(block: Block) -> dict[str, str]:
    return {line.name.casefold(): line.value for line in block.lines[2:]}


def _parts(dn: str, line: int) -> list[list[tuple[str, str, int]]]:
    # ldap.DECODING_ERROR comes from C and is in no tree that is worth importing for it.
    try:
        return list(str2dn(dn))
    except Exception as error:
        if type(error).__module__ != "ldap":
            raise
        raise bad(line, "has a DN that is none") from None
