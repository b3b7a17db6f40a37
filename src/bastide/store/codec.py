"""Objects to and from what a column holds: JSON documents and microseconds since the epoch."""

from datetime import UTC, datetime, timedelta
from typing import Any, Generic, TypeVar

import msgspec

from bastide.domain.ids import Sid

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_TICK = timedelta(microseconds=1)
T = TypeVar("T")


def micros(moment: datetime) -> int:
    """Microseconds since the epoch. Raises ValueError for a time without a zone: nobody knows which moment that is."""
    if moment.tzinfo is None:
        raise ValueError("a time without a zone cannot be stored")
    return (moment - _EPOCH) // _TICK


def moment(value: int) -> datetime:
    """The time `value` microseconds after the epoch, in UTC."""
    return _EPOCH + timedelta(microseconds=value)


class Document(Generic[T]):
    """Encodes and decodes one type. A field that a newer version added and gave a default may be missing in an old document."""

    def __init__(self, kind: type[T]) -> None:
        self._encoder = msgspec.json.Encoder(enc_hook=_encode)
        self._decoder = msgspec.json.Decoder(kind, dec_hook=_decode)

    def dump(self, value: T) -> str:
        """As JSON text."""
        return self._encoder.encode(value).decode()

    def load(self, text: str, **kept_elsewhere: object) -> T:
        """From JSON text, with the fields that have columns of their own. Raises msgspec.ValidationError if it was not written by `dump`."""
        loaded = self._decoder.decode(text)
        for name, value in kept_elsewhere.items():
            # Nobody else has seen it yet. `dataclasses.replace` would build it a second time, for each row of a batch.
            object.__setattr__(loaded, name, value)
        return loaded


def _encode(value: Any) -> Any:
    if isinstance(value, str):
        return str.__str__(value)
    raise NotImplementedError(f"{type(value).__name__} has no JSON form")


def _decode(kind: type[Any], value: Any) -> Any:
    if kind is Sid and isinstance(value, str):
        return Sid(value)
    if kind is object:  # settings of others: any JSON
        return value
    raise NotImplementedError(f"{kind.__name__} cannot be read from JSON")
