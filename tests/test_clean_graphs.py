"""Laws of the clean graphs: the same function as torch's, or the generic path; no guess."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

pytest.importorskip("torch")
pytest.importorskip("open_clip")
import onnx
import torch
from onnx.numpy_helper import to_array
from open_clip import transformer as parts
from torch import nn
from torch.nn.utils.parametrizations import weight_norm

from clipcal.export import files
from clipcal.export.clean import UnfamiliarTower, write_text, write_vision
from clipcal.export.clean.text import read_text
from clipcal.export.clean.vision import read_vision
from clipcal.export.graph import OPSET, compact_weights
from clipcal.export.openclip.loading import LoadedModel, load
from clipcal.export.openclip.modules import ImageTower, TextTower
from clipcal.export.openclip.source import resolve
from clipcal.export.parity import MIN_COSINE, TOLERANCE
from clipcal.export.towers import write_towers
from clipcal.models.bundle import TEXTUAL, VISUAL
from clipcal.models.session import cpu_session

VISION = {"image_size": 32, "layers": 2, "width": 128, "patch_size": 8}
TEXT = {"context_length": 16, "vocab_size": 100, "width": 32, "heads": 2, "layers": 2}
END = 7  # an id that ends a sentence
SIZES = (1, 2, 7)


def config(
    vision: dict[str, Any] | None = None, text: dict[str, Any] | None = None, **top: Any
) -> dict[str, Any]:
    return {
        "embed_dim": 24,
        "vision_cfg": {**VISION, **(vision or {})},
        "text_cfg": {**TEXT, **(text or {})},
        **top,
    }


def custom(vision: dict[str, Any] | None = None, **text: Any) -> dict[str, Any]:
    return config(vision, text, custom_text=True)


COCA = custom(
    {"output_tokens": True},
    output_tokens=True,
    embed_cls=True,
)
COCA["multimodal_cfg"] = {**TEXT, "width": 24}
CLEAN = {
    "gelu": config(),
    "quick gelu": config(quick_gelu=True),
    "gelu by tanh": custom({"act_kwargs": {"approximate": "tanh"}}),
    "one layer": config({"layers": 1, "patch_size": 32}, {"layers": 1}),
    "not square": config({"image_size": [32, 48], "patch_size": 16}),
    "no first norm": config({"no_ln_pre": True}),
    "mean of patches": config({"pool_type": "avg"}),
    "norm after the mean": config({"pool_type": "avg", "final_ln_after_pool": True}),
    "layer scale": config({"ls_init_value": 0.3}, {"ls_init_value": 0.2}),
    "patch dropout": config({"patch_dropout": 0.4}),
    "other epsilon": custom({"norm_kwargs": {"eps": 1e-2}}, norm_kwargs={"eps": 1e-2}),
    "narrow mlp": config({"mlp_ratio": 1.5}, {"mlp_ratio": 2.0}),
    "fixed positions": config({"pos_embed_type": "sin_cos_2d"}),
    "text of its own": custom(),
    "no mask, last token": custom(no_causal_mask=True, pool_type="last", proj_bias=True),
    "first token, no projection": custom(pool_type="first", proj_type="none", width=24),
    "end of sentence": custom(pool_type="eos", eos_id=END),
}
# Per tower: what is unusual about it.
UNUSUAL = {
    "attention pooling": (custom({"attentional_pool": True}), ("pools by attention", None)),
    "attention pooling in parallel": (
        custom({"attentional_pool": "parallel"}),
        ("pools by attention", None),
    ),
    "norms of queries": (custom({"qk_norm": True}, qk_norm=True), ("CustomRes", "CustomRes")),
    "class token of text": (COCA, (None, "class token")),
    "every token": (custom(pool_type="none"), (None, "pools by 'none'")),
    "every patch": (custom({"pool_type": "none"}), ("pools by 'none'", None)),
    "a rest of the image": (custom({"patch_size": 12}), ("do not fill", None)),
    "a ResNet": (config({"layers": [1, 1, 1, 1], "width": 8, "image_size": 64}), ("ResNet", None)),
    "a trunk of timm": (
        config({"timm_model_name": "test_vit", "image_size": 160, "timm_proj": "linear"}),
        ("TimmModel", None),
    ),
}


def build(content: dict[str, Any], folder: Path) -> LoadedModel:
    """A random model none of whose weights is a neutral 0 or 1, and whose attention is sharp."""
    file = folder / "model.json"
    file.write_text(json.dumps(content))
    loaded = load(resolve(f"{file}::random"))
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for name, each in loaded.model.named_parameters():
            if each.ndim == 1:
                each.add_(0.3 * torch.randn(each.shape, generator=generator))
            if name.endswith("in_proj_weight"):
                each.mul_(3)
    return loaded


def rows_for(loaded: LoadedModel, count: int = 7) -> dict[str, NDArray[Any]]:
    rng = np.random.default_rng(0)
    shape = (count, loaded.preprocessing.height, loaded.preprocessing.width, 3)
    tokens = rng.integers(0, TEXT["vocab_size"], (count, loaded.context_length))
    tokens[::2, 3] = tokens[::2, 9] = END
    return {VISUAL: rng.integers(0, 256, shape, dtype=np.uint8), TEXTUAL: tokens}


@torch.no_grad()
def expected(loaded: LoadedModel, rows: dict[str, NDArray[Any]]) -> dict[str, NDArray[np.float32]]:
    towers = {VISUAL: ImageTower(loaded), TEXTUAL: TextTower(loaded)}
    return {file: tower(torch.from_numpy(rows[file])).numpy() for file, tower in towers.items()}


def run(file: Path, rows: NDArray[Any], half: bool = False) -> NDArray[np.float32]:
    session = cpu_session(file, half=half)
    embeddings: NDArray[np.float32] = session.run(None, {session.get_inputs()[0].name: rows})[0]
    return embeddings


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> LoadedModel:
    return build(config(), tmp_path_factory.mktemp("plain"))


@pytest.fixture(scope="module")
def separate(tmp_path_factory: pytest.TempPathFactory) -> LoadedModel:
    return build(custom({"ls_init_value": 0.3}), tmp_path_factory.mktemp("separate"))


# --- the same function ------------------------------------------------------------------------


@pytest.mark.parametrize("name", CLEAN)
def test_a_clean_graph_equals_torch(name: str, tmp_path: Path) -> None:
    loaded = build(CLEAN[name], tmp_path)
    assert write_towers(loaded, tmp_path) == {VISUAL: "clean", TEXTUAL: "clean"}
    rows = rows_for(loaded)
    for file, reference in expected(loaded, rows).items():
        for count in SIZES:
            found = run(tmp_path / file, rows[file][:count])
            np.testing.assert_allclose(found, reference[:count], atol=1e-5, err_msg=file)


@pytest.mark.parametrize(
    "name", ["quick gelu", "mean of patches", "layer scale", "text of its own"]
)
def test_a_clean_graph_in_float16_keeps_its_looser_promise(name: str, tmp_path: Path) -> None:
    loaded = build(CLEAN[name], tmp_path)
    taken = write_towers(loaded, tmp_path, precision="fp16")
    assert set(taken.values()) == {"clean"}
    rows = rows_for(loaded)
    for file, reference in expected(loaded, rows).items():
        found = run(tmp_path / file, rows[file], half=True)
        assert found.dtype == np.float32
        error = np.abs(found - reference).max()
        assert 1e-6 < error <= TOLERANCE["fp16"]
        assert (found * reference).sum(1).min() >= MIN_COSINE["fp16"]


def test_float16_has_no_weight_that_is_lost_below_its_range(
    plain: LoadedModel, tmp_path: Path
) -> None:
    write_vision(plain, tmp_path / VISUAL, half=True)
    patch = weights(tmp_path / VISUAL)["patch.weight"]
    assert patch.dtype == np.float16
    smallest_normal = np.finfo(np.float16).smallest_normal
    assert np.mean(np.abs(patch) < smallest_normal) < 0.01


def test_a_row_is_embedded_alike_in_any_company(plain: LoadedModel, tmp_path: Path) -> None:
    write_towers(plain, tmp_path)
    rows = rows_for(plain)
    others = {file: each[::-1].copy() for file, each in rows.items()}
    for file in (VISUAL, TEXTUAL):
        together = run(tmp_path / file, rows[file])
        reversed_ = run(tmp_path / file, others[file])[::-1]
        alone = np.concatenate([run(tmp_path / file, row[None]) for row in rows[file]])
        np.testing.assert_allclose(reversed_, together, atol=1e-6)
        np.testing.assert_allclose(alone, together, atol=1e-6)


def test_what_has_no_direction_stays_zero(plain: LoadedModel, tmp_path: Path) -> None:
    loaded = copy.deepcopy(plain)
    with torch.no_grad():
        loaded.model.visual.proj.zero_()
        loaded.model.text_projection.zero_()
    write_towers(loaded, tmp_path)
    for file, rows in rows_for(loaded).items():
        assert not run(tmp_path / file, rows).any()


def test_slow_the_real_vit_b_32_equals_torch(tmp_path: Path) -> None:
    loaded = load(resolve("ViT-B-32-quickgelu::random"))
    assert set(write_towers(loaded, tmp_path).values()) == {"clean"}
    rows = rows_for(loaded, 3)
    for file, reference in expected(loaded, rows).items():
        np.testing.assert_allclose(run(tmp_path / file, rows[file]), reference, atol=1e-5)


@pytest.mark.parametrize("name", ["quick gelu", "mean of patches", "end of sentence", "not square"])
def test_openvino_reads_the_same_file(name: str, tmp_path: Path) -> None:
    openvino = pytest.importorskip("openvino")
    loaded = build(CLEAN[name], tmp_path)
    write_towers(loaded, tmp_path)
    rows = rows_for(loaded)
    exact = {"INFERENCE_PRECISION_HINT": "f32"}
    for file, reference in expected(loaded, rows).items():
        compiled = openvino.Core().compile_model(str(tmp_path / file), "CPU", exact)
        for count in SIZES:
            found = compiled(rows[file][:count])[0]
            np.testing.assert_allclose(found, reference[:count], atol=1e-5)


# --- the file ---------------------------------------------------------------------------------


def weights(file: Path) -> dict[str, NDArray[Any]]:
    return {each.name: to_array(each) for each in onnx.load(file).graph.initializer}


@pytest.mark.parametrize("half", [False, True])
def test_a_clean_graph_is_valid_and_of_the_stated_opset(
    plain: LoadedModel, tmp_path: Path, half: bool
) -> None:
    write_towers(plain, tmp_path, precision="fp16" if half else "fp32")
    for file in (VISUAL, TEXTUAL):
        onnx.checker.check_model(str(tmp_path / file), full_check=True)
        model = onnx.load(tmp_path / file)
        assert [(each.domain, each.version) for each in model.opset_import] == [("", OPSET)]
        names = [node.name for node in model.graph.node]
        assert len(set(names)) == len(names)


def test_layers_are_named_by_their_place(plain: LoadedModel, tmp_path: Path) -> None:
    write_towers(plain, tmp_path)
    for file, width in ((VISUAL, 128), (TEXTUAL, 32)):
        shapes = {name: each.shape for name, each in weights(tmp_path / file).items()}
        for number in (0, 1):
            assert shapes[f"blocks.{number}.qkv.weight"] == (width, 3 * width)
            assert shapes[f"blocks.{number}.out.weight"] == (width, width)
            assert shapes[f"blocks.{number}.expand.weight"] == (width, 4 * width)
            assert shapes[f"blocks.{number}.contract.weight"] == (4 * width, width)
        assert shapes["projection.weight"] == (width, 24)


def test_after_the_last_attention_only_the_pooled_token_is_computed(
    plain: LoadedModel, tmp_path: Path
) -> None:
    write_towers(plain, tmp_path)
    for file in (VISUAL, TEXTUAL):
        model = onnx.shape_inference.infer_shapes(onnx.load(tmp_path / file))
        ranks = {each.name: len(each.type.tensor_type.shape.dim) for each in model.graph.value_info}
        assert ranks["blocks.0.contract"] == 3
        assert ranks["blocks.1.attention"] == 3
        assert ranks["blocks.1.contract"] == 2


def test_large_weights_lie_beside_the_graph(
    plain: LoadedModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_towers(plain, tmp_path)
    rows = rows_for(plain)
    single = {file: run(tmp_path / file, rows[file]) for file in (VISUAL, TEXTUAL)}
    monkeypatch.setattr(files, "SINGLE_FILE_LIMIT", 1000)
    write_towers(plain, tmp_path)
    for file, before in single.items():
        assert (tmp_path / f"{file}.data").stat().st_size > (tmp_path / file).stat().st_size
        np.testing.assert_array_equal(run(tmp_path / file, rows[file]), before)


def test_compacting_a_clean_graph_changes_no_bit(plain: LoadedModel, tmp_path: Path) -> None:
    loaded = copy.deepcopy(plain)
    loaded.model.half().float()
    write_towers(loaded, tmp_path)
    rows = rows_for(loaded)
    for file in (VISUAL, TEXTUAL):
        before, size = run(tmp_path / file, rows[file]), (tmp_path / file).stat().st_size
        done, large = compact_weights(tmp_path / file)
        # Only what is folded is no longer representable: patch embedding and positions.
        assert large - 2 <= done <= large
        assert (tmp_path / file).stat().st_size < 0.7 * size
        np.testing.assert_array_equal(run(tmp_path / file, rows[file]), before)


def test_compacted_weights_lie_beside_the_graph_only_where_they_must(
    plain: LoadedModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded = copy.deepcopy(plain)
    loaded.model.half().float()
    file, data = tmp_path / VISUAL, tmp_path / f"{VISUAL}.data"
    monkeypatch.setattr(files, "SINGLE_FILE_LIMIT", 1000)
    write_vision(loaded, file)
    rows = rows_for(loaded)[VISUAL]
    before, size = run(file, rows), data.stat().st_size
    compact_weights(file)
    assert data.stat().st_size < 0.7 * size
    np.testing.assert_array_equal(run(file, rows), before)
    monkeypatch.setattr(files, "SINGLE_FILE_LIMIT", size)
    compact_weights(file)
    assert not data.exists()
    np.testing.assert_array_equal(run(file, rows), before)


# --- the generic path -------------------------------------------------------------------------


@pytest.mark.parametrize("name", UNUSUAL)
def test_what_is_unusual_is_named_and_not_guessed(name: str, tmp_path: Path) -> None:
    content, reasons = UNUSUAL[name]
    loaded = build(content, tmp_path)
    for write, reason in zip((write_vision, write_text), reasons, strict=True):
        file = tmp_path / f"{write.__name__}.onnx"
        if reason is None:
            write(loaded, file)
            continue
        with pytest.raises(UnfamiliarTower, match=reason):
            write(loaded, file)
        assert not file.exists()


def test_an_unusual_tower_goes_the_generic_way_and_says_so(tmp_path: Path) -> None:
    loaded = build(COCA, tmp_path)
    said: list[str] = []
    taken = write_towers(loaded, tmp_path, say=said.append)
    assert taken == {VISUAL: "clean", TEXTUAL: "generic"}
    assert "textual.onnx takes the generic path: text has a class token" in said
    rows = rows_for(loaded)
    for file, reference in expected(loaded, rows).items():
        np.testing.assert_allclose(run(tmp_path / file, rows[file]), reference, atol=1e-5)
        assert onnx.load(tmp_path / file).opset_import[0].version == OPSET


class Stranger(nn.Module):
    """Computes anything."""


def subclassed(module: nn.Module) -> None:
    module.__class__ = type("Changed", (type(module),), {})


def hooked(module: nn.Module) -> None:
    module.register_forward_hook(lambda *_: None)


def hooked_before(module: nn.Module) -> None:
    module.register_forward_pre_hook(lambda *_: None)


def overridden(module: nn.Module) -> None:
    module.forward = type(module).forward.__get__(module)  # type: ignore[method-assign]  # what the test is about


MUTATIONS: dict[str, Callable[[nn.Module], Any]] = {
    "a submodule": lambda module: module.add_module("stranger", Stranger()),
    "a parameter": lambda module: module.register_parameter(
        "stranger", nn.Parameter(torch.ones(1))
    ),
    "a buffer": lambda module: module.register_buffer("stranger", torch.ones(1)),
    "an attribute": lambda module: setattr(module, "stranger", True),
    "a subclass": subclassed,
    "a hook": hooked,
    "a hook before": hooked_before,
    "a method of its own": overridden,
}


def places(loaded: LoadedModel) -> Iterator[tuple[str, bool]]:
    """Every module of a model, and whether it belongs to the image tower."""
    for name, _ in loaded.model.named_modules():
        yield name, name.startswith("visual")


@settings(max_examples=100)
@given(data=st.data(), kind=st.sampled_from(sorted(MUTATIONS)))
def test_a_tower_changed_anywhere_is_a_stranger(
    plain: LoadedModel, separate: LoadedModel, data: st.DataObject, kind: str
) -> None:
    source = data.draw(st.sampled_from([plain, separate]))
    place, in_vision = data.draw(st.sampled_from(sorted(places(source))))
    loaded = copy.deepcopy(source)
    MUTATIONS[kind](loaded.model.get_submodule(place))
    for read, concerned in ((read_vision, in_vision), (read_text, not in_vision)):
        if concerned or not place:
            with pytest.raises(UnfamiliarTower):
                read(loaded)
        else:
            read(loaded)


def replaced(path: str, change: Callable[[Any], Any]) -> Callable[[Any], None]:
    """A change of one thing below the model, such as ``visual.ln_post``."""
    owner, _, name = path.rpartition(".")

    def apply(model: Any) -> None:
        holder = model.get_submodule(owner)
        before = getattr(holder, name)
        delattr(holder, name)  # a parameter gives way to nothing but a parameter
        setattr(holder, name, change(before))

    return apply


BLOCK = "visual.transformer.resblocks.1"
CHANGES: dict[str, Callable[[Any], None]] = {
    "another pool": replaced("visual.pool_type", lambda _: "max"),
    "another pool of text": replaced("text_pool_type", lambda _: "mean"),
    "another mask of text": replaced("attn_mask", lambda mask: mask.triu(3)),
    "a soft mask of text": replaced("attn_mask", lambda mask: mask.clamp(min=-5.0)),
    "another norm": replaced(f"{BLOCK}.ln_2", lambda _: nn.RMSNorm(128)),
    "no norm of text": replaced("ln_final", lambda _: nn.Identity()),
    "a norm without shift": replaced("visual.ln_post", lambda _: nn.LayerNorm(128, bias=False)),
    "a norm over two axes": replaced("visual.ln_post", lambda _: nn.LayerNorm((17, 128))),
    "another activation": replaced(f"{BLOCK}.mlp.gelu", lambda _: nn.SiLU()),
    "one more layer": replaced(
        f"{BLOCK}.mlp", lambda mlp: nn.Sequential(*mlp.children(), nn.Linear(128, 128))
    ),
    "attention to biases": replaced(
        f"{BLOCK}.attn", lambda _: nn.MultiheadAttention(128, 2, add_bias_kv=True, batch_first=True)
    ),
    "attention to zero": replaced(
        f"{BLOCK}.attn",
        lambda _: nn.MultiheadAttention(128, 2, add_zero_attn=True, batch_first=True),
    ),
    "tokens first": replaced(f"{BLOCK}.attn", lambda _: nn.MultiheadAttention(128, 2)),
    "keys of another width": replaced(
        f"{BLOCK}.attn", lambda _: nn.MultiheadAttention(128, 2, kdim=64, batch_first=True)
    ),
    "a normed weight": replaced(f"{BLOCK}.mlp.c_fc", weight_norm),
    "a patch that overlaps": replaced("visual.conv1.stride", lambda _: (4, 4)),
    "a patch with a bias": replaced("visual.conv1", lambda _: nn.Conv2d(3, 128, 8, 8)),
    "tokens of text of limited norm": replaced("token_embedding.max_norm", lambda _: 1.0),
    "a block of another kind": replaced(
        BLOCK, lambda _: parts.CustomResidualAttentionBlock(128, 2)
    ),
    "no block": replaced("visual.transformer.resblocks", lambda _: nn.ModuleList()),
    "a projection of text by a container": replaced(
        "text_projection", lambda _: nn.Sequential(nn.Linear(32, 24))
    ),
}


@pytest.mark.parametrize("name", CHANGES)
def test_a_tower_with_another_part_is_a_stranger(plain: LoadedModel, name: str) -> None:
    loaded = copy.deepcopy(plain)
    CHANGES[name](loaded.model)
    read = read_text if "text" in name else read_vision
    with pytest.raises(UnfamiliarTower):
        read(loaded)
