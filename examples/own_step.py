"""A mini-batch in Python: its gradient is sent as a few strongest products instead of one product per vector."""

from dataclasses import dataclass

import numpy as np

import ohmgrad as og
from ohmgrad.algorithms import algorithms


@algorithms.register
@dataclass(frozen=True, kw_only=True, repr=False)
class LowRank(og.AnalogSGD):
    """W <- W - lr sum_r s_r u_r v_r^T: values and vectors of the gradient's singular value decomposition."""

    rank: int = 3

    def step(self, tile, x, d, lr):
        """Instead of `tile.follow_plan(x, d, lr)`: fewer, longer pulse trains, of the same product."""
        u, s, v = np.linalg.svd(d.T @ x, full_matrices=False)
        rank = min(self.rank, int(np.count_nonzero(s)))
        if rank:
            size = np.sqrt(s[:rank, None])
            tile.follow_plan(size * v[:rank], size * u.T[:rank], lr)


if __name__ == "__main__":
    train, test = og.data.digits()
    device = og.devices.ConstantStep(dw_min=0.002, dw_min_std=0.3)
    network = og.nn.Sequential(og.nn.Linear(64, 32), og.nn.Tanh(), og.nn.Linear(32, 10))
    for algorithm in og.AnalogSGD(), LowRank(rank=3), LowRank(rank=1):
        model = network.on(device, algorithm=algorithm, io=og.IO.kit(), count_pulses=True)
        history = og.fit(model, train, test, epochs=5, batch_size=10, lr=0.1, progress=False)
        counts = [layer.tile.arrays["weight"].pulse_counts for layer in (model[0], model[2])]
        pulses = sum(int(up.sum() + down.sum()) for up, down in counts)
        print(f"{algorithm!s:<16} {history['test_accuracy'][-1]:.1%}, {pulses:,} pulses")
