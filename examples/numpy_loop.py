"""A training loop of one's own: two crossbars trained with Tiki-Taka, everything around them in plain NumPy."""

import numpy as np

import ohmgrad as og

train, test = og.data.digits()
device = og.devices.SoftBounds(w_max=0.6, w_min=-0.6, dw_min=0.005, dw_min_std=0.3, dw_min_dtod=0.3)
analog = {"device": device, "algorithm": og.TikiTaka(fast_lr=0.02, gamma=0.4), "io": og.IO.kit(), "seed": 0}
hidden = og.Tile(32, 65, name="hidden", **analog)  # the last column is the bias
output = og.Tile(10, 33, name="output", **analog)

rng = np.random.default_rng(0)
for tile in hidden, output:
    tile.set_weights(rng.uniform(-1, 1, (tile.d_out, tile.d_in)) / np.sqrt(tile.d_in))


def with_one(x: np.ndarray) -> np.ndarray:
    return np.pad(x, ((0, 0), (0, 1)), constant_values=1.0)


def layers(x: np.ndarray, training: bool) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    x = with_one(x)
    h = with_one(np.tanh(hidden.forward(x, training)))
    return x, h, output.forward(h, training)


for _ in range(8):
    for rows in np.array_split(rng.permutation(len(train)), len(train) // 10):
        x, h, logits = layers(train.x[rows], training=True)
        p = np.exp(logits - logits.max(1, keepdims=True))
        d = (p / p.sum(1, keepdims=True) - np.eye(10)[train.y[rows]]) / len(rows)
        d_hidden = (output.backward(d) * (1 - h**2))[:, :-1]
        for tile, inputs, errors in ((output, h, d), (hidden, x, d_hidden)):
            tile.update(inputs, errors, lr=0.2)
            tile.end_batch()

accuracy = np.mean(layers(test.x, training=False)[2].argmax(1) == test.y)
print(f"test accuracy {accuracy:.1%}")
