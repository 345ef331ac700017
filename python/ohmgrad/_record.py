"""Settings as frozen dataclasses: checked kinds of values, a repr that evaluates back, JSON and back."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import MISSING, Field, dataclass, fields, is_dataclass
from numbers import Real
from operator import index
from typing import Any, Generic, TypeVar

C = TypeVar("C")
T = TypeVar("T")


def as_float(name: str, value: object) -> float:
    """``value`` as a Python float; TypeError naming the field unless it is a real number (no bool, no string)."""
    if type(value) is float:
        return value
    if isinstance(value, bool) or not isinstance(value, Real):
        raise TypeError(f"{name} must be a number, got {value!r}")
    try:
        return float(value)
    except OverflowError:
        raise ValueError(f"{name} must be finite, got an integer beyond the range of floats") from None


def as_rate(name: str, value: object) -> float:
    """``value`` as a Python float >= 0 that float32 can hold; ValueError or TypeError naming the field otherwise."""
    rate = as_float(name, value)
    if not 0 <= rate < 2.0**128:
        raise ValueError(f"{name} must be >= 0 and finite in float32, got {value!r}")
    return rate


def as_int(name: str, value: object) -> int:
    """``value`` as a Python int; TypeError naming the field unless it is a whole number (no bool, no float)."""
    if isinstance(value, bool) or not hasattr(value, "__index__"):
        raise TypeError(f"{name} must be an integer, got {value!r}")
    return index(value)


def as_bool(name: str, value: object) -> bool:
    """``value`` as a Python bool; TypeError naming the field unless it is True or False (NumPy's included)."""
    if isinstance(value, bool) or type(value).__name__ == "bool":
        return bool(value)
    raise TypeError(f"{name} must be True or False, got {value!r}")


def as_str(name: str, value: object) -> str:
    """``value`` if it is a string; TypeError naming the field otherwise."""
    if not isinstance(value, str):
        raise TypeError(f"{name} must be a string, got {value!r}")
    return str(value)


def as_floats(name: str, value: object) -> tuple[float, ...]:
    """``value`` (a sequence or 1-D array of numbers) as a tuple of floats; TypeError naming the field otherwise."""
    if isinstance(value, (str, bytes)) or not hasattr(value, "__iter__"):
        raise TypeError(f"{name} must be a sequence of numbers, got {value!r}")
    return tuple(as_float(f"{name}[{i}]", v) for i, v in enumerate(value))


def nearest(name: object, known: Iterable[str]) -> str:
    """``"; did you mean 'SoftBounds'?"`` for the known name that is closest to a misspelt one, or nothing.

    >>> nearest("soft_bound", ["SoftBounds", "PowStep"])
    "; did you mean 'SoftBounds'?"
    """
    from difflib import get_close_matches

    plain = {other.lower().replace("_", ""): other for other in known}
    found = get_close_matches(str(name).lower().replace("_", "").replace("-", ""), plain, 1)
    return f"; did you mean {plain[found[0]]!r}?" if found else ""


def as_texts(name: str, value: object) -> tuple[str, ...]:
    """``value`` (a sequence of strings) as a tuple; TypeError naming the field otherwise."""
    if isinstance(value, str) or not isinstance(value, Iterable):
        raise TypeError(f"{name} must be a sequence of strings, got {value!r}")
    return tuple(as_str(f"{name}[{i}]", v) for i, v in enumerate(value))


_KINDS: dict[str, Callable[[str, object], object]] = {
    "float": as_float,
    "int": as_int,
    "bool": as_bool,
    "str": as_str,
    "tuple[float, ...]": as_floats,
    "tuple[str, ...]": as_texts,
}
_RECORDS: dict[str, type] = {}


def _kind(field: Field[Any]) -> Callable[[str, object], object] | None:
    annotation = field.type if isinstance(field.type, str) else getattr(field.type, "__name__", "")
    if annotation not in _KINDS:
        if annotation.startswith("Literal"):
            return as_str
        if (kind := _records(annotation)) is None:
            return None
        _KINDS[annotation] = kind
    return _KINDS[annotation]


def _records(annotation: str) -> Callable[[str, object], object] | None:
    """The check of ``A``, ``A | None`` or ``tuple[A | B, ...]``, where ``A`` and ``B`` are settings."""
    plain = annotation.removesuffix(" | None")
    many = plain.startswith("tuple[") and plain.endswith(", ...]")
    names = (plain[len("tuple[") : -len(", ...]")] if many else plain).split(" | ")
    if not all(name in _RECORDS for name in names):
        return None
    allowed = names if plain == annotation else [*names, "None"]
    kinds = tuple(type(None) if name == "None" else _RECORDS[name] for name in allowed)

    some = f"{'an' if allowed[0][0] in 'AEIO' else 'a'} {' or '.join(allowed)}"

    def one(name: str, value: object) -> object:
        if not isinstance(value, kinds):
            raise TypeError(f"{name} must be {some}, got {value!r}")
        return value

    def all_of(name: str, value: object) -> object:
        if isinstance(value, str) or not isinstance(value, Iterable):
            raise TypeError(f"{name} must be a sequence, each {some}, got {value!r}")
        return tuple(one(f"{name}[{i}]", v) for i, v in enumerate(value))

    return all_of if many else one


@dataclass(frozen=True, kw_only=True, slots=True, repr=False)
class Record:
    """Base of all settings: numbers become plain Python numbers, and the repr shows what differs from the defaults.

    A subclass is decorated ``@dataclass(frozen=True, kw_only=True, slots=True, repr=False)``. Its fields annotated
    ``float``, ``int``, ``bool``, ``str``, ``Literal`` (of strings), ``tuple[float, ...]`` or ``tuple[str, ...]`` are
    converted; those of other settings, ``A``, ``A | None`` or ``tuple[A | B, ...]``, are checked; a TypeError names the
    field of a value that is none. A field with ``init=False`` is derived from the others: it is set after these, and is
    no setting.
    """

    def __init_subclass__(cls) -> None:
        # Called again for the class that `slots=True` makes of it, which is the one that counts.
        if cls.__module__.startswith(__package__):
            _RECORDS[cls.__name__] = cls

    def __post_init__(self) -> None:
        for field in fields(self):
            kind = _kind(field)
            if kind is not None and field.init:
                object.__setattr__(self, field.name, kind(field.name, getattr(self, field.name)))

    def __repr__(self) -> str:
        shown = ((f, getattr(self, f.name)) for f in fields(self) if f.init)
        parts = [f"{'' if not f.kw_only else f.name + '='}{v!r}" for f, v in shown if _differs(f, v)]
        return f"{type(self).__name__}({', '.join(parts)})"

    def describe(self) -> dict[str, Any]:
        """All fields by name, tuples as lists, records as mappings: what the compiled core and JSON take."""
        return {f.name: _plain(getattr(self, f.name)) for f in fields(self) if f.init}


def _differs(field: Field[Any], value: object) -> bool:
    return field.default is MISSING or bool(value != field.default)


def _plain(value: object) -> object:
    if isinstance(value, Record):
        return value.describe()
    return [_plain(v) for v in value] if isinstance(value, tuple) else value


class Registry(Generic[T]):
    """Dataclasses by name: a checkpoint stores the name and the fields, never an import path.

    ``kind`` is the word for a member in error messages; fields of a member may be other members, or settings that
    ``inner`` decodes.
    """

    def __init__(self, kind: str, inner: Registry[Any] | None = None) -> None:
        self.kind = kind
        self._inner = inner
        self._classes: dict[str, type[T]] = {}

    def register(self, cls: type[C]) -> type[C]:
        """Add a dataclass under its class name (usable as a decorator); ValueError if another holds the name."""
        if not is_dataclass(cls):
            raise TypeError(f"a {self.kind} must be a dataclass, got {cls!r}")
        holder = self._classes.get(cls.__name__)
        if holder is not None and (holder.__module__, holder.__qualname__) != (cls.__module__, cls.__qualname__):
            raise ValueError(f"{self.kind} name {cls.__name__!r} is already taken by {holder.__module__}")
        self._classes[cls.__name__] = cls  # type: ignore[assignment]
        return cls

    def names(self) -> list[str]:
        """The registered names in order."""
        return sorted(self._classes)

    def __getitem__(self, name: str) -> type[T]:
        """The class of a name; ValueError naming the known ones for another name."""
        if name not in self._classes:
            raise ValueError(self._unknown(name))
        return self._classes[name]

    def encode(self, value: T) -> dict[str, Any]:
        """``{"type": name, field: value, ...}`` with JSON values only; ValueError if the class is not registered."""
        if self._classes.get(type(value).__name__) is not type(value):
            raise ValueError(f"{self._unknown(type(value).__name__)}; register the class before saving it")
        items = {f.name: getattr(value, f.name) for f in fields(value) if f.init}  # type: ignore[arg-type]
        return {"type": type(value).__name__} | {name: self._encode_field(v) for name, v in items.items()}

    def decode(self, config: Mapping[str, Any]) -> T:
        """The object that :meth:`encode` described; ValueError naming an unknown name or an unknown field."""
        rest = dict(config)
        name = rest.pop("type", None)
        cls = self._classes.get(name) if isinstance(name, str) else None
        if cls is None:
            raise ValueError(self._unknown(name))
        allowed = [f.name for f in fields(cls) if f.init]  # type: ignore[arg-type]
        unknown = sorted(set(rest) - set(allowed))
        if unknown:
            hint = nearest(unknown[0], allowed)
            raise ValueError(f"{name} has no field {unknown[0]!r}; its fields are {', '.join(allowed)}{hint}")
        return cls(**{field: self._decode_field(v) for field, v in rest.items()})

    def _of(self, name: object) -> Registry[Any]:
        return self if name in self._classes or self._inner is None else self._inner

    def _unknown(self, name: object) -> str:
        return f"unknown {self.kind} {name!r}; known: {', '.join(self.names())}{nearest(name, self.names())}"

    def _encode_field(self, value: object) -> object:
        if is_dataclass(value):
            return self._of(type(value).__name__).encode(value)
        if isinstance(value, tuple):
            return [self._encode_field(v) for v in value]
        return value

    def _decode_field(self, value: object) -> object:
        if isinstance(value, Mapping):
            return self._of(value.get("type")).decode(value)
        if isinstance(value, Sequence) and not isinstance(value, str):
            return tuple(self._decode_field(v) for v in value)
        return value


settings: Registry[Record] = Registry("setting")
