"""Schedules of the learning rate: a step, and any function of the epoch; and an end when nothing improves any more."""

import math

import ohmgrad as og

train, validation, test = og.data.digits(validation=True)
device = og.devices.SoftBounds(w_max=0.6, w_min=-0.6, dw_min=0.005, dw_min_std=0.3)
network = og.nn.Sequential(og.nn.Linear(64, 32), og.nn.Tanh(), og.nn.Linear(32, 10))
epochs = 8


def cosine(epoch: int) -> float:
    return 0.1 * (1 + math.cos(math.pi * epoch / epochs))


stop = og.train.EarlyStop(metric="validation_loss", patience=3)
for name, lr in {"constant": 0.2, "step": og.train.StepLR(lr=0.2, step_size=3, gamma=0.3), "cosine": cosine}.items():
    model = network.on(
        device, algorithm=og.ResidualLearning(fast_lr=0.01), io=og.IO.kit(), seed=0, learn_out_scaling=True
    )
    history = og.fit(
        model, train, test, validation=validation, epochs=epochs, batch_size=10, lr=lr, callbacks=[stop], progress=False
    )
    rates = ", ".join(f"{rate:.3g}" for rate in history["lr"])
    print(f"{name:<9} {history['test_accuracy'][-1]:.1%}   (rates: {rates})")
