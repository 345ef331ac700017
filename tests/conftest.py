"""What several test files share."""

from __future__ import annotations

import signal
from collections.abc import Iterator

import numpy as np
import pytest

import ohmgrad as og
from ohmgrad.nn import Linear, Sequential, Tanh

# In a background job Ctrl-C is ignored, here and in every child process: the tests of Ctrl-C want it back.
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture
def threads() -> Iterator[None]:
    """Puts the number of threads back as it was."""
    before = og.threads()
    yield
    og.threads(before)


@pytest.fixture
def noisy() -> Sequential:
    """A small analog network with spread, cycle noise and noisy products: every random stream is in use."""
    device = og.devices.SoftBounds(
        dw_min=0.01, dw_min_dtod=0.2, dw_min_std=0.3, w_max_dtod=0.1, w_min_dtod=0.1, up_down_dtod=0.01
    )
    return Sequential(Linear(6, 5), Tanh(), Linear(5, 3)).on(
        device,
        algorithm=og.ResidualLearning(fast_lr=0.05),
        io=og.IO.kit(),
        seed=3,
        learn_out_scaling=True,
        weight_scaling_omega=0.5,
    )


@pytest.fixture
def task() -> og.data.Dataset:
    """103 vectors of 6 features in three classes: a number that no batch size divides."""
    rng = np.random.default_rng(0)
    y = rng.integers(0, 3, 103)
    x = 0.3 * rng.standard_normal((103, 6)) + np.eye(6)[y]
    return og.data.arrays(x, y)
