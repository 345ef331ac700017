"""Two tiles that share nothing but a seed: the name is part of the key of every random number."""

import numpy as np

import ohmgrad as og

device = og.devices.SoftBounds(dw_min=0.01, dw_min_dtod=0.3, dw_min_std=0.3, w_max_dtod=0.2)
first, second = (og.Tile(8, 16, device=device, io=og.IO.kit(), seed=7, name=name) for name in ("first", "second"))
again = og.Tile(8, 16, device=device, io=og.IO.kit(), seed=7, name="first")


def same_cells(a: og.Tile, b: og.Tile) -> bool:
    mine, other = (tile.arrays["weight"].parameters for tile in (a, b))
    return all(np.array_equal(mine[name], other[name]) for name in mine)


# Using one tile leaves no trace in another: no random number is shared, none is drawn in turn.
x, d = np.ones((4, 16)), np.ones((4, 8))
for _ in range(10):
    second.update(x, d, lr=0.1)
for tile in first, again:
    tile.update(x, d, lr=0.1)

print(f"own names, same cells: {same_cells(first, second)}")
print(f"same name, same cells: {same_cells(first, again)}")
print(f"same name, same weights after training: {np.array_equal(first.weights, again.weights)}")
print(f"same name, same noise: {np.array_equal(first.forward(x), again.forward(x))}")
