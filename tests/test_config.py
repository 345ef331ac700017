"""Runs described in TOML: what is said is what is built, and a mistake is named with its place."""

from __future__ import annotations

import re
import sys
import textwrap
import tomllib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import ohmgrad as og
from ohmgrad import config
from ohmgrad.config import ConfigError, parse, read, to_toml
from ohmgrad.train import EarlyStop, StepLR

FULL = """
[data]
name = "digits"
validation = 100

[model]
layers = ["linear 6", "Tanh", "linear 10", "log_softmax"]
learn_out_scaling = true

[device]
type = "SoftBounds"
dw_min = 0.01
w_max = 1

[algorithm]
type = "ResidualLearning"

[io]
preset = "paper"
out_noise = 0.05

[pulses]
desired_bl = 10

[train]
epochs = 3
batch_size = 50
lr = 0.2
seed = 7
checkpoint_every = 9
schedule = { step_size = 2 }
early_stop = { metric = "validation_loss", patience = 2 }
""".replace(
    '"linear 10"',
    '{ linear = 10, name = "out", io = "kit", algorithm = { type = "TikiTaka", gamma = 0.5, '
    'transfer_io = { preset = "kit", out_noise = 0 }, transfer_pulses = { desired_bl = 5 } } }',
)


def written(folder, text: str):
    path = folder / "run.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_what_is_said_is_what_is_built(tmp_path):
    run = read(written(tmp_path, FULL))
    parts = run.parts()
    assert {name: len(part) for name, part in parts.items()} == {"train": 1337, "validation": 100, "test": 360}
    np.testing.assert_array_equal(parts["validation"].x, og.data.digits()[0].x[1337:])
    model = run.model(parts["train"])
    assert model.paths == ("0", "1", "out", "3")
    first, last = model[0].tile, model["out"].tile
    device = og.devices.SoftBounds(dw_min=0.01, w_max=1.0)
    assert (first.device, first.algorithm, first.io) == (device, og.ResidualLearning(), og.IO.paper(out_noise=0.05))
    assert (first.d_in, first.d_out, last.d_in, last.d_out) == (64, 6, 6, 10)
    assert (last.io, last.pulses, last.seeds) == (og.IO.kit(), og.PulseTrain(desired_bl=10), og.Seeds(**SEVENS))
    assert last.algorithm == og.TikiTaka(
        gamma=0.5, transfer_io=og.IO.kit(out_noise=0.0), transfer_pulses=og.PulseTrain(desired_bl=5)
    )
    fit = dict(run.fit)
    assert (repr(fit.pop("loss")), fit) == (
        "NLL()",
        {
            "epochs": 3,
            "batch_size": 50,
            "lr": StepLR(lr=0.2, step_size=2),
            "shuffle": True,
            "checkpoint_every": 9,
            "callbacks": [EarlyStop(metric="validation_loss", patience=2)],
            "seed": 7,
        },
    )


SEVENS = dict.fromkeys(("device", "noise", "init"), 7)


def test_the_complete_description_is_the_same_run(tmp_path):
    run = read(written(tmp_path, FULL))
    again = parse(tomllib.loads(to_toml(run.tables)))
    assert again.tables == run.tables
    train = run.parts()["train"]
    assert again.model(train).config() == run.model(train).config()
    assert {k: repr(v) for k, v in again.fit.items()} == {k: repr(v) for k, v in run.fit.items()}
    # nothing is left to defaults
    assert run.tables["io"] == {"type": "IO"} | og.IO.paper(out_noise=0.05).describe()
    assert run.tables["train"]["early_stop"]["min_delta"] == 0.0
    assert run.tables["seeds"] == SEVENS | {"order": 7}


def test_little_has_to_be_said():
    run = parse({"model": {"layers": ["linear 10"]}})
    model = run.model(run.parts()["train"])
    bare = og.nn.Sequential(og.nn.Linear(64, 10)).on()
    assert model.config() == bare.config()
    assert repr(run.fit["loss"]) == "CrossEntropy()"
    assert (run.tables["data"], run.tables["train"]["epochs"]) == ({"name": "digits"}, 10)


def test_text_stands_for_a_table():
    tables = {"model": {"layers": ["linear 10"]}, "io": "kit", "algorithm": "TikiTaka(gamma=0.5)"}
    run = parse(tables | {"device": "SoftBounds(dw_min=0.01)"})
    tile = run.model(run.parts()["train"])[0].tile
    assert (tile.device, tile.io) == (og.devices.SoftBounds(dw_min=0.01), og.IO.kit())
    assert tile.algorithm == og.TikiTaka(gamma=0.5)


def test_a_device_for_each_array():
    fast, slow = og.devices.SoftBounds(dw_min=0.01), og.devices.ConstantStep(dw_min=0.001)
    device = {"fast": {"type": "SoftBounds", "dw_min": 0.01}, "slow": "ConstantStep(dw_min=0.001)"}
    run = parse({"model": {"layers": ["linear 10"]}, "device": device, "algorithm": "TikiTaka"})
    assert run.settings["device"] == {"fast": fast, "slow": slow}
    assert parse(tomllib.loads(to_toml(run.tables))).settings["device"] == run.settings["device"]


def test_seeds_one_by_one(tmp_path):
    path = written(tmp_path, "model.layers = ['linear 10']\ntrain.seed = 1\nseeds.noise = 2\n")
    run = read(path)
    assert (run.settings["seed"], run.fit["seed"]) == (og.Seeds(device=1, noise=2, init=1), 1)
    run = read(path, seed=5)
    assert (run.settings["seed"], run.fit["seed"]) == (og.Seeds(device=5, noise=5, init=5), 5)


def test_changes_are_toml_or_text(tmp_path):
    changes = ["train.lr=0.5", "device.type=ConstantStep", 'model.layers=["linear 3"]', "train.loss=mse", "io=kit"]
    run = read(written(tmp_path, "[model]\nlayers = ['linear 10']"), changes)
    assert (run.fit["lr"], run.settings["device"], run.layers[0][1]) == (0.5, og.devices.ConstantStep(), 3)
    assert (repr(run.fit["loss"]), run.settings["io"]) == ("MSE()", og.IO.kit())


def test_folders_count_from_the_file(tmp_path):
    text = "data = { name = 'mnist', folder = 'mnist', limit = 5 }\nmodel.layers = ['linear 10']"
    run = read(written(tmp_path, text))
    expected = {"name": "mnist", "folder": str(tmp_path / "mnist"), "normalize": False, "limit": 5}
    assert run.tables["data"] == expected
    with pytest.raises(FileNotFoundError, match="there is no train-images"):
        run.parts()


def test_parts_of_a_run_come_from_npz_files(tmp_path):
    np.savez(tmp_path / "d.npz", x=np.ones((6, 2)), y=np.arange(6) % 2, x_test=np.ones((3, 2)), y_test=np.zeros(3, int))
    data = {"name": "npz", "train": {"path": "d.npz"}, "test": {"path": "d.npz", "x": "x_test", "y": "y_test"}}
    for validation, sizes in (({}, [6, 3]), ({"validation": {"path": "d.npz", "limit": 1}}, [6, 3, 1])):
        run = parse({"data": data | validation, "model": {"layers": ["linear 2"]}}, tmp_path)
        assert [len(part) for part in run.parts().values()] == sizes
        again = parse(tomllib.loads(to_toml(run.tables)))
        assert [len(part) for part in again.parts().values()] == sizes
    run = parse({"data": data | {"validation": 2}, "model": {"layers": ["linear 2"]}}, tmp_path)
    assert {name: len(part) for name, part in run.parts().items()} == {"train": 4, "test": 3, "validation": 2}


def test_digits_have_a_validation_part_of_their_own():
    run = parse({"data": {"validation": True}, "model": {"layers": ["linear 10"]}})
    assert [len(part) for part in run.parts().values()] == [1077, 360, 360]
    assert parse(tomllib.loads(to_toml(run.tables))).tables == run.tables


LAYERS: dict[str, Any] = {"model": {"layers": ["linear 10"]}}


@pytest.mark.parametrize(
    ("tables", "message"),
    [
        ({}, r"[model] layers must be a list"),
        ({"model": {"layers": []}}, r"[model] layers must be a list"),
        ({"model": {"layers": ["liner 10"]}}, "[model.layers[0]] unknown layer 'liner'; known: linear, .*'linear'"),
        ({"model": {"layers": ["linear"]}}, "[model.layers[0]] linear takes its number of outputs"),
        ({"model": {"layers": ["linear ten"]}}, "[model.layers[0]] d_out must be an integer, got 'ten'"),
        ({"model": {"layers": ["linear 0"]}}, "[model.layers[0]] d_out must be >= 1, got 0"),
        ({"model": {"layers": ["linear 3", "tanh 4"]}}, "[model.layers[1]] tanh takes no number"),
        ({"model": {"layers": [3]}}, "[model.layers[0]] a layer is text such as"),
        ({"model": {"layers": [{"tanh": 1}]}}, "[model.layers[0]] a table is for a layer with weights"),
        ({"model": {"layers": [{"linear": 1, "bais": False}]}}, "[model.layers[0]] unknown key 'bais'; .*mean 'bias'"),
        ({"model": {"layers": [{"linear": 1, "bias": 1}]}}, "[model.layers[0]] bias must be True or False"),
        ({"model": {"layers": [{"linear": 1, "io": {"out_nose": 1}}]}}, "[model.layers[0].io] IO has no field 'out_n"),
        ({"model": {"layers": ["tanh"], "lear_out_scaling": 1}}, "[model] unknown key .*did you mean 'learn_out_sc"),
        ({"model": {"layers": ["tanh"], "weight_scaling_omega": -1.0}}, "[model] weight_scaling_omega must be finite"),
        ({"model": {"layers": ["tanh", {"linear": 1, "device": {"slow": "SoftBounds"}}]}}, "[model.layers[1]] .*slow"),
        ({"model": 3}, "[model] must be a table, got 3"),
        (LAYERS | {"trian": {}}, "unknown key 'trian'; known: imports, .*; did you mean 'train'?"),
        (LAYERS | {"train": {"epoch": 3}}, "[train] unknown key 'epoch'; known: epochs, .*did you mean 'epochs'?"),
        (LAYERS | {"train": {"epochs": 0}}, "[train] epochs must be >= 1, got 0"),
        (LAYERS | {"train": {"epochs": 1.5}}, "[train] epochs must be an integer, got 1.5"),
        (LAYERS | {"train": {"batch_size": "10"}}, "[train] batch_size must be an integer, got '10'"),
        (LAYERS | {"train": {"lr": -1}}, "[train] lr must be >= 0"),
        (LAYERS | {"train": {"lr": "fast"}}, "[train] lr must be a number, got 'fast'"),
        (LAYERS | {"train": {"seed": -1}}, "[train] seed must be >= 0 and < 2**64, got -1"),
        (LAYERS | {"train": {"shuffle": 1}}, "[train] shuffle must be True or False, got 1"),
        (LAYERS | {"train": {"checkpoint_every": 0}}, "[train] checkpoint_every must be >= 1, got 0"),
        (LAYERS | {"train": {"loss": "nil"}}, "[train.loss] must be one of cross_entropy, mse, nll, got 'nil'.*'nll'"),
        (LAYERS | {"train": {"schedule": {}}}, "[train.schedule] step_size is missing"),
        (LAYERS | {"train": {"schedule": {"step": 1}}}, "[train.schedule] unknown key 'step'; .*'step_size'"),
        (LAYERS | {"train": {"schedule": 0.5}}, "[train.schedule] must be a table, got 0.5"),
        (LAYERS | {"train": {"early_stop": {"metric": "lr", "patience": 1}}}, "[train.early_stop] metric must end in"),
        (LAYERS | {"train": {"early_stop": {"metric": "test_loss"}}}, "[train.early_stop] patience is missing"),
        (
            LAYERS | {"train": {"early_stop": {"metric": "validation_loss", "patience": 1}}},
            "[train.early_stop] metric 'validation_loss': no such data",
        ),
        (LAYERS | {"seeds": {"nose": 1}}, "[seeds] unknown key 'nose'; .*did you mean 'noise'?"),
        (LAYERS | {"seeds": {"order": 1.0}}, "[seeds] order must be an integer, got 1.0"),
        (LAYERS | {"seeds": {"init": 2**64}}, "[seeds] seed init must be an integer with"),
        (LAYERS | {"device": {"dw_min": 1}}, "[device] type is missing, such as"),
        (LAYERS | {"device": {"type": "softbounds"}}, "[device] unknown device 'softbounds'; .*mean 'SoftBounds'?"),
        (
            LAYERS | {"device": {"type": "SoftBounds", "dwmin": 1}},
            "[device] SoftBounds has no field 'dwmin'.*'dw_min'?",
        ),
        (LAYERS | {"device": {"type": "SoftBounds", "dw_min": 0}}, "[device] .*dw_min"),
        (LAYERS | {"device": {"type": "SoftBounds", "dw_min": "a"}}, "[device] dw_min must be a number, got 'a'"),
        (LAYERS | {"device": {"fast": {"type": "Soft"}}}, "[device.fast] unknown device 'Soft'"),
        (LAYERS | {"device": {"fast": {"type": "SoftBounds"}}}, "[model.layers[0]] .*fast"),
        (LAYERS | {"device": 3}, "[device] must be a table, got 3"),
        (LAYERS | {"device": "SoftBounds("}, "[device] a device or an algorithm is written like"),
        (LAYERS | {"algorithm": {}}, "[algorithm] type is missing"),
        (LAYERS | {"algorithm": "tiki-taka"}, "[algorithm] unknown algorithm 'tiki-taka'; .*mean 'TikiTaka'?"),
        (LAYERS | {"algorithm": "TikiTakka"}, "[algorithm] unknown algorithm 'TikiTakka'; .*did you mean 'TikiTaka'?"),
        (
            LAYERS | {"algorithm": {"type": "TikiTaka", "transfer_io": {"out_nois": 1}}},
            "[algorithm.transfer_io] IO has no field 'out_nois'; .*did you mean 'out_noise'?",
        ),
        (
            LAYERS | {"algorithm": {"type": "TikiTaka", "transfer_io": 3}},
            "[algorithm] transfer_io must be an IO or None",
        ),
        (LAYERS | {"io": "kitt"}, "[io.preset] must be one of kit, .*got 'kitt'; did you mean 'kit'?"),
        (LAYERS | {"io": {"type": "PulseTrain"}}, "[io] type must be 'IO'"),
        (LAYERS | {"io": {"out_noise": -1}}, "[io] .*out_noise"),
        (LAYERS | {"pulses": {"pulse_type": "magic"}}, "[pulses] .*pulse_type"),
        (LAYERS | {"data": {"name": "mnits"}}, "[data.name] must be one of digits, mnist, .*did you mean 'mnist'?"),
        (LAYERS | {"data": {"name": "mnist"}}, "[data] folder is missing"),
        (LAYERS | {"data": {"name": "mnist", "folder": 3}}, "[data] folder must be a string, got 3"),
        (LAYERS | {"data": {"name": "mnist", "folder": "x", "limt": 3}}, "[data] unknown key 'limt'; .*mean 'limit'?"),
        (LAYERS | {"data": {"name": "mnist", "folder": "x", "limit": "a"}}, "[data] limit must be an integer"),
        (LAYERS | {"data": {"name": "mnist", "folder": "x", "normalize": 1}}, "[data] normalize must be True or False"),
        (
            LAYERS | {"data": {"name": "mnist", "folder": "x", "validation": True}},
            "[data] validation must be an integer",
        ),
        (LAYERS | {"data": {"validation": 0}}, "[data] validation must be a number of vectors, >= 1, got 0"),
        (LAYERS | {"data": {"name": "npz"}}, "[data.train] must be a table such as"),
        (LAYERS | {"data": {"name": "npz", "train": {}}}, "[data.train] path is missing"),
        (LAYERS | {"data": {"name": "npz", "train": {"path": "a"}, "tset": 1}}, "[data] unknown key 'tset'; .*'test'?"),
        (LAYERS | {"preset": "magic"}, "unknown preset 'magic'"),
    ],
)
def test_a_mistake_is_named_with_its_place(tables, message):
    start, _, rest = message.partition(".*")
    pattern = re.escape(start) + (".*" + re.escape(rest).replace(r"\.\*", ".*") if rest else "")
    with pytest.raises(ConfigError, match=f"^{pattern}"):
        parse(tables)


def test_too_large_a_validation_part_is_named():
    run = parse(LAYERS | {"data": {"validation": 1437}})
    with pytest.raises(ConfigError, match=r"^\[data.validation\] n must be >= 1 and < 1437"):
        run.parts()


@pytest.mark.parametrize("content", [b"[train", b"a = 1\na = 2", b"\xff\xfe", b"x = " + b"[" * 5000])
def test_what_is_no_toml_is_named(content, tmp_path):
    path = tmp_path / "run.toml"
    path.write_bytes(content)
    with pytest.raises(ConfigError, match=re.escape(f"{path}: no TOML")):
        read(path)


@pytest.mark.parametrize("text", ["train.lr", "=3", "train..lr=1", "model.layers.x=1"])
def test_a_wrong_change_is_named(text, tmp_path):
    with pytest.raises(ConfigError, match=re.escape(text)):
        read(written(tmp_path, "[model]\nlayers = ['linear 10']"), [text])


VALUES = st.recursive(
    st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(st.text(max_size=5), VALUES, max_size=4))
def test_toml_comes_back_as_it_was(tables):
    assert tomllib.loads(to_toml(tables)) == tables


MODELS = og.devices.models
SINGLE = {name for name in MODELS.names() if issubclass(MODELS[name], og.devices.Device)} - {"Tabulated"}


@pytest.mark.parametrize("name", sorted(SINGLE))
def test_every_device_can_be_said(name):
    """One that is added needs nothing here."""
    made = MODELS.decode({"type": name})
    assert config.device_of(name) == made
    assert parse(tomllib.loads(to_toml(parse(LAYERS | {"device": name}).tables))).settings["device"] == made


def test_cells_of_several_devices_can_be_said():
    fine, coarse = og.devices.SoftBounds(dw_min=0.01), og.devices.SoftBounds(dw_min=0.02)
    cell = og.devices.Vector((fine, coarse), update_policy="single_sequential")
    table = {"type": "SoftBounds", "dw_min": 0.02}
    for device in (
        {"type": "Vector", "devices": ["SoftBounds(dw_min=0.01)", table], "update_policy": "single_sequential"},
        "Vector(devices=[SoftBounds(dw_min=0.01), SoftBounds(dw_min=0.02)], update_policy='single_sequential')",
    ):
        run = parse(LAYERS | {"device": device})
        assert run.settings["device"] == cell
        assert parse(tomllib.loads(to_toml(run.tables))).settings["device"] == cell
    pair = parse(LAYERS | {"device": "OneSided(devices=SoftBounds(w_min=0.0), refresh_every=5)"}).settings["device"]
    assert pair == og.devices.OneSided(og.devices.SoftBounds(w_min=0.0), refresh_every=5)
    with pytest.raises(ConfigError, match=r"^\[device.devices\[1\]\] unknown device 'Soft'"):
        parse(LAYERS | {"device": {"type": "Vector", "devices": ["SoftBounds", "Soft"]}})
    with pytest.raises(ValueError, match="OneSided is a cell of several devices, and one device is needed here"):
        config.device_of("OneSided(devices=SoftBounds)")


def test_devices_have_settings_of_their_own():
    drifting = og.devices.SoftBounds(drift=og.devices.Drift(nu=0.1))
    assert parse(LAYERS | {"device": {"type": "SoftBounds", "drift": {"nu": 0.1}}}).settings["device"] == drifting
    assert config.device_of("SoftBounds(drift=Drift(nu=0.1))") == drifting
    assert (
        parse(tomllib.loads(to_toml(parse(LAYERS | {"device": config.encode(drifting)}).tables))).settings["device"]
        == drifting
    )


@pytest.mark.parametrize("name", og.presets.configurations())
def test_configurations_can_be_said(name):
    run = parse(LAYERS | {"preset": name})
    assert {key: run.settings[key] for key in ("device", "algorithm", "io", "pulses")} == getattr(og.presets, name)()
    assert parse(tomllib.loads(to_toml(run.tables))).settings == run.settings


def test_presets_of_devices_can_be_said():
    for device in ("ecram(dw_min_std=1.0)", {"preset": "ecram", "dw_min_std": 1.0}):
        assert parse(LAYERS | {"device": device}).settings["device"] == og.presets.ecram(dw_min_std=1.0)
    with pytest.raises(ConfigError, match=r"unknown device 'ecrm'; known: .*; did you mean 'ecram'\?$"):
        parse(LAYERS | {"device": "ecrm"})
    with pytest.raises(ConfigError, match=r"LinearStep has no field 'w_mx'; .*did you mean 'w_max'\?$"):
        parse(LAYERS | {"device": {"preset": "ecram", "w_mx": 0.25}})
    run = parse(LAYERS | {"preset": "tiki_taka_ecram", "algorithm": "ResidualLearning"})
    assert (run.settings["device"], run.settings["algorithm"]) == (og.presets.ecram(), og.ResidualLearning())
    with pytest.raises(ConfigError, match=r"unknown preset 'tiki_taka_ecam'; .*; did you mean 'tiki_taka_ecram'\?$"):
        parse(LAYERS | {"preset": "tiki_taka_ecam"})


ROOT = Path(__file__).parent.parent
BLOCKS = {
    "module": textwrap.dedent(config.__doc__.partition("\n\n")[2].partition("\n\nA layer may")[0]),
    "README": re.findall(r"^```toml\n(.*?)^```$", (ROOT / "README.md").read_text("utf-8"), re.MULTILINE | re.DOTALL)[0],
}


@pytest.mark.parametrize("name", BLOCKS)
def test_what_the_documents_show_can_be_said(name, tmp_path):
    (tmp_path / "my_algorithm.py").write_text("")
    try:
        run = parse(tomllib.loads(BLOCKS[name]), tmp_path)
    finally:
        sys.modules.pop("my_algorithm", None)
    assert parse(tomllib.loads(to_toml(run.tables))).tables == run.tables


OWN = """
from dataclasses import dataclass
import ohmgrad as og
from ohmgrad.algorithms import algorithms
{note}
@algorithms.register
@dataclass(frozen=True, kw_only=True, repr=False)
class {name}(og.AnalogSGD):
    share: float = 0.5
"""


def test_code_of_ones_own_is_imported(tmp_path):
    """Once, from the file's folder; the complete description names the file and parses elsewhere."""
    code = tmp_path / "own_for_a_test.py"
    code.write_text(OWN.format(name="OwnForATest", note="og.imported_for_a_test = True"))
    text = "imports = ['own_for_a_test.py', 'json']\nalgorithm = 'OwnForATest(share=0.25)'\nmodel.layers = ['linear 3']"
    path = tmp_path / "run.toml"
    path.write_text(text)
    try:
        run = read(path)
        assert (type(run.settings["algorithm"]).__name__, run.settings["algorithm"].share) == ("OwnForATest", 0.25)
        assert run.tables["imports"] == [str(code), "json"]
        delattr(og, "imported_for_a_test")
        again = parse(tomllib.loads(to_toml(run.tables)), Path("/elsewhere"))
        assert again.settings["algorithm"] == run.settings["algorithm"]
        assert "imported_for_a_test" not in vars(og)
        other = tmp_path / "other"
        other.mkdir()
        (other / code.name).write_text("")
        with pytest.raises(ConfigError, match="there is another module 'own_for_a_test': give the file another name"):
            parse({"imports": [code.name], "model": {"layers": ["linear 3"]}}, other)
    finally:
        og.algorithms.algorithms._classes.pop("OwnForATest", None)
        sys.modules.pop("own_for_a_test", None)


@pytest.mark.parametrize(
    ("imports", "message"),
    [
        ("own.py", "imports must be a list of files and modules such as ['my_algorithm.py'], got 'own.py'"),
        ([3], "imports must be a list of files and modules such as ['my_algorithm.py'], got [3]"),
        (["no_such.py"], "/no_such.py: FileNotFoundError: no such file"),
        (["no.such"], "imports: no.such: ModuleNotFoundError: No module named 'no'"),
        (["broken_for_a_test.py"], "/broken_for_a_test.py: ZeroDivisionError: division by zero"),
        (["taken_for_a_test.py"], "ValueError: algorithm name 'TikiTaka' is already taken by ohmgrad.algorithms"),
    ],
)
def test_code_that_cannot_be_imported_is_named(imports, message, tmp_path):
    (tmp_path / "broken_for_a_test.py").write_text("1 / 0")
    (tmp_path / "taken_for_a_test.py").write_text(OWN.format(name="TikiTaka", note=""))
    with pytest.raises(ConfigError, match=re.escape(message)):
        parse({"imports": imports, "model": {"layers": ["linear 3"]}}, tmp_path)
    assert not {"broken_for_a_test", "taken_for_a_test"} & set(sys.modules)
