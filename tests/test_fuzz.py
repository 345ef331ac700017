"""A few seconds of the random calls of ``fuzz.py``; and what must not be is found."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import fuzz
import numpy as np
import pytest

import ohmgrad as og
from ohmgrad.algorithms import TileFacts, algorithms


def found(calls: int) -> str:
    """The findings of so many calls, within 30 seconds."""
    tally, _, findings = fuzz.programs(7, 0, calls, 30, 0, False, lambda number: None)
    assert findings or tally.total() > 0.5 * calls
    return "\n".join(findings.values())


def test_random_calls_find_nothing() -> None:
    assert found(8000) == ""


def test_most_calls_are_done_and_many_are_refused() -> None:
    tally, _, _ = fuzz.programs(8, 0, 3000, 30, 0, False, lambda number: None)
    refused = sum(n for kind, n in tally.items() if kind.endswith(" refused"))
    assert 0.03 < refused / tally.total() < 0.3


def test_all_algorithms_and_what_a_tile_can_do_are_reached() -> None:
    assert {*fuzz.RULES, "AnalogSGD", "DigitalSGD"} == {name for name in algorithms.names() if hasattr(og, name)}
    tally, _, _ = fuzz.programs(9, 0, 8000, 30, 0, False, lambda number: None)
    calls = [f"{name}()" for name in fuzz.RULES] + ["summarise", "model.end_epoch"]
    calls += [f"tile.{name}" for name in ("accumulate", "write", "follow_plan", "zero_shift", "end_epoch", "copy")]
    assert [name for name in calls if not tally[name]] == []


def test_own_plans_say_all_that_can_be_said_and_most_are_taken() -> None:
    """Every field of every noun has more than one value."""
    seen: dict[tuple[str, str], set[str]] = {}

    def note(part: Any) -> None:
        for name, value in ((name, getattr(part, name)) for name in part.__dataclass_fields__):
            seen.setdefault((type(part).__name__, name), set()).add(repr(value))
            for inner in value if isinstance(value, tuple) else [value]:
                if type(inner).__module__ == "ohmgrad.algorithms.base":
                    note(inner)

    taken = 0
    for seed in range(400):
        algorithm = fuzz.Own(seed=seed)
        note(algorithm.plan(TileFacts(d_out=3, d_in=4, stage=seed % 3)))
        try:
            og.Tile(3, 4, algorithm=algorithm)
            taken += 1
        except ValueError:
            continue
    nouns = {name for name, _ in seen}
    assert nouns == {
        "Plan",
        "Term",
        "Rate",
        "Gradient",
        "Transfer",
        "Every",
        "Chopper",
        "Accumulate",
        "Write",
        "Threshold",
    }
    assert [field for field, values in seen.items() if len(values) < 2] == []
    assert taken > 350


def nan_out(f: Callable[..., Any]) -> Callable[..., Any]:
    return lambda self, *args, **named: f(self, *args, **named) * np.float32(np.nan)


def other_error(f: Callable[..., Any]) -> Callable[..., Any]:
    def broken(self: Any, *args: Any, **named: Any) -> Any:
        try:
            return f(self, *args, **named)
        except ValueError as error:
            raise SystemError(str(error)) from error

    return broken


def half_done(f: Callable[..., Any]) -> Callable[..., Any]:
    def broken(self: Any, *args: Any, **named: Any) -> Any:
        try:
            return f(self, *args, **named)
        except (ValueError, TypeError):
            self.end_batch()
            raise

    return broken


def takes_nan(f: Callable[..., Any]) -> Callable[..., Any]:
    def broken(self: Any, w: Any) -> Any:
        try:
            return f(self, w)
        except (ValueError, TypeError):
            return None

    return broken


def loses(f: Callable[..., Any]) -> Callable[..., Any]:
    def broken(self: Any, state: Any) -> Any:
        f(self, state)
        self.end_batch()

    return broken


@pytest.mark.parametrize(
    ("name", "breaks", "words"),
    [
        ("forward", nan_out, "gave"),
        ("update", other_error, "SystemError"),
        ("update", half_done, "changed something"),
        ("set_weights", takes_nan, "not finite"),
        ("load_state_dict", loses, "became"),
    ],
)
def test_what_must_not_be_is_found(
    monkeypatch: pytest.MonkeyPatch, name: str, breaks: Callable[..., Any], words: str
) -> None:
    monkeypatch.setattr(og.Tile, name, breaks(getattr(og.Tile, name)))
    assert words in found(8000)


def test_cells_out_of_bounds_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    state_dict = og.Tile.state_dict

    def moved(self: og.Tile) -> dict[str, Any]:
        return {name: v + np.float32(1e4) if name.endswith(".values") else v for name, v in state_dict(self).items()}

    monkeypatch.setattr(og.Tile, "state_dict", moved)
    assert "out of bounds" in found(8000)


def test_a_finding_is_run_again_by_its_number(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(og.Tile, "forward", nan_out(og.Tile.forward))
    _, number, findings = fuzz.programs(7, 0, 8000, 30, 0, False, lambda number: None)
    again = fuzz.programs(7, number - 1, 1, 30, 0, False, lambda number: None)
    assert again[2] == findings != {}
