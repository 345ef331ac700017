"""From a digital model to tiles and back: weights, what a cell can hold, and cells of one's own."""

import numpy as np

import ohmgrad as og

train, test = og.data.digits()
targets = np.eye(10)[train.y]

# A digital model: least squares in NumPy.
digital = np.linalg.lstsq(train.x.T @ train.x + 0.1 * np.eye(64), train.x.T @ targets, rcond=None)[0].T


def accuracy(scores: np.ndarray) -> float:
    return float(np.mean(scores.argmax(1) == test.y))


print(f"digital                   {accuracy(test.x @ digital.T):.1%}")

# Onto a tile. Every cell has bounds of its own, and what it cannot hold is clipped.
device = og.devices.SoftBounds(w_max=0.3, w_min=-0.3, w_max_dtod=0.4, w_min_dtod=0.4, dw_min=0.002)
tile = og.Tile(10, 64, device=device, algorithm=og.ResidualLearning(fast_lr=0.1), seed=0)
tile.set_weights(digital)
cells = tile.arrays["slow"].parameters
realised = np.clip(digital.astype(np.float32), cells["w_min"], cells["w_max"])
assert np.array_equal(tile.weights, realised)
clipped = np.mean(realised != digital.astype(np.float32))
print(f"analog, {clipped:6.1%} clipped   {accuracy(tile.forward(test.x, training=False)):.1%}")

# Cells of one's own: all that can be read can be set. Here a tenth of the cells is stuck at zero.
stuck = np.random.default_rng(0).random((10, 64)) < 0.1
for array in tile.arrays.values():
    for name in "w_max", "w_min":
        array.parameters[name] = np.where(stuck, 0, array.parameters[name])
assert not tile.weights[stuck].any()
print(f"with stuck cells          {accuracy(tile.forward(test.x, training=False)):.1%}")

# Training around them, and back to digital.
for rows in np.array_split(np.random.default_rng(1).permutation(len(train)), 144):
    error = (tile.forward(train.x[rows]) - targets[rows]) / len(rows)
    tile.update(train.x[rows], error, lr=0.05)
    tile.end_batch()
back = tile.weights
assert not back[stuck].any()
print(f"trained, back in NumPy    {accuracy(test.x @ back.T):.1%}")
