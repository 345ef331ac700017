"""Where Analog SGD settles: not at the optimum, but between it and the symmetric point, as theory predicts."""

import numpy as np

import ohmgrad as og

optimum, sigma, rate = 0.4, 0.5, 0.02
device = og.devices.LinearResponse(tau=1.0, c=-0.2, dw_min=0.001)
predicted = og.theory.stationary_point(device, lambda w: w - optimum, sigma)

# 500 cells, each with a parabola and gradient noise of its own: a mini-batch of 500 vectors, one per row of the tile.
cells = 500
tile = og.Tile(cells, 1, device=device, seed=0)
rng = np.random.default_rng(0)
mean = []
for _ in range(1500):
    gradient = tile.weights[:, 0] - optimum + sigma * rng.standard_normal(cells)
    tile.update([1.0], gradient, lr=rate)
    mean.append(tile.weights.mean())

print(f"optimum          {optimum:.3f}")
print(f"symmetric point  {device.symmetric_point:.3f}")
print(f"predicted        {predicted:.3f}")
print(f"simulated        {np.mean(mean[500:]):.3f}")
