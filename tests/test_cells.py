"""What cells do apart from updates: write noise, decay, drift, reset, programming; and cells of several devices.

First bit for bit against `reference.py`, then the laws: closed forms, routes, refresh, T-DEV-8.
"""

# ruff: noqa: N802

from typing import Any

import numpy as np
import pytest
from tables import AGEING, DEVICES
from test_bits import ANALOG, STOCHASTIC, Both, assert_same, assert_same_state, both, tiki_taka, train, vectors

import ohmgrad as og
from ohmgrad import _core
from ohmgrad.devices import ConstantStep, Drift, OneSided, ReferenceCell, SoftBounds, SoftBoundsReference, Vector

RESET: dict[str, Any] = {"reset": 0.1, "reset_dtod": 0.05, "reset_std": 0.02}
HIDDEN: dict[str, Any] = {"write_noise_std": 1.5}
DRIFTING: dict[str, Any] = {
    "drift": {
        "nu": 0.3, "nu_dtod": 0.2, "nu_std": 0.1, "nu_k": 0.05, "log_g0": -1.0, "g_offset": 0.7, "w_offset": -0.1,
        "wg_ratio": 0.9, "w_noise_std": 0.01, "t_0": 2.0, "reset_tol": 1e-4,
    }
}  # fmt: skip
SOFT, POWER = DEVICES["SoftBounds"], DEVICES["PowStep"]
PLUS = {**SOFT, "w_max": 1.0, "w_min": -0.1, "reference_mean": 0.0, "reference_std": 0.0, "up_down": 0.0}
CELLS: dict[str, dict[str, Any]] = {
    "vector, all": {"model": "Vector", "devices": [SOFT, POWER, SOFT], "gamma_vec": []},
    "vector, shares": {"model": "Vector", "devices": [SOFT, POWER], "gamma_vec": [0.7, -0.2]},
    "vector, one device": {"model": "Vector", "devices": [SOFT], "gamma_vec": [0.5]},
    "vector, fixed": {
        "model": "Vector", "devices": [SOFT, POWER], "gamma_vec": [], "update_policy": "single_fixed",
        "first_update_idx": 1,
    },
    "vector, in turn": {
        "model": "Vector", "devices": [SOFT, POWER, SOFT], "gamma_vec": [1.0, 0.5, 0.25],
        "update_policy": "single_sequential", "first_update_idx": 2,
    },
    "vector, at random": {
        "model": "Vector", "devices": [SOFT, POWER, SOFT], "gamma_vec": [], "update_policy": "single_random",
    },
    "reference": {"model": "ReferenceCell", "devices": [SOFT, POWER]},
    "one-sided": {"model": "OneSided", "devices": [PLUS, PLUS]},
    "one-sided, refreshed": {
        "model": "OneSided", "devices": [{**PLUS, **RESET, "reset": 0.0}, {**PLUS, **HIDDEN}], "refresh_every": 2,
        "refresh_upper_thres": 0.3, "refresh_lower_thres": 0.1,
    },
    "hidden in a vector": {"model": "Vector", "devices": [{**SOFT, **HIDDEN}, POWER], "gamma_vec": []},
}  # fmt: skip
ROWS_IO = {"inp_bound": 1.0, "inp_res": 1 / 126, "out_bound": 2.0, "out_res": 1 / 510, "out_noise": 0.02}


def operate(tiles: Both) -> None:
    """Every operation, with updates in between."""
    core, spec = tiles
    counts = np.arange(-4, 5 * 33 - 4, dtype=np.int32).reshape(5, 33) % 7 - 3
    columns = [0, 3, 32]
    for name, ours, theirs in (
        ("decay", lambda: core.decay(None), spec.decay),
        ("diffuse", lambda: core.diffuse(None), spec.diffuse),
        ("drift", lambda: core.drift(None, 3.5), lambda: spec.drift(3.5)),
        ("reset", lambda: core.reset(None, columns, 0.6), lambda: spec.reset(columns, 0.6)),
        ("drift again", lambda: core.drift(None, 9.0), lambda: spec.drift(9.0)),
        ("reset all", lambda: core.reset(None, [1], 1.0), lambda: spec.reset([1], 1.0)),
        ("pulses", lambda: core.pulse_cells("weight", counts), lambda: spec.pulse_cells("weight", counts)),
        ("end of a mini-batch", core.end_batch, spec.end_batch),
    ):
        ours()
        theirs()
        assert_same(core.weights(), spec.weights(), name)
        train(tiles, calls=1)
    assert_same_state(tiles)


AGED: dict[str, dict[str, Any]] = {
    "ageing": AGEING,
    "reset": {**AGEING, **RESET},
    "write noise": HIDDEN,
    "write noise, not on set": {**HIDDEN, "apply_write_noise_on_set": False},
    "drift": DRIFTING,
    "plain drift": {"drift": {"nu": 0.1}},
    "everything": {**AGEING, **RESET, **HIDDEN, **DRIFTING, "corrupt_devices_prob": 0.2, "perfect_bias": True},
}


@pytest.mark.parametrize("name", ["SoftBounds", "SoftBoundsReference", "PowerResponse", "Tabulated"])
@pytest.mark.parametrize("settings", AGED.values(), ids=AGED)
def test_bits_of_operations(settings: dict[str, Any], name: str) -> None:
    operate(both(device={**DEVICES[name], **settings}, count_pulses=True))


@pytest.mark.parametrize("cell", CELLS.values(), ids=CELLS)
def test_bits_of_cells_of_several_devices(cell: dict[str, Any]) -> None:
    tiles = both(device=cell, count_pulses=True)
    assert_same_state(tiles)
    train(tiles, calls=2, m=5)
    assert_same_state(tiles)
    operate(tiles)


@pytest.mark.parametrize("pulse_type", ["stochastic", "mean_count", "pulsed", "analog_update", "none_with_device"])
@pytest.mark.parametrize("cell", ["vector, shares", "vector, in turn", "one-sided, refreshed", "hidden in a vector"])
def test_bits_of_cells_with_every_kind_of_update(cell: str, pulse_type: str) -> None:
    pulses = {**STOCHASTIC, "pulse_type": pulse_type}
    tiles = both(device=CELLS[cell], pulses=pulses, plan=tiki_taka(2, "vectors", gamma=0.4, pulses=pulses))
    train(tiles, calls=2, m=5)
    train(tiles, calls=1, m=4, lr=-0.05)
    assert_same_state(tiles)


def events(**settings: Any) -> dict[str, Any]:
    """Tiki-Taka whose transfers have these settings."""
    reads, names = settings.pop("reads", 2), settings.pop("names", ["fast", "slow"])
    plan = tiki_taka(settings.pop("every", 2), "vectors", gamma=0.4, reads=reads, names=names)
    return {**plan, "transfers": [{**transfer, **settings} for transfer in plan["transfers"]]}


EVENTS: dict[str, dict[str, Any]] = {
    "rows": events(axis="rows"),
    "all rows": events(axis="rows", reads=0),
    "rows read with input noise": events(axis="rows", io={"inp_noise": 0.02, "out_noise": 0.01}),
    "rows read coarsely": events(axis="rows", io=ROWS_IO),
    "columns at random": events(random=True),
    "rows at random": events(axis="rows", random=True, every=1),
    "columns reset": events(reset_prob=0.5),
    "rows reset": events(axis="rows", reset_prob=1.0),
    "three arrays, rows reset": events(axis="rows", reset_prob=0.5, names=["a", "b", "c"]),
}


@pytest.mark.parametrize("plan", EVENTS.values(), ids=EVENTS)
@pytest.mark.parametrize("settings", [{**RESET}, {**RESET, **HIDDEN}], ids=["plain", "write noise"])
def test_bits_of_events(plan: dict[str, Any], settings: dict[str, Any]) -> None:
    shape = (4, 6)
    devices = [{**DEVICES[name], **settings} for name in ("SoftBounds", "PowStep", "LinearResponse")]
    tiles = both(shape, plan=plan, devices=devices, count_pulses=True)
    for call, m in enumerate((3, 4, 1, 6, 3)):
        x, d = vectors(call, m, shape)
        for tile in tiles:
            tile.update(x, d, 0.05)
    assert_same_state(tiles)


@pytest.mark.parametrize("cell", CELLS.values(), ids=CELLS)
def test_state_of_cells_survives(cell: dict[str, Any]) -> None:
    def tile() -> _core.Tile:
        return both(device=cell, count_pulses=True)[0]

    first, second = tile(), tile()
    x, d = vectors(0, 5, (5, 33))
    first.update(x, d, 0.05)
    first.drift(None, 2.0)
    second.load_state(first.state())
    for each in (first, second):
        each.update(x, d, 0.05)
        each.drift(None, 2.0)
        each.end_batch()
    states = first.state(), second.state()
    assert states[0].keys() == states[1].keys()
    assert all(states[0][name].tobytes() == states[1][name].tobytes() for name in states[0])


def test_state_of_cells_beyond_their_bounds_survives() -> None:
    """Exact updates know no bounds: a tile takes what another one of its kind saved."""
    pulses = {"pulse_type": "none"}
    for plan in (ANALOG, tiki_taka(1, "vectors", pulses=pulses)):
        first, second = (both(plan=plan, pulses=pulses)[0] for _ in range(2))
        x, d = vectors(0, 5, (5, 33))
        first.update(x, d, 30.0)
        assert np.abs(first.weights()).max() > 2
        second.load_state(first.state())
        np.testing.assert_array_equal(second.weights(), first.weights())
    bounded, free = both()[0], both(pulses=pulses)[0]
    free.update(x, d, 30.0)
    with pytest.raises(ValueError, match=r"weight\.values is .*bounds of the cell"):
        bounded.load_state(free.state())


# ---- laws


def standard_errors(values: Any, mean: float) -> float:
    """How many standard errors the mean of `values` is away from `mean`."""
    return float(abs(values.mean() - mean) / (values.std() / np.sqrt(values.size)))


def test_T_DEV_8_write_noise() -> None:
    """Apparent minus persistent has std `write_noise_std dw_min`; what is persistent obeys the pulses alone."""
    noisy = og.Tile(200, 200, device=SoftBounds(dw_min=0.01, write_noise_std=3.0))
    quiet = og.Tile(200, 200, device=SoftBounds(dw_min=0.01))
    x, d = np.full((3, 200), 0.5, np.float32), np.full((3, 200), -0.2, np.float32)
    for tile in (noisy, quiet):
        tile.set_weights(np.full((200, 200), 0.25))
        tile.update(x, d, 0.1)
    array = noisy.arrays["weight"]
    np.testing.assert_array_equal(array.persistent_weights, quiet.weights)
    error = (array.weights - array.persistent_weights).astype(np.float64) / 0.03
    # 40,000 cells: the standard error of a mean is 0.005, that of a standard deviation 0.0035.
    assert abs(error.mean()) < 5 * 0.005
    assert abs(error.std() - 1) < 5 * 0.0035
    assert abs(np.corrcoef(error[0], error[1])[0, 1]) < 5 / np.sqrt(200)


def test_T_DEV_8_reads_of_an_untouched_cell_are_constant() -> None:
    tile = og.Tile(4, 4, device=QUIET_READS)
    tile.set_weights(np.full((4, 4), 0.1))
    before = tile.weights
    x, d = np.array([1.0, 0, 0, 1.0], np.float32), np.array([0, -1.0, 0, 0], np.float32)
    np.testing.assert_array_equal(tile.weights, before)
    tile.update(x, d, 0.01)
    changed = tile.weights != before
    np.testing.assert_array_equal(changed, np.outer(d != 0, x != 0))


QUIET_READS = SoftBounds(dw_min=0.001, write_noise_std=10.0)


def test_write_noise_is_there_only_where_it_can_be() -> None:
    for refused in (lambda: ConstantStep(write_noise_std=1.0), lambda: SoftBounds(write_noise_std=-1.0)):
        with pytest.raises(ValueError, match="write_noise_std"):
            refused()
    tile = og.Tile(2, 2, device=SoftBounds(write_noise_std=5.0, apply_write_noise_on_set=False))
    tile.set_weights([[0.5, 0.25], [0.125, 0.0]])
    np.testing.assert_array_equal(tile.weights, [[0.5, 0.25], [0.125, 0.0]])


def test_persistent_weights_can_be_set_behind_what_is_seen() -> None:
    tile = og.Tile(1, 2, device=SoftBounds(write_noise_std=1.0))
    array = tile.arrays["weight"]
    seen = array.weights
    array.persistent_weights = [[0.5, 2.0]]
    np.testing.assert_array_equal(array.persistent_weights, np.float32([[0.5, 1.0]]))
    np.testing.assert_array_equal(array.weights, seen)


def test_decay_goes_to_the_reset_target() -> None:
    tile = og.Tile(1, 1, device=SoftBounds(lifetime=4.0, reset=0.2))
    tile.set_weights([[0.6]])
    tile.decay()
    np.testing.assert_allclose(tile.weights, 0.2 + 0.4 * 0.75, rtol=1e-6)
    tile.diffuse()
    np.testing.assert_allclose(tile.weights, 0.2 + 0.4 * 0.75, rtol=1e-6)


def test_cells_that_last_are_left_alone() -> None:
    """Without lifetime and diffusion neither a bit nor the write noise changes, whatever the reset target."""
    tile = og.Tile(4, 5, device=SoftBounds(reset=0.1, write_noise_std=3.0, reference_std=0.1))
    tile.set_weights(np.linspace(-0.6, 0.6, 20).reshape(4, 5))
    before = tile.weights, tile.arrays["weight"].persistent_weights
    for change in (tile.decay, tile.diffuse, tile.end_batch):
        change()
        np.testing.assert_array_equal(tile.weights, before[0])
        np.testing.assert_array_equal(tile.arrays["weight"].persistent_weights, before[1])


def test_diffusion_is_a_random_walk() -> None:
    tile = og.Tile(300, 300, device=SoftBounds(diffusion=0.01, w_max=10.0, w_min=-10.0))
    for _ in range(4):
        tile.diffuse()
    w = tile.weights.astype(np.float64)
    assert standard_errors(w, 0.0) < 5
    # The relative standard error of a variance of n normal numbers is sqrt(2 / n).
    assert abs(w.var() / 4e-4 - 1) < 5 * np.sqrt(2 / w.size)


def test_reset_of_columns() -> None:
    tile = og.Tile(200, 20, device=SoftBounds(reset=0.1, reset_std=0.02))
    tile.set_weights(np.full((200, 20), -0.5))
    tile.reset([3, 7])
    w = tile.weights.astype(np.float64)
    assert (np.delete(w, [3, 7], axis=1) == -0.5).all()
    assert standard_errors(w[:, [3, 7]], 0.1) < 5
    assert abs(w[:, [3, 7]].std() / 0.02 - 1) < 5 / np.sqrt(2 * 400)
    tile.set_weights(np.full((200, 20), -0.5))
    tile.reset(prob=0.25)
    share = (tile.weights != -0.5).mean()
    assert abs(share - 0.25) < 5 * np.sqrt(0.25 * 0.75 / 4000)


def test_drift_is_a_power_of_the_time_since_the_last_change() -> None:
    """Drift in two parts is drift in one; a pulse starts the clock of its cell anew; none before `t_0`."""
    device = ConstantStep(dw_min=0.125, drift=Drift(nu=0.5, t_0=2.0))
    tile = og.Tile(1, 2, device=device)
    tile.set_weights([[0.5, 0.5]])
    tile.drift(1.0)
    np.testing.assert_array_equal(tile.weights, np.float32([[0.5, 0.5]]))
    tile.drift(7.0)
    np.testing.assert_allclose(tile.weights, 0.5 * (8 / 2) ** -0.5, rtol=1e-6)
    tile.arrays["weight"].pulse([[0, 2]])
    tile.drift(8.0)
    np.testing.assert_allclose(tile.weights, [[0.5 * 8**-0.5, 0.5 * 4**-0.5]], rtol=1e-6)


def test_the_spread_of_drift() -> None:
    """ln(w / w0) = -nu ln(t / t_0), nu normal with the spreads between cells and calls; std sqrt(0.2^2 + 0.1^2) nu."""
    device = SoftBounds(drift=Drift(nu=0.1, nu_dtod=0.2, nu_std=0.1))
    tile = og.Tile(200, 200, device=device)
    tile.set_weights(np.full((200, 200), 0.5))
    tile.drift(np.e**2)
    nu = -np.log(tile.weights.astype(np.float64) / 0.5) / 2
    assert standard_errors(nu, 0.1) < 5
    assert abs(nu.std() / (0.1 * np.hypot(0.2, 0.1)) - 1) < 5 / np.sqrt(2 * nu.size)


def test_drift_depends_on_the_conductance() -> None:
    drift = Drift(nu=0.1, nu_k=0.05, log_g0=np.log(0.5), g_offset=0.1, w_offset=-0.2, wg_ratio=2.0)
    tile = og.Tile(1, 1, device=SoftBounds(drift=drift))
    tile.set_weights([[0.6]])
    tile.drift(10.0)
    nu = 0.1 - 0.05 * (np.log((0.6 + 0.2) / 2 + 0.1) - np.log(0.5))
    np.testing.assert_allclose(tile.weights, 0.6 * 10**-nu, rtol=1e-5)


def test_operations_on_one_array_leave_the_others() -> None:
    device = SoftBounds(lifetime=2.0, diffusion=0.1, reset=0.3, drift=Drift(nu=0.2))
    for operation in ("decay", "diffuse", "drift", "reset"):
        tile = og.Tile(2, 3, device=device, algorithm=og.TikiTaka(gamma=0.5))
        fast, slow = tile.arrays["fast"], tile.arrays["slow"]
        fast.weights = slow.weights = np.full((2, 3), 0.5)
        getattr(fast, operation)(*[5.0] * (operation == "drift"))
        assert (fast.weights != 0.5).all()
        assert (slow.weights == 0.5).all()


def test_pulses_on_single_cells_are_pulses() -> None:
    """`n` up pulses of a soft-bounds cell: `b - (b - w) (1 - s / b)^n`; the noise has the size of the device's."""
    tile = og.Tile(2, 3, device=SoftBounds(dw_min=0.01, w_max=0.5), count_pulses=True)
    counts = np.array([[3, 0, -2], [1, 2, 100]])
    tile.arrays["weight"].pulse(counts)
    up, down = np.where(counts > 0, counts, 0), np.where(counts < 0, -counts, 0)
    expected = 0.5 - 0.5 * (1 - 0.02) ** up + (-1 + (1 - 0.01) ** down)
    np.testing.assert_allclose(tile.weights, expected, rtol=1e-5, atol=1e-7)
    np.testing.assert_array_equal(tile.arrays["weight"].pulse_counts.up, up)
    np.testing.assert_array_equal(tile.arrays["weight"].pulse_counts.down, down)
    noisy = og.Tile(200, 200, device=ConstantStep(dw_min=0.01, dw_min_std=0.5))
    noisy.arrays["weight"].pulse(np.full((200, 200), 4))
    w = noisy.weights.astype(np.float64)
    assert standard_errors(w, 0.04) < 5
    assert abs(w.std() / (0.01 * 0.5 * 2) - 1) < 5 / np.sqrt(2 * w.size)


def test_counted_pulses_make_up_the_weight() -> None:
    """On constant steps without noise the weight is the difference of the counts, whatever cuts the calls."""
    device = ConstantStep(dw_min=2.0**-10, w_max=10.0, w_min=-10.0)
    tile = og.Tile(
        7, 40, device=device, algorithm=og.TikiTaka(gamma=0.5, fast_lr=0.02, transfer_every=0.5), count_pulses=True
    )
    rng = np.random.default_rng(0)
    for _ in range(3):
        tile.update(rng.standard_normal((6, 40)), rng.standard_normal((6, 7)), 1.0)
    for name in ("fast", "slow"):
        counts = tile.arrays[name].pulse_counts
        assert counts.up.sum() > 0
        assert counts.down.sum() > 0
        difference = counts.up.astype(np.int64) - counts.down.astype(np.int64)
        np.testing.assert_array_equal(tile.arrays[name].weights, (difference * 2.0**-10).astype(np.float32))
    with pytest.raises(ValueError, match="count_pulses"):
        _ = og.Tile(2, 2).arrays["weight"].pulse_counts


# ---- cells of several devices

STEP = ConstantStep(dw_min=2.0**-6, w_max=4.0, w_min=-4.0)
COARSE = ConstantStep(dw_min=2.0**-5, w_max=4.0, w_min=-4.0)


def pulsed(cell: Any, m: int = 4, up: bool = True) -> tuple[og.Tile, Any]:
    """A tile after `m` vectors of one certain pulse each; and the weights of its devices."""
    single = og.PulseTrain(desired_bl=1, update_management=False, update_bl_management=False)
    tile = og.Tile(1, 1, device=cell, pulses=single)
    g = tile.granularity()
    tile.update(np.ones((m, 1)), np.full((m, 1), -1.0 if up else 1.0), g)
    n = len(cell.devices)
    values = [float(tile.state_dict()[f"weight.{i}.values"].item()) for i in range(n)]
    return tile, values


@pytest.mark.parametrize(
    ("policy", "expected"),
    [("all", [4, 4, 4]), ("single_fixed", [0, 4, 0]), ("single_sequential", [1, 2, 1])],
)
def test_policies_of_a_vector(policy: Any, expected: list[int]) -> None:
    tile, values = pulsed(
        Vector((STEP, STEP, STEP), update_policy=policy, first_update_idx=1 if policy != "all" else 0)
    )
    assert values == [n * 2.0**-6 for n in expected]
    np.testing.assert_allclose(tile.weights, np.sum(values) / 3, rtol=1e-6)


def test_a_random_policy_takes_every_device_equally_often() -> None:
    _, values = pulsed(Vector((STEP, STEP), update_policy="single_random"), m=200)
    n = np.array(values) * 2.0**6
    assert n.sum() == 200
    # Binomial with p = 1/2: the standard deviation is sqrt(200) / 2.
    assert abs(n[0] - 100) < 5 * np.sqrt(200) / 2


def test_the_mean_update_of_a_cell_is_that_of_a_weight() -> None:
    """Granularities are such that `W <- W - lr d x^T` in the mean, whatever the cell: exactly, in increments."""
    x, d = np.array([[0.5, -0.25]]), np.array([[0.5]])
    cells = [
        Vector((STEP, COARSE), gamma_vec=(0.5, 0.25)),
        Vector((STEP, STEP), update_policy="single_fixed"),
        ReferenceCell((STEP, COARSE)),
        OneSided(STEP),
    ]
    for cell in cells:
        total = np.zeros((1, 2))
        for seed in range(400):
            tile = og.Tile(1, 2, device=cell, seed=seed)
            tile.update(x, d, 0.5)
            total += tile.weights
        mean, g = total / 400, og.Tile(1, 2, device=cell).granularity()
        expected = -0.5 * d.T @ x
        # Var N <= n, and a pulse moves the weight by g: standard error sqrt(|dw| g / 400).
        assert (np.abs(mean - expected) < 5 * np.sqrt(np.abs(expected) * g / 400)).all(), cell


@pytest.mark.parametrize("pulse_type", ["none", "none_with_device", "analog_update", "pulsed"])
def test_an_increment_of_a_cell_is_that_of_its_weight(pulse_type: Any) -> None:
    """Whatever the shares of the devices and whoever takes it: exactly, in small multiples of powers of two."""
    x, d = np.array([[0.5, -0.25], [0.25, 0.5]]), np.array([[0.5], [-0.5]])
    for cell in (
        Vector((STEP, STEP)),
        Vector((STEP, STEP), gamma_vec=(1.0, 1.0)),
        Vector((STEP, COARSE), gamma_vec=(0.75, -0.25)),
        Vector((STEP, STEP), update_policy="single_fixed", first_update_idx=1),
        Vector((STEP, STEP), gamma_vec=(1.0, 0.5), update_policy="single_sequential"),
        Vector((STEP, STEP), update_policy="single_random"),
        ReferenceCell((STEP, COARSE)),
        OneSided(STEP),
    ):
        tile = og.Tile(1, 2, device=cell, pulses=og.PulseTrain(pulse_type=pulse_type))
        for _ in range(3):
            tile.update(x, d, 0.5)
        np.testing.assert_array_equal(tile.weights, -1.5 * d.T @ x, err_msg=str(cell))


def test_a_reference_stays() -> None:
    _, values = pulsed(ReferenceCell(STEP))
    assert values == [4 * 2.0**-6, 0.0]
    reference = og.Tile(2, 2, device=ReferenceCell((SoftBounds(), SoftBounds(reset=0.25, lifetime=2.0))))
    reference.end_batch()
    reference.set_weights(np.full((2, 2), 0.5))
    np.testing.assert_allclose(reference.weights, 0.5, rtol=1e-6)
    state = reference.state_dict()
    np.testing.assert_array_equal(state["weight.1.values"], np.full((2, 2), 0.125, np.float32))
    np.testing.assert_array_equal(state["weight.0.values"], np.full((2, 2), 0.625, np.float32))


def test_one_sided_cells_only_go_up() -> None:
    tile, values = pulsed(OneSided(STEP))
    assert values == [4 * 2.0**-6, 0.0]
    tile, values = pulsed(OneSided(STEP), up=False)
    assert values == [0.0, 4 * 2.0**-6]
    assert tile.weights.item() == -4 * 2.0**-6
    tile.set_weights([[-0.5]])
    assert [tile.state_dict()[f"weight.{i}.values"].item() for i in (0, 1)] == [0.0, 0.5]


def test_refresh_keeps_the_weight_and_gains_range() -> None:
    """Only cells with both devices high are programmed anew; the weight stays, the smaller device is free again."""
    device = ConstantStep(dw_min=2.0**-6, w_max=1.0, w_min=0.0)
    tile = og.Tile(1, 4, device=OneSided(device, refresh_every=2))
    values = {"weight.0.values": [0.875, 0.875, 0.5, 0.375], "weight.1.values": [0.5, 0.125, 0.375, 0.8125]}
    state = tile.state_dict() | {name: np.array([v], np.float32) for name, v in values.items()}
    tile.load_state_dict(state)
    before = tile.weights
    tile.update(np.zeros((1, 4)), np.zeros((1, 1)), 1.0)
    np.testing.assert_array_equal(tile.state_dict()["weight.0.values"], np.float32([values["weight.0.values"]]))
    tile.update(np.zeros((1, 4)), np.zeros((1, 1)), 1.0)
    np.testing.assert_array_equal(tile.weights, before)
    np.testing.assert_array_equal(tile.state_dict()["weight.0.values"], np.float32([[0.375, 0.875, 0.5, 0.0]]))
    np.testing.assert_array_equal(tile.state_dict()["weight.1.values"], np.float32([[0.0, 0.125, 0.375, 0.4375]]))


def test_refresh_lets_a_one_sided_pair_go_on() -> None:
    """Without refresh both devices end at their bounds and the weight at 0; with it the pair follows its target."""
    device = SoftBounds(dw_min=0.02, w_max=1.0, w_min=0.0)
    rng = np.random.default_rng(1)
    x = np.ones((1000, 1))
    d = rng.standard_normal((1000, 1)) - 0.5
    ends = []
    for every in (0, 5):
        tile = og.Tile(1, 1, device=OneSided(device, refresh_every=every))
        tile.update(x, d, 0.05)
        ends.append(float(tile.weights.item()))
    assert abs(ends[0]) < 0.1
    assert ends[1] > 0.3


@pytest.mark.parametrize("cell", [Vector((STEP, COARSE)), ReferenceCell(STEP), OneSided(STEP, refresh_every=3)])
@pytest.mark.parametrize(
    "algorithm",
    [og.AnalogSGD(), og.TikiTaka(fast_lr=0.03, gamma=0.5, transfer_columns=False), og.ResidualLearning(fast_lr=0.1)],
)
def test_every_algorithm_runs_on_cells(cell: Any, algorithm: Any) -> None:
    """Least squares converge; settings go round; copies and saved states go on with the same bits."""
    tile = og.Tile(3, 5, device=cell, algorithm=algorithm, seed=3)
    rng = np.random.default_rng(0)
    target = rng.uniform(-0.5, 0.5, (3, 5))
    errors = []
    for _ in range(300):
        x = rng.standard_normal((4, 5))
        y = tile.forward(x)
        d = (y - x @ target.T) / 4
        errors.append(float((d**2).mean()))
        tile.update(x, d, 0.1)
        tile.end_batch()
    assert np.mean(errors[-30:]) < 0.2 * np.mean(errors[:10])
    again = og.Tile.from_config(tile.config())
    again.load_state_dict(tile.state_dict())
    for each in (tile, again):
        each.update(np.ones((2, 5)), np.ones((2, 3)), 0.1)
    np.testing.assert_array_equal(tile.weights, again.weights)
    assert eval(repr(cell), vars(og.devices)) == cell


def test_cells_are_checked() -> None:
    with pytest.raises(ValueError, match="gamma_vec"):
        Vector((STEP, STEP), gamma_vec=(1.0, -1.0))
    with pytest.raises(ValueError, match="gamma_vec"):
        Vector((STEP, STEP), gamma_vec=(1.0,))
    # 0.1 + 0.2 - 0.3 is 0 in float32
    with pytest.raises(ValueError, match=r"gamma_vec .* sum is not 0"):
        Vector((STEP, STEP, STEP), gamma_vec=(0.1, 0.2, -0.3))
    with pytest.raises(ValueError, match=r"gamma_vec .* sum is not 0"):
        Vector((STEP,), gamma_vec=(1e-50,))
    with pytest.raises(ValueError, match=r"gamma_vec .* take turns"):
        Vector((STEP, STEP), gamma_vec=(1.0, 0.0), update_policy="single_random")
    with pytest.raises(ValueError, match=r"gamma_vec .* take turns"):
        Vector((STEP, STEP), gamma_vec=(0.0, 1.0), update_policy="single_fixed")
    with pytest.raises(ValueError, match="first_update_idx"):
        Vector((STEP, STEP), first_update_idx=2)
    with pytest.raises(ValueError, match="update_policy"):
        Vector((STEP, STEP), update_policy="some")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="devices"):
        ReferenceCell((STEP, STEP, STEP))
    with pytest.raises(TypeError, match="devices"):
        OneSided(0.3)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="refresh_upper_thres"):
        OneSided(STEP, refresh_upper_thres=1.5)
    with pytest.raises(ValueError, match="devices"):
        Vector(())


# ---- programming


def test_programming_ends_within_the_tolerance() -> None:
    device = SoftBoundsReference(dw_min=0.01, dw_min_std=0.5, dw_min_dtod=0.3, w_max_dtod=0.1, reference_std=0.05)
    target = np.random.default_rng(0).uniform(-0.4, 0.4, (20, 30))
    # a seed without a cell whose steps are larger than the tolerance
    tile = og.Tile(20, 30, device=device, seed=2)
    report = tile.program(target)
    assert report.within == 1.0
    assert np.abs(tile.weights - target).max() == pytest.approx(report.error_max, abs=1e-6)
    assert report.error_max <= 0.01
    assert 0 < report.rounds < 100
    assert tile.program(target).pulses == 0


def test_what_cannot_be_programmed_is_reported() -> None:
    tile = og.Tile(2, 2, device=SoftBounds(dw_min=0.01, w_max=0.5))
    report = tile.program([[0.9, 0.1], [0.0, 0.2]], max_rounds=20)
    assert report.within == 0.75
    assert report.rounds == 20
    assert report.error_max == pytest.approx(0.4, abs=0.1)


def test_programming_through_the_periphery() -> None:
    """The mean of many readings is nearer to the target than one reading is."""
    io = og.IO(out_noise=0.05)
    target = np.full((30, 30), 0.2)
    stds = []
    for reads in (1, 50):
        tile = og.Tile(30, 30, device=SoftBounds(dw_min=0.002), io=io, seed=2)
        stds.append(tile.program(target, reads=reads, tolerance=0.004, max_rounds=30).error_std)
    assert stds[1] < 0.5 * stds[0]


def test_programming_keeps_other_arrays() -> None:
    tile = og.Tile(2, 3, device=SoftBounds(dw_min=0.01), algorithm=og.TikiTaka(gamma=0.5))
    tile.arrays["fast"].weights = np.full((2, 3), 0.2)
    report = tile.program(np.full((2, 3), 0.3))
    assert report.within == 1.0
    np.testing.assert_array_equal(tile.arrays["fast"].weights, np.full((2, 3), 0.2, np.float32))


def test_readings_of_weights() -> None:
    tile = og.Tile(3, 2000, io=og.IO(out_noise=0.1), device=SoftBounds())
    tile.set_weights(np.full((3, 2000), 0.25))
    state = tile.state_dict()["counters"]
    once, often = tile.read_weights() - 0.25, tile.read_weights(25) - 0.25
    assert abs(once.std() / 0.1 - 1) < 5 / np.sqrt(2 * 6000)
    assert abs(often.std() / 0.02 - 1) < 5 / np.sqrt(2 * 6000)
    # Only what is counted for evaluation moves.
    assert (tile.state_dict()["counters"] != state).sum() == 1


BAD: dict[str, tuple[Any, str]] = {
    "negative time": (lambda tile: tile.drift(-1.0), "time"),
    "endless time": (lambda tile: tile.drift(float("inf")), "time"),
    "no time": (lambda tile: tile.drift(float("nan")), "time"),
    "column out of range": (lambda tile: tile.reset([3]), "columns"),
    "negative column": (lambda tile: tile.reset([-1]), "columns"),
    "probability": (lambda tile: tile.reset(prob=1.5), "prob"),
    "counts of another shape": (lambda tile: tile.arrays["weight"].pulse([[1, 2]]), "counts"),
    "too many pulses": (lambda tile: tile.arrays["weight"].pulse(np.full((2, 3), 2**40)), "counts"),
    "target of another shape": (lambda tile: tile.program([[1.0]]), "w: shape"),
    "target without number": (lambda tile: tile.program(np.full((2, 3), np.nan)), "w: all values"),
    "tolerance": (lambda tile: tile.program(np.zeros((2, 3)), tolerance=0.0), "tolerance"),
    "rounds": (lambda tile: tile.program(np.zeros((2, 3)), max_rounds=0), "max_rounds"),
    "readings": (lambda tile: tile.read_weights(0), "n must"),
}


@pytest.mark.parametrize(("call", "field"), BAD.values(), ids=BAD)
def test_bad_input_changes_nothing(call: Any, field: str) -> None:
    tile = og.Tile(2, 3, device=SoftBounds(drift=Drift(nu=0.1), diffusion=0.1))
    before = {name: value.tobytes() for name, value in tile.state_dict().items()}
    with pytest.raises(ValueError, match=field):
        call(tile)
    assert before == {name: value.tobytes() for name, value in tile.state_dict().items()}
