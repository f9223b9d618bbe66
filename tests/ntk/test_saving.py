"""Saved values are loaded unchanged, and files never hold code."""

import copy
import dataclasses
import json
import pickle
import zipfile

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import ntk
from ntk import dynamics


@pytest.fixture(scope="module")
def kernels():
    x = np.random.default_rng(0).normal(size=(6, 3))
    net = ntk.MLP(depth=2, activation="erf", w_std=1.2)
    return ntk.infinite_kernels(net, x[:4]), ntk.infinite_kernels(net, x[4:], x[:4]), ntk.infinite_kernels(net, x[4:])


def round_trip(value, path):
    ntk.save(path, value)
    with zipfile.ZipFile(path) as file:  # plain arrays: no member is a pickle
        assert all(name.endswith(".npy") for name in file.namelist())
    np.load(path, allow_pickle=False).close()
    return ntk.load(path)


def assert_same(a, b):
    assert type(a) is type(b)
    assert jax.tree.structure(a) == jax.tree.structure(b)
    for one, other in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True):
        assert type(one) is type(other)
        assert np.asarray(one).dtype == np.asarray(other).dtype
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize(
    "value",
    [
        (1, -2.5, True, "σ", None, float("inf")),
        {(1, 2): [1, (2, 3)], (4,): {"nested": np.arange(3, dtype=np.int8)}, (): np.float32(0.5)},
        [jnp.ones((2, 0)), jnp.arange(3, dtype=jnp.float32), np.array(["a", "bc"]), jnp.array(True)],
        ntk.MLP(depth=3, activation="gelu", w_std=jnp.asarray(1.5), b_std=0.0),
        ntk.RNN(activation="tanh", pooling="mean"),
    ],
    ids=["numbers", "containers", "arrays", "MLP", "RNN"],
)
def test_values_come_back(value, tmp_path):
    assert_same(round_trip(value, tmp_path / "value.npz"), value)


def test_keys_and_programs(tmp_path):
    key = jax.random.key(3, impl="rbg")
    program = ntk.architectures.lstm(w_std=0.5)
    loaded = round_trip([key, program], tmp_path / "value.npz")
    np.testing.assert_array_equal(jax.random.normal(loaded[0], (3,)), jax.random.normal(key, (3,)))
    assert repr(loaded[1]) == repr(program)
    assert loaded[1].fn is program.fn


def test_kernels_and_predictors(kernels, tmp_path):
    train, across, test = kernels
    y = np.random.default_rng(1).normal(size=(4, 2))
    predictors = {
        "flow": dynamics.squared_loss_flow(train.ntk, y, ridge=0.1),
        "descent": dynamics.squared_loss_descent(train.ntk, y, learning_rate=0.1, momentum=0.5),
        "double": dynamics.squared_loss_flow(np.asarray(train.ntk, np.float32), y, float64=True),
        "ensemble": dynamics.squared_loss_ensemble(train, y),
        "posterior": dynamics.gp_posterior(train.nngp, y, ridge=0.1),
    }
    loaded = round_trip({"kernels": train, **predictors}, tmp_path / "value.npz")
    assert_same(loaded["kernels"], train)
    for name, predict in predictors.items():
        arguments = {
            "ensemble": (3.0, across, test.nngp),
            "posterior": (across.nngp, test.nngp),
        }.get(name, (3, 0.0, 0.0, across.ntk))
        for a, b in zip(loaded[name](*arguments), predict(*arguments), strict=True):
            assert a.dtype == b.dtype
            np.testing.assert_array_equal(a, b)


def test_kernels_of_programs_and_strings(tmp_path):
    x = np.random.default_rng(0).normal(size=(3, 2))
    found = ntk.infinite_kernels(ntk.architectures.mlp(depth=1), x)
    names = np.array([["a", "βγ"], ["", "d"]], dtype=object)
    kernels, loaded = round_trip((found, names), tmp_path / "value.npz")
    assert_same(kernels, found)
    assert kernels.samples == found.samples
    assert loaded.dtype == object
    assert loaded.tolist() == names.tolist()


@pytest.mark.slow
def test_predictor_of_a_loss_of_optax(tmp_path):
    loss = optax.softmax_cross_entropy_with_integer_labels
    predict = dynamics.loss_flow(np.eye(2), np.array([0, 1]), loss)
    loaded = round_trip(predict, tmp_path / "value.npz")
    np.testing.assert_array_equal(loaded(1.0, np.zeros((2, 3))), predict(1.0, np.zeros((2, 3))))
    own = dynamics.loss_flow(np.eye(2), np.ones(2), lambda f, y: (f - y) ** 4)
    with pytest.raises(TypeError, match=r"value holds .*lambda.*, a function; expected arrays"):
        ntk.save(tmp_path / "own.npz", own)


@pytest.mark.parametrize("name", ["relu", "tanh", "leaky_relu", "sign"])
def test_named_activations_are_pickled_and_copied_by_name(name):
    known = ntk.activation(name)
    assert pickle.loads(pickle.dumps(known)) is known
    assert copy.deepcopy(ntk.MLP(depth=1, activation=name)).activation is known
    own = copy.deepcopy(dataclasses.replace(known, name="mine"))
    assert own.name == "mine"
    assert float(own.fn(jnp.float32(0.7))) == float(known.fn(jnp.float32(0.7)))


def test_a_file_that_is_there_is_replaced_whole_or_not_at_all(tmp_path):
    path = tmp_path / "value.npz"
    ntk.save(path, 1)
    with pytest.raises(TypeError, match=r"value holds .*, a function; expected arrays, numbers, containers"):
        ntk.save(path, [2, lambda x: x])
    assert ntk.load(path) == 1
    ntk.save(path, 3)
    assert ntk.load(path) == 3
    assert [file.name for file in tmp_path.iterdir()] == ["value.npz"]


def test_writers_of_one_path_do_not_meet_and_links_are_not_followed(tmp_path):
    other = tmp_path / "other"
    other.write_text("precious")
    for name in ("value.npz", "value.npz.part"):
        (tmp_path / name).symlink_to(other)
    ntk.save(tmp_path / "value.npz", 1)
    assert ntk.load(tmp_path / "value.npz") == 1
    assert other.read_text() == "precious"
    assert not (tmp_path / "value.npz").is_symlink()


@ntk.tensor_program
def lstm(net, x):
    return net.output("v") @ net.phi("relu")(net.input_matrix("u") @ x)


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda: lstm, "value holds the program 'lstm'; expected one of ntk.architectures"),
        (
            lambda: ntk.MLP(depth=1, activation=lambda z: jnp.sin(z)),
            "activation '.*lambda.*' of your own; expected one that",
        ),
        (lambda: np.array([print], dtype=object), "array of dtype object; expected numbers or strings"),
        (lambda: jnp.ones(2, jnp.bfloat16), "array of dtype bfloat16; expected numbers or strings"),
        (object, "value holds <object.*>, a object; expected arrays"),
    ],
)
def test_what_a_file_cannot_hold_is_refused(make, sentence, tmp_path):
    with pytest.raises(TypeError, match=sentence):
        ntk.save(tmp_path / "value.npz", {"x": make()})
    assert list(tmp_path.iterdir()) == []


def test_other_files_are_refused(tmp_path):
    sentence = "is damaged, or ntk.save did not write it"
    (tmp_path / "text").write_text("hello")
    np.savez(tmp_path / "arrays.npz", a=np.ones(2))
    structure = json.dumps({"version": 99, "value": None})
    np.savez(tmp_path / "later.npz", structure=np.array(structure))
    np.save(tmp_path / "pickle.npy", np.array([{}], dtype=object))
    for name in ("text", "arrays.npz", "pickle.npy"):
        with pytest.raises(ValueError, match=sentence):
            ntk.load(tmp_path / name)
    with pytest.raises(ValueError, match=r"later.npz' is of format 99; expected 1, which is what this version of ntk"):
        ntk.load(tmp_path / "later.npz")
    with pytest.raises(FileNotFoundError):
        ntk.load(tmp_path / "nothing.npz")


def test_a_bit_that_has_flipped_is_found(tmp_path):
    """With any byte inverted, or its end cut off, a file is refused in one sentence or loads unchanged."""
    ntk.save(tmp_path / "sound.npz", {"x": np.arange(3.0), "net": ntk.MLP(depth=1)})
    sound, path = (tmp_path / "sound.npz").read_bytes(), tmp_path / "damaged.npz"
    places = range(0, len(sound), 3)
    damaged = [sound[:at] + bytes([sound[at] ^ 0xFF]) + sound[at + 1 :] for at in places]
    refused = 0
    for content in [*damaged, *(sound[:at] for at in range(0, len(sound), 100))]:
        path.write_bytes(content)
        try:
            loaded = ntk.load(path)
        except ValueError as error:
            refused += 1
            assert "is damaged, or ntk.save did not write it" in str(error)  # noqa: PT017
        else:
            np.testing.assert_array_equal(loaded["x"], np.arange(3.0))
            assert loaded["net"] == ntk.MLP(depth=1)
    assert refused > len(places) / 2


@pytest.mark.parametrize(
    "value",
    [
        {"kind": "class", "name": "os.system", "fields": {}},
        {"kind": "class", "name": "MLP", "fields": {"depth": -1}},
        {"kind": "program", "name": "mixtures", "options": {"kind": "dict", "items": []}},
        {"kind": "program", "name": "__loader__", "options": {"kind": "dict", "items": []}},
        {"kind": "loss", "name": "adam"},
        {"kind": "set", "items": []},
        {"kind": "numpy", "number": 7},
    ],
)
def test_what_is_not_in_the_tables_is_refused(value, tmp_path):
    np.savez(tmp_path / "evil.npz", structure=np.array(json.dumps({"version": 1, "value": value})))
    with pytest.raises(ValueError, match=r"is damaged, or ntk.save did not write it"):
        ntk.load(tmp_path / "evil.npz")


def test_digits_are_not_lost_silently(tmp_path):
    ntk.save(tmp_path / "double.npz", [np.ones(2), jnp.ones(2, jnp.float64)])
    with jax.enable_x64(False), pytest.raises(ValueError, match=r"JAX arrays of float64; expected x64 to be enabled"):
        ntk.load(tmp_path / "double.npz")


def test_masks_are_kept(tmp_path):
    masked = np.ma.masked_array(np.arange(6.0).reshape(2, 3), mask=[[1, 0, 0], [0, 0, 1]], fill_value=-1.0)
    loaded = round_trip({"a": masked, "b": np.ma.masked_array(np.arange(3))}, tmp_path / "value.npz")
    for name, value in (("a", masked), ("b", np.ma.masked_array(np.arange(3)))):
        assert type(loaded[name]) is np.ma.MaskedArray
        np.testing.assert_array_equal(loaded[name].mask, np.ma.getmaskarray(value))
        np.testing.assert_array_equal(loaded[name].data, value.data)
        assert loaded[name].fill_value == value.fill_value
    assert loaded["a"].mean() == masked.mean() == 2.5


def _packed(path):
    """Zeros of 64 megabytes in 64 kilobytes."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file, file.open("structure.npy", "w") as member:
        header = np.lib.format.header_data_from_array_1_0(np.zeros(1)) | {"shape": (2**23,)}
        np.lib.format.write_array_header_1_0(member, header)
        for _ in range(2**6):
            member.write(bytes(2**20))


def _told(path):
    """An array whose header declares a terabyte, without any data."""
    with zipfile.ZipFile(path, "w") as file, file.open("structure.npy", "w") as member:
        header = np.lib.format.header_data_from_array_1_0(np.zeros(1)) | {"shape": (2**37,)}
        np.lib.format.write_array_header_1_0(member, header)


@pytest.mark.parametrize("made", [_packed, _told])
def test_bombs_are_refused_by_what_they_declare(made, tmp_path, monkeypatch):
    made(tmp_path / "bomb.npz")
    # Nothing is unpacked: to read an array would fail the test.
    monkeypatch.setattr(np, "load", lambda *_, **__: pytest.fail("it is unpacked"))
    sentence = "is damaged, or ntk.save did not write it: it (has .* unpacks to|declares an array of 1099511627776)"
    with pytest.raises(ValueError, match=sentence):
        ntk.load(tmp_path / "bomb.npz")


def test_an_estimator_takes_its_own_attributes_alone(tmp_path):
    from ntk.estimators import NTKRegressor

    model = NTKRegressor(ntk.MLP(depth=1)).fit(np.eye(3), np.arange(3.0))
    path = tmp_path / "model.npz"
    ntk.save(path, model)
    np.testing.assert_array_equal(ntk.load(path).predict(np.eye(3)), model.predict(np.eye(3)))
    with np.load(path) as members:
        content, arrays = json.loads(str(members["structure"])), dict(members)
    for name in ("predict", "__class__", "mine_", "classes_"):
        told = json.loads(json.dumps(content))
        told["value"]["fitted"]["items"].append([name, 1])
        np.savez(path, **arrays | {"structure": np.array(json.dumps(told))})
        with pytest.raises(ValueError, match=r"is damaged, or ntk.save did not write it"):
            ntk.load(path)
    model.mine_ = 1
    with pytest.raises(
        TypeError, match=r"value holds an NTKRegressor with mine_; expected the attributes of an NTKReg"
    ):
        ntk.save(path, model)


@pytest.mark.parametrize("path", [0, True, None, b"x"])
def test_a_path_is_a_path(plain, path):
    """`open(0)` would read, and close, what the process reads from."""
    for call in (lambda: plain.save(path, 1), lambda: plain.load(path)):
        with pytest.raises(TypeError, match=r"path is .*; expected the path of a file"):
            call()
