"""A callback of one's own: it watches how many cells sit at their bounds, and ends the training when that is enough."""

import numpy as np

import ohmgrad as og


class Saturation:
    """Shares of cells within a step of their bounds, one number per epoch."""

    def __init__(self, limit: float) -> None:
        self.limit = limit
        self.shares: list[float] = []

    def on_epoch_end(self, epoch: int, history: og.History, model: og.nn.Sequential) -> bool:
        cells = model[0].tile.arrays["weight"]
        low, high = (cells.parameters[name] for name in ("w_min", "w_max"))
        near = (cells.weights < low + cells.granularity) | (cells.weights > high - cells.granularity)
        self.shares.append(float(np.mean(near)))
        print(f"epoch {epoch + 1}: {history['train_accuracy'][-1]:.1%} right, {self.shares[-1]:.1%} at their bounds")
        return self.shares[-1] > self.limit


train, test = og.data.digits()
device = og.devices.ConstantStep(w_max=0.5, w_min=-0.5, dw_min=0.002, w_max_dtod=0.2, w_min_dtod=0.2)
model = og.nn.Sequential(og.nn.Linear(64, 10)).on(device, seed=0)
watch = Saturation(limit=0.1)
history = og.fit(model, train, epochs=50, batch_size=10, lr=0.2, callbacks=[watch], progress=False)
print(f"ended after {history.epochs} epochs")
