"""A few seconds of the random calls of ``fuzz.py``; and what must not be is found."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import fuzz
import numpy as np
import pytest

import ohmgrad as og


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
