"""How much of the error is noise of the periphery: the trained weights read out, and used with exact products."""

import numpy as np

import ohmgrad as og

train, test = og.data.digits()
device = og.devices.SoftBounds(w_max=0.6, w_min=-0.6, dw_min=0.005, dw_min_std=0.3)
network = og.nn.Sequential(og.nn.Linear(64, 32), og.nn.Tanh(), og.nn.Linear(32, 10))
model = network.on(
    device, algorithm=og.ResidualLearning(fast_lr=0.01), io=og.IO.kit(out_noise=0.3), seed=0, learn_out_scaling=True
)
og.fit(model, train, epochs=8, batch_size=10, lr=0.1, progress=False)

# Every evaluation draws fresh noise.
noisy = [og.evaluate(model, test)["accuracy"] for _ in range(10)]
print(f"noisy products  {np.mean(noisy):.1%}, from {min(noisy):.1%} to {max(noisy):.1%}")

exact = og.nn.Sequential(og.nn.Linear(64, 32, digital=True), og.nn.Tanh(), og.nn.Linear(32, 10, digital=True)).on()
for layer, trained in zip(exact, model, strict=True):
    if isinstance(layer, og.nn.Linear):
        layer.set_weight(trained.weight)
        layer.set_bias(trained.bias)
print(f"exact products  {og.evaluate(exact, test)['accuracy']:.1%}")
