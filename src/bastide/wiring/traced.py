"""Ports and use cases with a tracer around them. Without a trace a call costs one look at a variable more."""

from collections.abc import Callable, Mapping
from dataclasses import fields, is_dataclass, replace
from types import TracebackType
from typing import Any, TypeVar, cast

from bastide.services.tracing import Tracer, ids_of

T = TypeVar("T")


class _Around:
    """Stands for an object, in everything but the calls of its methods."""

    __slots__ = ("_traced_as", "_traced_by", "_traced_inner")
    _traced_as: str
    _traced_by: Tracer
    _traced_inner: Any

    def __init__(self, inner: object, name: str, tracer: Tracer) -> None:
        object.__setattr__(self, "_traced_inner", inner)
        object.__setattr__(self, "_traced_as", name)
        object.__setattr__(self, "_traced_by", tracer)

    def __setattr__(self, name: str, value: object) -> None:
        setattr(self._traced_inner, name, value)

    def __delattr__(self, name: str) -> None:
        delattr(self._traced_inner, name)

    @property  # type: ignore[misc]  # isinstance reads it
    def __class__(self) -> type:
        return type(self._traced_inner)

    def __repr__(self) -> str:
        return repr(self._traced_inner)


class _Port(_Around):
    """Its calls are steps of what is under way."""

    __slots__ = ()

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._traced_inner, name)
        if not Tracer.under_way() or name.startswith("_") or not callable(found):
            return found
        return _measured(found, self._traced_by.step, f"{self._traced_as}.{name}")


class _Subject(_Around):
    """Its calls are operations."""

    __slots__ = ()

    def __getattr__(self, name: str) -> Any:
        found, tracer, operation = getattr(self._traced_inner, name), self._traced_by, self._traced_as
        if not tracer.watches(operation) or name.startswith("_") or not callable(found):
            return found

        def call(*arguments: Any, **named: Any) -> Any:
            with tracer.operation(operation, f"{operation}.{name}", ids_of(found, arguments, named)):
                return found(*arguments, **named)

        return call


class _Span:
    """A context manager, measured from entering to leaving."""

    def __init__(self, inner: Any, step: Any) -> None:
        self._inner = inner
        self._step = step

    def __enter__(self) -> Any:
        self._step.__enter__()
        try:
            return self._inner.__enter__()
        except BaseException as error:
            self._step.__exit__(type(error), error, error.__traceback__)
            raise

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> Any:
        try:
            swallowed = self._inner.__exit__(kind, error, trace)
        except BaseException as late:  # the block may have been fine, and its end was not
            self._step.__exit__(type(late), late, late.__traceback__)
            raise
        self._step.__exit__(kind, error, trace)
        return swallowed


def _measured(call: Callable[..., Any], step: Callable[..., Any], name: str) -> Callable[..., Any]:
    """A call that gives a context manager (a transaction, a connection) is measured over its whole block."""

    def measured(*arguments: Any, **named: Any) -> Any:
        subject = ids_of(call, arguments, named)
        if _gives_block(name):
            return _Span(call(*arguments, **named), step(name, subject))
        with step(name, subject):
            return call(*arguments, **named)

    return measured


def _gives_block(name: str) -> bool:
    return name in {"store.write", "store.read", "systems.target"}


def port(inner: T, name: str, tracer: Tracer) -> T:
    """The same to everybody who uses it."""
    return cast("T", _Port(inner, name, tracer))


def subject(inner: T, operation: str, tracer: Tracer) -> T:
    """The same to everybody who uses it."""
    return cast("T", _Subject(inner, operation, tracer))


def all_subjects(services: T, operations: Mapping[str, str], tracer: Tracer) -> T:
    """A dataclass of use cases with the tracer around each: field to operation. A dataclass among them has it around each of its own."""
    made: dict[str, object] = {}
    for field in fields(cast("Any", services)):
        inner, operation = getattr(services, field.name), operations.get(field.name)
        if operation is None or inner is None:
            continue
        if is_dataclass(inner):
            names = {one.name: operation for one in fields(inner) if _has_calls(getattr(inner, one.name))}
            made[field.name] = all_subjects(inner, names, tracer)
        else:
            made[field.name] = subject(inner, operation, tracer)
    return cast("T", replace(cast("Any", services), **made))


def _has_calls(inner: object) -> bool:
    return type(inner).__module__.startswith("bastide.services.")
