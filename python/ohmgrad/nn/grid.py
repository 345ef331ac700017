"""A matrix on one tile, or on a grid of tiles whose partial sums are added digitally."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import reduce
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .. import _core
from ..devices import Cell, Device
from ..tile import Array, Tile

Floats = NDArray[np.float32]
Part = tuple[Tile, Floats, Floats, float]
"""A tile, inputs, errors and a learning rate."""


class Grid:
    """Tiles that act as one matrix ``[d_out, d_in]``: ``tiles[row][column]`` holds a block of its rows and columns.

    Partial sums are added in float32, forward from the left to the right, backward from the top to the bottom. With
    `one` the last column belongs to an input that is always 1 and comes by itself: vectors ``x`` leave it out.

    **Raises:** `ValueError` for tiles whose shapes do not fit together.
    """

    def __init__(self, tiles: Sequence[Sequence[Tile]], one: bool) -> None:
        self.tiles = tuple(map(tuple, tiles))
        self.heights = [row[0].d_out for row in self.tiles]
        self.widths = [tile.d_in for tile in self.tiles[0]]
        self.one = one
        for row, height in zip(self.tiles, self.heights, strict=True):
            if [(tile.d_out, tile.d_in) for tile in row] != [(height, width) for width in self.widths]:
                raise ValueError(f"tiles: the shapes {[(tile.d_out, tile.d_in) for tile in row]} do not fit in a grid")
        self.d_out, self.d_in = sum(self.heights), sum(self.widths)
        self._all = {f"{r}-{c}": tile for r, row in enumerate(self.tiles) for c, tile in enumerate(row)}
        self.single = len(self._all) == 1
        """Whether this is one tile."""
        tile = self.tiles[0][0]
        self.alone = tile if self.single and not one and tile._step is None else None
        """The tile, if it is a single one whose inputs and updates need nothing from Python."""

    def take(self, x: Floats) -> list[Floats]:
        """The vectors `x`, ``[batch, d_in]``, as :meth:`forward` and :meth:`update` want them."""
        return [x] if self.single and not self.one else _core.column_blocks("x", x, self.widths, self.one)

    def _errors(self, d: NDArray[Any]) -> list[Floats]:
        return [d] if len(self.heights) == 1 else _core.column_blocks("d", d, self.heights, False)

    def forward(self, blocks: Sequence[Floats], training: bool, noise: bool) -> Floats:
        """The product ``W x``, ``[batch, d_out]``; `training` and `noise` as in :meth:`ohmgrad.Tile.forward`."""
        # A tile alone is the usual case, and sums of one part cost as much as a small product.
        if self.single:
            return self.tiles[0][0].forward(blocks[0], training, noise)
        return _side_by_side(
            [
                reduce(np.add, [t.forward(x, training, noise) for t, x in zip(row, blocks, strict=True)])
                for row in self.tiles
            ]
        )

    def backward(self, d: Floats) -> Floats:
        """The product ``W^T d``, ``[batch, d_in]``, without the input that is always 1."""
        if self.single:
            g = self.tiles[0][0].backward(d)
        else:
            errors = self._errors(d)
            columns = zip(*self.tiles, strict=True)
            g = _side_by_side(
                [reduce(np.add, [t.backward(d) for t, d in zip(column, errors, strict=True)]) for column in columns]
            )
        return np.ascontiguousarray(g[:, :-1]) if self.one else g

    def parts(self, blocks: Sequence[Floats], d: Floats, lr: float) -> list[Part]:
        """What every tile gets of a mini-batch, for :func:`train`."""
        if self.single:
            return [(self.tiles[0][0], blocks[0], d, lr)]
        return [
            (tile, x, d, lr)
            for row, d in zip(self.tiles, self._errors(d), strict=True)
            for tile, x in zip(row, blocks, strict=True)
        ]

    @property
    def weights(self) -> Floats:
        """A copy of the whole matrix ``[d_out, d_in]``, in tile units."""
        return np.concatenate([_side_by_side([tile.weights for tile in row]) for row in self.tiles])

    def set_weights(self, w: Floats) -> int:
        """Set the whole matrix, ``[d_out, d_in]``, finite; returns how many cells their bounds gave another weight."""
        lost = 0
        for row, rows in zip(self.tiles, np.split(w, np.cumsum(self.heights)[:-1]), strict=True):
            for tile, wanted in zip(row, np.split(rows, np.cumsum(self.widths)[:-1], axis=1), strict=True):
                tile.set_weights(wanted)
                name, factor = tile.carrier
                matrix = tile.arrays[name]
                held = np.float32(factor) * (matrix.persistent_weights if isinstance(matrix, Array) else matrix.weights)
                # A quotient, a product, and weight plus reference and back are rounded.
                lost += int((np.abs(held - wanted) > 2.0**-20 * (1 + np.abs(wanted))).sum())
        return lost

    def state_dict(self) -> dict[str, NDArray[Any]]:
        """The states of the tiles: ``tile.*`` of a single one, ``tile.0-1.*`` of the one in row 0 and column 1."""
        return {self._prefix(at) + key: v for at, tile in self._all.items() for key, v in tile.state_dict().items()}

    def load_state_dict(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Take a state as given by :meth:`state_dict`; `ValueError` naming what does not fit, changing nothing."""
        parts: dict[str, dict[str, NDArray[Any]]] = {at: {} for at in self._all}
        for key, value in state.items():
            at = "0-0" if self.single else key.split(".")[1]
            if at not in parts:
                raise ValueError(f"state: {key!r} belongs to no tile of this grid; these are {', '.join(parts)}")
            parts[at][key.removeprefix(self._prefix(at))] = value
        before = [] if self.single else [tile.state_dict() for tile in self._all.values()]
        try:
            for at, tile in self._all.items():
                tile.load_state_dict(parts[at])
        except BaseException:
            for tile, own in zip(self._all.values(), before, strict=False):
                tile.load_state_dict(own)
            raise

    def _prefix(self, at: str) -> str:
        return "tile." if self.single else f"tile.{at}."

    def config(self) -> dict[str, Any]:
        """JSON-able settings: the `tile`, or the `tiles` row by row."""
        rows = [[tile.config() for tile in row] for row in self.tiles]
        return {"tile": rows[0][0]} if self.single else {"tiles": rows}

    @classmethod
    def from_config(cls, config: Mapping[str, Any], one: bool) -> Grid:
        """Build a grid from what :meth:`config` gave; its weights are not set."""
        rows = config["tiles"] if "tiles" in config else [[config["tile"]]]
        return cls([[Tile.from_config(tile) for tile in row] for row in rows], one)


def train(parts: Sequence[Part]) -> None:
    """The updates of several tiles, side by side, and the end of their mini-batch; what one refuses changes none."""
    # An algorithm with a step of its own goes on in Python.
    if all(tile._step is None for tile, *_ in parts):
        return _core.train([(tile._core, x, d, lr) for tile, x, d, lr in parts])
    for tile, x, d, lr in parts:
        tile._core.check_update(x, d, lr)
    for tile, x, d, lr in parts:
        tile.update(x, d, lr)
        tile.end_batch()


def grid(
    make: Callable[..., Tile], d_out: int, d_in: int, limits: tuple[int, int], path: str, one: bool, **settings: Any
) -> Grid:
    """A grid of tiles no larger than `limits` (rows, columns; 0: any size) and as equal as can be.

    `make` builds a tile from its shape, `settings` and its name: `path`, or ``path/row-column`` if there are several.
    A device's ``perfect_bias`` is for the input that is always 1 (`one`): tiles without that column do without it.
    """
    heights, widths = _parts(d_out, limits[0]), _parts(d_in, limits[1])
    single = len(heights) == len(widths) == 1
    plain = settings | ({"device": _without_perfect_bias(settings["device"])} if "device" in settings else {})
    last = len(widths) - 1
    rows = [
        [
            make(height, width, **settings if one and c == last else plain, name=path if single else f"{path}/{r}-{c}")
            for c, width in enumerate(widths)
        ]
        for r, height in enumerate(heights)
    ]
    return Grid(rows, one)


def _parts(size: int, limit: int) -> list[int]:
    parts = -(-size // limit) if limit else 1
    base, more = divmod(size, parts)
    return [base + (at < more) for at in range(parts)]


def _without_perfect_bias(device: Any) -> Any:
    if isinstance(device, Mapping):
        return {array: _without_perfect_bias(cells) for array, cells in device.items()}
    if isinstance(device, Cell):
        return replace(device, devices=tuple(map(_without_perfect_bias, device.devices)))
    return replace(device, perfect_bias=False) if isinstance(device, Device) and device.perfect_bias else device


def _side_by_side(blocks: Sequence[Floats]) -> Floats:
    return blocks[0] if len(blocks) == 1 else np.concatenate(blocks, axis=1)
