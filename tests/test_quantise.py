"""Laws of int8: it embeds as fp32 does, whatever outliers the weights hold, or is not written."""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

pytest.importorskip("torch")
pytest.importorskip("open_clip")
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper
from test_export import MOBILECLIP, SMALL_TEXT, check_int8, write_config

from clipcal.demo.scenes import draw_scene
from clipcal.errors import BundleError, ParityFailure
from clipcal.export import files
from clipcal.export.graph import compact_weights, export_graph
from clipcal.export.int8 import observe
from clipcal.export.int8 import quantise as module
from clipcal.export.int8.arithmetic import Range, greatest_pair
from clipcal.export.int8.quantise import Quantisation, quantise
from clipcal.export.openclip.loading import load
from clipcal.export.openclip.modules import ImageTower
from clipcal.export.openclip.source import resolve
from clipcal.export.towers import write_towers
from clipcal.models.bundle import Preprocessing
from clipcal.models.preprocess import to_pixels
from clipcal.models.registry import find_bundle
from clipcal.models.session import cpu_session

VIT = {
    "embed_dim": 64,
    "vision_cfg": {"image_size": 64, "layers": 4, "width": 128, "head_width": 32, "patch_size": 16},
    "text_cfg": SMALL_TEXT,
}


def scenes(preprocessing: Preprocessing, count: int, seed: int = 0) -> NDArray[np.uint8]:
    drawn = (draw_scene(np.random.default_rng([seed, number])) for number in range(count))
    return np.stack([to_pixels(each.image, preprocessing) for each in drawn])


def embed(file: Path, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
    return np.asarray(cpu_session(file).run(None, {"pixels": pixels})[0])


def cosines(one: Path, other: Path, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
    return np.asarray((embed(one, pixels) * embed(other, pixels)).sum(axis=1))


@torch.no_grad()
def plant_outliers(visual: torch.nn.Module) -> None:
    """Give a random tower what trained ones have; only the residual's outlier moves embeddings.

    A channel of the residual stream far beyond the others, and channels of normalised
    activations and of values 30 to 100 times as large, with weights that much smaller behind.
    """
    tower: Any = visual
    width = tower.ln_pre.bias.shape[0]
    tower.ln_pre.bias[7] += 10
    for number, block in enumerate(tower.transformer.resblocks):
        for parameter in (
            block.attn.in_proj_weight,
            block.mlp.c_fc.weight,
            block.mlp.c_proj.weight,
        ):
            parameter *= 2  # random towers hardly tell pictures apart
        factors = torch.ones(width)
        factors[[3 + number, 50, 90]] = torch.tensor([100.0, 60.0, 30.0])
        for norm, weight in (
            (block.ln_1, block.attn.in_proj_weight),
            (block.ln_2, block.mlp.c_fc.weight),
        ):
            norm.weight *= factors
            norm.bias *= factors
            weight /= factors
        block.attn.in_proj_weight[2 * width :] *= factors[:, None]
        block.attn.in_proj_bias[2 * width :] *= factors
        block.attn.out_proj.weight /= factors


@dataclass(frozen=True, slots=True)
class Planted:
    source: Path
    pixels: NDArray[np.uint8]
    fresh: NDArray[np.uint8]


@pytest.fixture(scope="module")
def planted(tmp_path_factory: pytest.TempPathFactory) -> Planted:
    folder = tmp_path_factory.mktemp("planted")
    loaded = load(resolve(write_config(folder, "vit", VIT) + "::random"))
    plant_outliers(loaded.model.visual)
    write_towers(loaded, folder)
    pixels = scenes(loaded.preprocessing, 40)
    return Planted(folder / "visual.onnx", pixels[:24], pixels[24:])


@pytest.fixture(scope="module")
def done(planted: Planted, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Quantisation]:
    target = tmp_path_factory.mktemp("done") / "visual.onnx"
    return target, quantise(planted.source, target, planted.pixels)


def unsmoothed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "choose_smoothing", lambda *_: {})


@pytest.fixture(scope="module")
def crude(planted: Planted, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Every product in int8, and no outlier smoothed."""
    target = tmp_path_factory.mktemp("crude") / "visual.onnx"
    with pytest.MonkeyPatch.context() as patched:
        unsmoothed(patched)
        quantise(planted.source, target, planted.pixels, min_cosine=-1)
    return target


def test_outliers_that_ruin_a_plain_quantisation_are_smoothed(
    planted: Planted, done: tuple[Path, Quantisation], crude: Path
) -> None:
    target, found = done
    among = embed(planted.source, planted.fresh)
    assert np.median(among @ among.T) < 0.97  # pictures differ: a cosine near 1 says something
    assert found.smoothed > 0
    assert found.min_cosine >= 0.99
    assert cosines(planted.source, target, planted.fresh).min() >= 0.99
    assert cosines(planted.source, crude, planted.fresh).min() < 0.95


def test_without_smoothing_the_worst_products_are_left_in_float(
    planted: Planted, crude: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    unsmoothed(monkeypatch)
    least = float(cosines(planted.source, crude, planted.pixels[3::4]).min())
    target = tmp_path / "some.onnx"
    found = quantise(planted.source, target, planted.pixels, min_cosine=least + 0.003)
    assert found.in_float
    assert found.smoothed == 0
    assert found.min_cosine >= least + 0.003
    assert cosines(planted.source, target, planted.pixels[3::4]).min() == pytest.approx(
        found.min_cosine, abs=1e-6
    )


def test_what_cannot_be_reached_is_refused_and_nothing_written(
    planted: Planted, tmp_path: Path
) -> None:
    with pytest.raises(ParityFailure, match=r"1\.5 is needed.*--precision fp32"):
        quantise(planted.source, tmp_path / "out.onnx", planted.pixels, min_cosine=1.5)
    assert list(tmp_path.iterdir()) == []


def test_an_embedding_never_depends_on_its_batch_mates(
    planted: Planted, done: tuple[Path, Quantisation]
) -> None:
    target, pixels = done[0], planted.fresh[:7]
    together = embed(target, pixels)
    mates = np.random.default_rng(0).integers(0, 256, pixels.shape, dtype=np.uint8)
    for row in range(7):
        mixed = mates.copy()
        mixed[row] = pixels[row]
        np.testing.assert_array_equal(embed(target, mixed)[row], together[row])
    for size in (1, 2):
        np.testing.assert_allclose(embed(target, pixels[:size]), together[:size], atol=2e-3)


def test_the_same_input_gives_the_same_bytes_and_other_ranges_another_digest(
    planted: Planted, done: tuple[Path, Quantisation], tmp_path: Path
) -> None:
    target, found = done
    again = quantise(planted.source, tmp_path / "again.onnx", planted.pixels)
    assert again == found
    assert (tmp_path / "again.onnx").read_bytes() == target.read_bytes()
    brighter = np.clip(planted.pixels.astype(int) + 60, 0, 255).astype(np.uint8)
    other = quantise(planted.source, tmp_path / "other.onnx", brighter)
    assert other.digest != found.digest


def test_a_product_in_float_changes_the_digest(
    planted: Planted, done: tuple[Path, Quantisation], tmp_path: Path
) -> None:
    strict = min(1.0, done[1].min_cosine + 1e-5)
    other = quantise(planted.source, tmp_path / "strict.onnx", planted.pixels, min_cosine=strict)
    assert other.in_float
    assert other.digest != done[1].digest


def integers(file: Path) -> dict[str, NDArray[Any]]:
    model = onnx.load(file)
    found = {each.name: numpy_helper.to_array(each) for each in model.graph.initializer}
    return {name: each for name, each in found.items() if each.dtype == np.int8 and each.ndim > 1}


def test_no_float_weight_stays_in_the_file(
    planted: Planted, done: tuple[Path, Quantisation]
) -> None:
    target, found = done
    assert len(integers(target)) == found.layers
    floats = sum(
        int(np.prod(each.dims))
        for each in onnx.load(target).graph.initializer
        if each.data_type == TensorProto.FLOAT
    )
    # The last block sees a single row of each picture, the class token's; that stays float.
    assert floats < 0.3 * sum(each.size for each in integers(target).values())
    assert target.stat().st_size < 0.45 * planted.source.stat().st_size


def test_no_processor_cuts_off_a_sum_of_two_products(done: tuple[Path, Quantisation]) -> None:
    for weight in integers(done[0]).values():
        assert 255 * greatest_pair(weight.astype(np.float32)).max() <= 32767


def test_pixels_enter_the_first_product_as_they_are(
    planted: Planted, done: tuple[Path, Quantisation]
) -> None:
    model = onnx.load(done[0])
    first = next(node for node in model.graph.node if node.op_type == "DequantizeLinear")
    values = {each.name: numpy_helper.to_array(each) for each in model.graph.initializer}
    assert (values[first.input[1]], values[first.input[2]]) == (1, 0)
    assert not any(node.op_type == "Cast" for node in model.graph.node)


def test_the_run_time_multiplies_integers_wherever_it_was_asked_to(
    done: tuple[Path, Quantisation], tmp_path: Path
) -> None:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.optimized_model_filepath = str(tmp_path / "as_run.onnx")
    onnxruntime.InferenceSession(str(done[0]), options, providers=["CPUExecutionProvider"])
    kinds = [node.op_type for node in onnx.load(tmp_path / "as_run.onnx").graph.node]
    assert kinds.count("MatMulIntegerToFloat") == done[1].layers
    assert "DequantizeLinear" not in kinds


@pytest.mark.skipif(importlib.util.find_spec("openvino") is None, reason="openvino is missing")
@pytest.mark.filterwarnings("ignore")  # openvino's own
def test_openvino_embeds_alike(planted: Planted, done: tuple[Path, Quantisation]) -> None:
    import openvino

    found = openvino.Core().compile_model(str(done[0]), "CPU")({0: planted.fresh})[0]
    assert (found * embed(done[0], planted.fresh)).sum(axis=1).min() >= 0.999


def test_the_built_in_model_stands_int8(tmp_path: Path) -> None:
    bundle = find_bundle("builtin")
    pixels = scenes(bundle.manifest.preprocessing, 64, seed=1)
    target = tmp_path / "visual.onnx"
    found = quantise(bundle.visual, target, pixels)
    assert found.min_cosine >= 0.99
    fresh = scenes(bundle.manifest.preprocessing, 40, seed=2)
    assert np.median(cosines(bundle.visual, target, fresh)) >= 0.998
    assert target.stat().st_size < 0.45 * bundle.visual.stat().st_size


def test_slow_mobileclip_becomes_int8(tmp_path: Path) -> None:
    loaded = load(resolve(write_config(tmp_path, "mobileclip", MOBILECLIP) + "::random"))
    size = (loaded.preprocessing.height, loaded.preprocessing.width)
    example = torch.zeros((2, *size, 3), dtype=torch.uint8)
    export_graph(ImageTower(loaded), example, "pixels", tmp_path / "source.onnx")
    check_int8(tmp_path / "source.onnx", loaded.preprocessing, tmp_path)


def test_weights_stored_as_float16_are_weights_all_the_same(
    planted: Planted, tmp_path: Path
) -> None:
    source = tmp_path / "source.onnx"
    model = onnx.load(planted.source)
    for weight in model.graph.initializer:
        if weight.data_type == TensorProto.FLOAT:
            rounded = numpy_helper.to_array(weight).astype(np.float16).astype(np.float32)
            weight.CopyFrom(numpy_helper.from_array(rounded, weight.name))
    onnx.save(model, source)
    plain = quantise(source, tmp_path / "plain.onnx", planted.pixels)
    assert compact_weights(source)[0] > 0
    compacted = quantise(source, tmp_path / "compacted.onnx", planted.pixels)
    assert (compacted.digest, compacted.layers) == (plain.digest, plain.layers)


def test_weights_beside_the_graph_are_read_and_written(
    planted: Planted,
    done: tuple[Path, Quantisation],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    source, target = tmp_path / "source.onnx", tmp_path / "out" / "target.onnx"
    target.parent.mkdir()
    model = onnx.load(planted.source)
    onnx.save(model, source, save_as_external_data=True, location="weights.data")
    monkeypatch.setattr(files, "SINGLE_FILE_LIMIT", 1000)
    assert quantise(source, target, planted.pixels).digest == done[1].digest
    assert {each.name for each in target.parent.iterdir()} == {"target.onnx", "target.onnx.data"}
    assert target.stat().st_size < 0.5 * (tmp_path / "out" / "target.onnx.data").stat().st_size
    np.testing.assert_array_equal(embed(target, planted.fresh), embed(done[0], planted.fresh))


def write_graph(
    file: Path, nodes: list[onnx.NodeProto], weights: dict[str, NDArray[Any]], *row: int
) -> None:
    """Write a graph from pixels (batch, 8, 8, 3) to embeddings (batch, *row)."""
    value = helper.make_tensor_value_info
    graph = helper.make_graph(
        nodes,
        "small",
        [value("pixels", TensorProto.UINT8, ["batch", 8, 8, 3])],
        [value("embeddings", TensorProto.FLOAT, ["batch", *row])],
        [numpy_helper.from_array(each, name) for name, each in weights.items()],
    )
    opset = [helper.make_opsetid("", 20)]
    onnx.save(helper.make_model(graph, opset_imports=opset, ir_version=10), file)


def test_what_a_convolution_takes_too_is_quantised_without_smoothing(tmp_path: Path) -> None:
    node, rng = helper.make_node, np.random.default_rng(0)
    nodes = [
        node("Cast", ["pixels"], ["floats"], to=TensorProto.FLOAT),
        node("Transpose", ["floats"], ["planes"], perm=[0, 3, 1, 2]),
        node("Mul", ["planes", "brightness"], ["shared"]),
        node("Conv", ["shared", "kernel"], ["grid"]),
        node("GlobalAveragePool", ["grid"], ["pooled"]),
        node("Flatten", ["pooled"], ["one"]),
        node("MatMul", ["shared", "weight"], ["rows"]),
        node("ReduceMean", ["rows", "axes"], ["other"], keepdims=0),
        node("Concat", ["one", "other"], ["both"], axis=1),
        node("LpNormalization", ["both"], ["embeddings"], axis=1, p=2),
    ]
    brightness = np.array([1, 1, 100, 1, 1, 1, 1, 1], np.float32) / 255
    weights = {
        "brightness": brightness,
        "kernel": rng.normal(size=(16, 3, 3, 3)).astype(np.float32) / 50,
        "weight": (rng.normal(size=(8, 16)) / (255 * brightness[:, None])).astype(np.float32),
        "axes": np.array([1, 2]),
    }
    source, target = tmp_path / "source.onnx", tmp_path / "target.onnx"
    write_graph(source, nodes, weights, 32)
    pixels = rng.integers(0, 256, (16, 8, 8, 3), dtype=np.uint8)
    found = quantise(source, target, pixels, min_cosine=0.9)
    assert (found.layers, found.smoothed) == (2 - len(found.in_float), 0)
    assert cosines(source, target, pixels).min() >= 0.9


def test_what_is_no_graph_is_named_and_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "cut.onnx").write_bytes(b"no graph")
    for name in ("cut.onnx", "missing.onnx"):
        with pytest.raises(BundleError, match=rf"{name} cannot be read.*clipcal export"):
            files.load(tmp_path / name)


def test_where_there_is_nothing_to_quantise_that_is_said(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Cast", ["pixels"], ["x"], to=TensorProto.FLOAT),
        helper.make_node("GlobalAveragePool", ["x"], ["embeddings"]),
    ]
    write_graph(tmp_path / "pool.onnx", nodes, {}, 8, 1, 1)
    with pytest.raises(BundleError, match="nothing to quantise"):
        quantise(tmp_path / "pool.onnx", tmp_path / "out.onnx", np.zeros((4, 8, 8, 3), np.uint8))


def test_a_single_picture_is_too_few(planted: Planted, tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="at least 2 pictures"):
        quantise(planted.source, tmp_path / "out.onnx", planted.pixels[:1])


def test_a_range_holds_zero_and_what_was_seen() -> None:
    rng = np.random.default_rng(0)
    for _ in range(200):
        low, high = np.sort(rng.normal(rng.normal(), 1, (2, 5)).astype(np.float32), axis=0)
        found = Range.spanning(low, high)
        values = np.concatenate([low, high, [np.float32(0)]])
        assert np.abs(found.rounded(values) - values).max() <= 0.5001 * found.scale
        assert found.rounded(np.zeros(1, np.float32))[0] == 0


@pytest.mark.parametrize(("stride", "spread", "groups"), [(1, 1, 1), (2, 1, 4), (1, 2, 2)])
def test_sampled_windows_times_the_kernel_are_the_convolution(
    stride: int, spread: int, groups: int
) -> None:
    from clipcal.export.int8.arithmetic import multiply
    from clipcal.export.int8.tower import Product

    rng = np.random.default_rng(0)
    values = rng.normal(size=(1, 8, 9, 7)).astype(np.float32)
    kernel = rng.normal(size=(12, 8 // groups, 3, 3)).astype(np.float32)
    sizes = {"strides": [stride] * 2, "dilations": [spread] * 2, "pads": [1, 0, 2, 1]}
    node = helper.make_node("Conv", ["x", "w"], ["y"], group=groups, **sizes)
    product = Product("y", "Conv", node, "x", kernel, pixels=False)
    found = multiply(observe._windows(product, values, 10_000), kernel)
    padded = torch.nn.functional.pad(torch.from_numpy(values), (0, 1, 1, 2))
    expected = torch.nn.functional.conv2d(
        padded, torch.from_numpy(kernel), stride=stride, dilation=spread, groups=groups
    )
    np.testing.assert_allclose(found, expected[0].flatten(1).T.numpy(), atol=1e-4)
