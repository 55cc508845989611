"""Laws of export: what is written equals torch, or nothing is written."""

from __future__ import annotations

import importlib.util
import json
import shutil
import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from numpy.typing import NDArray
from PIL import Image

pytest.importorskip("torch")
pytest.importorskip("open_clip")
import onnx
import torch
from onnx import numpy_helper
from safetensors.torch import save_file
from small_bundle import word_tokenizer

from clipcal.commands.export import export_command
from clipcal.demo.scenes import draw_scene
from clipcal.errors import BundleError, ImageError, ParityFailure, ProviderError
from clipcal.export import bundle_writer, candidates, parity
from clipcal.export.bundle_writer import default_folder, export_bundle
from clipcal.export.graph import compact_weights
from clipcal.export.int8.quantise import quantise
from clipcal.export.openclip.loading import hash_weights, load
from clipcal.export.openclip.source import licence_of, resolve
from clipcal.export.tokenizer_file import build_tokenizer
from clipcal.models.bundle import Bundle, Preprocessing, fingerprint_of
from clipcal.models.preprocess import to_pixels
from clipcal.models.registry import find_bundle
from clipcal.models.session import cpu_session, open_image_encoder, open_text_encoder
from clipcal.models.verification import TowerParity

SMALL_TEXT = {"context_length": 77, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 1}
VIT = {
    "embed_dim": 24,
    "vision_cfg": {"image_size": 32, "layers": 1, "width": 64, "patch_size": 8},
    "text_cfg": SMALL_TEXT,
}
RESNET = {
    "embed_dim": 24,
    "vision_cfg": {"image_size": 64, "layers": [1, 1, 1, 1], "width": 8, "patch_size": None},
    "text_cfg": SMALL_TEXT,
}
SIGLIP = {
    "embed_dim": 64,
    "init_logit_bias": -10,
    "custom_text": True,
    "vision_cfg": {
        "image_size": 160,
        "timm_model_name": "test_vit",
        "timm_model_pretrained": False,
        "timm_pool": "map",
        "timm_proj": "none",
    },
    "text_cfg": {
        "context_length": 16,
        "vocab_size": 32,
        "hf_tokenizer_name": "timm/ViT-B-16-SigLIP",
        "tokenizer_kwargs": {"clean": "canonicalize"},
        "width": 64,
        "heads": 2,
        "layers": 1,
        "no_causal_mask": True,
        "proj_bias": True,
        "pool_type": "last",
        "norm_kwargs": {"eps": 1e-6},
    },
}
MOBILECLIP = {
    "embed_dim": 24,
    "custom_text": True,
    "vision_cfg": {
        "image_size": 256,
        "timm_model_name": "fastvit_mci0",
        "timm_model_pretrained": False,
        "timm_pool": "avg",
        "timm_proj": None,
        "timm_drop": 0.0,
        "timm_drop_path": 0.0,
    },
    "text_cfg": {**SMALL_TEXT, "no_causal_mask": True},
}
SIGLIP_PREPROCESSING = {
    "mean": [0.5, 0.5, 0.5],
    "std": [0.5, 0.5, 0.5],
    "interpolation": "bicubic",
    "resize_mode": "squash",
}
MOBILECLIP_PREPROCESSING = {
    "mean": [0.0, 0.0, 0.0],
    "std": [1.0, 1.0, 1.0],
    "interpolation": "bilinear",
}


def write_config(
    folder: Path, name: str, config: dict[str, Any], preprocess: dict[str, Any] | None = None
) -> str:
    content = {"model_cfg": config, "preprocess_cfg": preprocess} if preprocess else config
    file = folder / f"{name}.json"
    file.write_text(json.dumps(content))
    return str(file)


@pytest.fixture(scope="module")
def workshop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("export")


@pytest.fixture(scope="module")
def vit(workshop: Path) -> Bundle:
    name = write_config(workshop, "vit", VIT)
    return export_bundle(f"{name}::random", workshop / "bundle" / "vit")


@pytest.fixture
def config(tmp_path: Path) -> str:
    return write_config(tmp_path, "vit", VIT)


@pytest.fixture
def ready_graphs(vit: Bundle, monkeypatch: pytest.MonkeyPatch) -> Callable[[Any], None]:
    """Put the graphs of `vit` in place of the exporter, so that a test need not wait for it."""

    def exporter(change: Callable[[Path], None] = lambda file: None) -> None:
        def copy(loaded: Any, folder: Path, **options: Any) -> dict[str, str]:
            for file in (vit.visual, vit.textual):
                change(Path(shutil.copy(file, folder)))
            return dict(vit.manifest.graphs)

        monkeypatch.setattr(candidates, "write_towers", copy)

    return exporter


def check_against_torch(bundle: Bundle, name: str, precision: float = 1e-4) -> None:
    """Compare the bundle, as users run it, with open_clip's own path from picture to vector."""
    loaded = load(resolve(name))
    rng = np.random.default_rng(3)
    pictures = [Image.fromarray(rng.integers(0, 256, size, dtype=np.uint8)) for size in SIZES]
    pixels = np.stack([to_pixels(each, bundle.manifest.preprocessing) for each in pictures])
    with torch.no_grad():
        images = torch.stack([loaded.transform(each) for each in pictures])
        expected = loaded.model.encode_image(images, normalize=True).numpy()
    encoder = open_image_encoder(bundle, device="cpu")
    for count in (1, 2, 7):
        found = encoder.encode(pixels[:count])
        np.testing.assert_allclose(found, expected[:count], atol=precision)
        np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1, atol=1e-5)


SIZES = [(50, 70, 3), (90, 40, 3), (64, 64, 3), (33, 200, 3), (256, 256, 3), (31, 31, 3), (8, 9, 3)]


# --- families ---------------------------------------------------------------------------------


def test_a_vision_transformer_equals_torch(vit: Bundle, workshop: Path) -> None:
    check_against_torch(vit, f"{workshop / 'vit.json'}::random")


@pytest.fixture(scope="module")
def resnet(workshop: Path) -> Bundle:
    name = write_config(workshop, "resnet", RESNET)
    return export_bundle(f"{name}::random", workshop / "bundle" / "resnet")


@pytest.fixture(scope="module")
def siglip(workshop: Path) -> Bundle:
    name = write_config(workshop, "siglip", SIGLIP, SIGLIP_PREPROCESSING)
    tokenizer = workshop / "tokenizer.json"
    word_tokenizer().save(str(tokenizer))
    return export_bundle(f"{name}::random", workshop / "bundle" / "siglip", tokenizer=tokenizer)


def check_int8(source: Path, preprocessing: Preprocessing, folder: Path) -> None:
    """Quantise an exported image tower, and compare what both files give."""
    drawn = (draw_scene(np.random.default_rng([0, number])) for number in range(8))
    pixels = np.stack([to_pixels(each.image, preprocessing) for each in drawn])
    found = quantise(source, folder / "int8.onnx", pixels, min_cosine=0.95)
    assert found.layers > len(found.in_float)
    one, other = (
        cpu_session(file).run(None, {"pixels": pixels})[0]
        for file in (source, folder / "int8.onnx")
    )
    assert (one * other).sum(axis=1).min() >= 0.95


# Those of one tower stand together: workers that share the tests out then export it once.
def test_a_resnet_equals_torch(resnet: Bundle, workshop: Path) -> None:
    check_against_torch(resnet, f"{workshop / 'resnet.json'}::random")


def test_a_resnet_becomes_int8(resnet: Bundle, tmp_path: Path) -> None:
    check_int8(resnet.visual, resnet.manifest.preprocessing, tmp_path)


def test_a_siglip_becomes_int8(siglip: Bundle, tmp_path: Path) -> None:
    check_int8(siglip.visual, siglip.manifest.preprocessing, tmp_path)


def test_a_siglip_equals_torch_and_keeps_its_bias(siglip: Bundle, workshop: Path) -> None:
    bundle = siglip
    check_against_torch(bundle, f"{workshop / 'siglip.json'}::random")
    assert bundle.manifest.logit_bias == -10
    assert bundle.manifest.preprocessing.resize_mode == "squash"
    assert bundle.manifest.context_length == 16
    vectors = open_text_encoder(bundle, device="cpu").encode(["a cat", "a_CAT!", "a dog"])
    np.testing.assert_array_equal(vectors[0], vectors[1])
    assert not np.array_equal(vectors[0], vectors[2])


def test_slow_a_mobileclip_equals_torch(workshop: Path) -> None:
    config = write_config(workshop, "mobileclip", MOBILECLIP, MOBILECLIP_PREPROCESSING)
    bundle = export_bundle(f"{config}::random", workshop / "bundle" / "mobileclip")
    check_against_torch(bundle, f"{config}::random")
    assert bundle.manifest.preprocessing.interpolation == "bilinear"
    assert bundle.manifest.preprocessing.std == (1, 1, 1)


def test_slow_half_precision_keeps_its_looser_promise(workshop: Path) -> None:
    name = write_config(workshop, "half", VIT) + "::random"
    bundle = export_bundle(name, workshop / "bundle" / "half", precision="fp16")
    check_against_torch(bundle, name, precision=1e-2)
    parity = bundle.manifest.parity
    assert bundle.manifest.precision == "fp16"
    assert parity.tolerance == 1e-2
    assert min(parity.visual.min_cosine, parity.textual.min_cosine) >= 0.999
    assert parity.visual.max_abs_error > 1e-6


# --- the bundle -------------------------------------------------------------------------------


def test_sentences_equal_torch(vit: Bundle, workshop: Path) -> None:
    import open_clip

    loaded = load(resolve(f"{workshop / 'vit.json'}::random"))
    sentences = ["a photo of a cat", "A Dog’s — life &amp; times", "", "word " * 100]
    with torch.no_grad():
        tokens = open_clip.SimpleTokenizer()(sentences)
        expected = loaded.model.encode_text(tokens, normalize=True).numpy()
    found = open_text_encoder(vit, device="cpu").encode(sentences)
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_graphs_take_any_number_of_rows(vit: Bundle) -> None:
    images, sentences = cpu_session(vit.visual), cpu_session(vit.textual)
    for count in (1, 3, 20):
        pixels = np.zeros((count, 32, 32, 3), np.uint8)
        assert images.run(None, {"pixels": pixels})[0].shape == (count, 24)
        tokens = np.zeros((count, 77), np.int64)
        assert sentences.run(None, {"tokens": tokens})[0].shape == (count, 24)


def test_company_does_not_change_an_embedding(vit: Bundle) -> None:
    pixels: NDArray[np.uint8] = np.random.default_rng(0).integers(0, 256, (32, 32, 32, 3), np.uint8)
    encoder = open_image_encoder(vit, device="cpu", batch_sizes=(8,))
    order = np.random.default_rng(1).permutation(32)
    expected = encoder.encode(pixels)
    np.testing.assert_array_equal(encoder.encode(pixels[order]), expected[order])
    np.testing.assert_array_equal(encoder.encode(pixels[:3]), expected[:3])


def test_the_manifest_says_what_was_exported(vit: Bundle, workshop: Path) -> None:
    loaded = load(resolve(f"{workshop / 'vit.json'}::random"))
    manifest = Bundle.load(vit.path).manifest
    assert manifest == vit.manifest
    assert (manifest.name, manifest.dim, manifest.precision) == ("vit::random", 24, "fp32")
    assert manifest.weights_sha256 == hash_weights(loaded.model.state_dict())
    assert manifest.logit_scale == pytest.approx(1 / 0.07, rel=1e-4)
    assert manifest.logit_bias is None
    assert manifest.licence is None
    assert manifest.parity.visual.max_abs_error <= manifest.parity.tolerance == 1e-4
    assert manifest.parity.textual.batch_sizes == (1, 2, 7)
    assert set(manifest.files) == {"visual.onnx", "textual.onnx", "tokenizer.json"}
    assert {"torch", "open_clip_torch", "clipcal"} <= set(manifest.tools)
    assert manifest.fingerprint == fingerprint_of(manifest)
    vit.verify()


def test_the_graph_has_the_opset_of_its_manifest(vit: Bundle) -> None:
    for file in (vit.visual, vit.textual):
        opsets = {each.domain: each.version for each in onnx.load(file).opset_import}
        assert opsets[""] == vit.manifest.opset


def test_the_graph_tells_nothing_of_the_machine_that_made_it(vit: Bundle) -> None:
    for file in (vit.visual, vit.textual):
        assert b"site-packages" not in file.read_bytes()
        assert (
            str(Path(bundle_writer.__file__).resolve().parents[1]).encode() not in file.read_bytes()
        )


# --- refusals ---------------------------------------------------------------------------------


def shift(file: Path, tower: str, by: float) -> None:
    """Falsify a weight of one tower, as a wrong exporter would."""
    if file.name == tower:
        model = onnx.load(file)
        weight = max(model.graph.initializer, key=lambda each: int(np.prod(each.dims)))
        values = numpy_helper.to_array(weight) * (1 + by)
        weight.CopyFrom(numpy_helper.from_array(values + np.float32(by), weight.name))
        onnx.save(model, file)


@pytest.mark.parametrize(("tower", "called"), [("visual", "image"), ("textual", "text")])
def test_a_graph_that_differs_from_torch_is_refused_and_nothing_is_left(
    config: str, tmp_path: Path, ready_graphs: Callable[..., None], tower: str, called: str
) -> None:
    ready_graphs(lambda file: shift(file, f"{tower}.onnx", by=0.05))
    out = tmp_path / "bundles" / "vit"
    with pytest.raises(ParityFailure, match=f"{called} tower of vit::random differs"):
        export_bundle(f"{config}::random", out)
    assert list(out.parent.iterdir()) == []


def test_a_graph_that_gives_nan_is_refused(
    config: str, tmp_path: Path, ready_graphs: Callable[..., None]
) -> None:
    ready_graphs(lambda file: shift(file, "visual.onnx", by=float("nan")))
    with pytest.raises(ParityFailure, match="differs from torch by up to inf"):
        export_bundle(f"{config}::random", tmp_path / "out")


def test_half_precision_that_differs_is_no_matter_of_torchs_version() -> None:
    found = TowerParity(max_abs_error=float("inf"), min_cosine=-1, batch_sizes=(1,), inputs="")
    with pytest.raises(ParityFailure, match="overflow.*--precision fp32") as info:
        parity._judge("image tower", found, "fp16")
    assert "pip" not in str(info.value)


def test_a_failure_leaves_the_bundle_that_was_there(
    config: str, tmp_path: Path, ready_graphs: Callable[..., None]
) -> None:
    ready_graphs()
    out = tmp_path / "out"
    before = export_bundle(f"{config}::random", out)
    ready_graphs(lambda file: shift(file, "visual.onnx", by=0.05))
    with pytest.raises(ParityFailure):
        export_bundle(f"{config}::random", out, overwrite=True)
    assert Bundle.load(out) == before
    before.verify()


def test_a_replacement_that_fails_at_the_last_step_leaves_the_bundle_that_was_there(
    config: str,
    tmp_path: Path,
    ready_graphs: Callable[..., None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ready_graphs()
    out = tmp_path / "bundles" / "out"
    before = export_bundle(f"{config}::random", out)
    rename = Path.rename

    def interrupted(self: Path, target: Path) -> Path:
        if self.name == "fp32":
            raise KeyboardInterrupt
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", interrupted)
    with pytest.raises(KeyboardInterrupt):
        export_bundle(f"{config}::random", out, overwrite=True, licence="MIT")
    assert Bundle.load(out) == before
    before.verify()
    assert [each.name for each in out.parent.iterdir()] == ["out"]


def test_a_bundle_is_only_replaced_on_request(
    config: str, tmp_path: Path, ready_graphs: Callable[..., None]
) -> None:
    ready_graphs()
    out = tmp_path / "bundles" / "out"
    first = export_bundle(f"{config}::random", out)
    with pytest.raises(BundleError, match="--force"):
        export_bundle(f"{config}::random", out)
    (out / "README.md").write_text("the model's card")
    again = export_bundle(f"{config}::random", out, overwrite=True, licence="MIT")
    assert again.fingerprint == first.fingerprint
    assert again.manifest.licence == "MIT"
    assert (out / "README.md").read_text() == "the model's card"
    again.verify()
    assert [each.name for each in out.parent.iterdir()] == ["out"]


def test_a_folder_of_something_else_is_never_replaced(config: str, tmp_path: Path) -> None:
    (tmp_path / "holiday").mkdir()
    (tmp_path / "holiday" / "photo.jpg").write_bytes(b"x")
    with pytest.raises(BundleError, match="not a bundle"):
        export_bundle(f"{config}::random", tmp_path / "holiday", overwrite=True)
    assert (tmp_path / "holiday" / "photo.jpg").exists()


@pytest.mark.parametrize("count", [1, 7, 15])
def test_pictures_and_noise_pass_in_every_batch_size_of_the_manifest(
    config: str,
    tmp_path: Path,
    ready_graphs: Callable[..., None],
    monkeypatch: pytest.MonkeyPatch,
    count: int,
) -> None:
    ready_graphs()
    pictures = [tmp_path / f"{number}.png" for number in range(count)]
    for number, file in enumerate(pictures):
        Image.new("RGB", (40, 30), (number, 2 * number, 0)).save(file)
    seen: dict[bytes, set[int]] = {}
    run = parity._Graph.__call__

    def noting(self: Any, rows: Any) -> Any:
        for row in rows:
            seen.setdefault(row.tobytes(), set()).add(len(rows))
        return run(self, rows)

    monkeypatch.setattr(parity._Graph, "__call__", noting)
    bundle = export_bundle(f"{config}::random", tmp_path / "out", images=pictures)
    found = bundle.manifest.parity
    assert found.visual.batch_sizes == found.textual.batch_sizes == (1, 2, 7)
    assert found.visual.inputs.startswith(f"{count} given pictures")
    # Distinct rows: pictures and sentences once each, whether or not they came again, and noise.
    assert len(seen) == count + 14 + len(parity._SENTENCES) + 14
    assert set(map(frozenset, seen.values())) == {frozenset({1, 2, 7})}


def test_a_picture_that_cannot_be_read_is_named(
    config: str, tmp_path: Path, ready_graphs: Callable[..., None]
) -> None:
    ready_graphs()
    broken = tmp_path / "broken.jpg"
    broken.write_bytes(b"no picture")
    with pytest.raises(ImageError, match=r"broken\.jpg"):
        export_bundle(f"{config}::random", tmp_path / "out", images=[broken])


def test_a_tokenizer_with_more_ids_than_the_tower_is_refused(tmp_path: Path) -> None:
    small = {**VIT, "text_cfg": {**SMALL_TEXT, "vocab_size": 1000}}
    name = write_config(tmp_path, "narrow", small) + "::random"
    with pytest.raises(BundleError, match="does not fit narrow::random"):
        export_bundle(name, tmp_path / "out")
    assert not (tmp_path / "out").exists()


# --- names and weights ------------------------------------------------------------------------


@pytest.fixture
def offline(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No hub, and no cache of one."""
    with socket.socket() as reserved:
        reserved.bind(("127.0.0.1", 0))
        port = reserved.getsockname()[1]
    monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{port}")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "cache"))


@pytest.mark.usefixtures("offline")
@pytest.mark.parametrize(
    "name", ["ViT-B-32::openai", "ViT-B-16-SigLIP::webli", "hf-hub:owner/repository"]
)
def test_without_network_the_hub_is_one_line_and_soon(tmp_path: Path, name: str) -> None:
    started = time.monotonic()
    with pytest.raises(BundleError, match=r"cannot be reached\. .*--weights FILE") as info:
        export_bundle(name, tmp_path / "out")
    assert time.monotonic() - started < 5
    assert "\n" not in str(info.value)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("ViT-B-23::openai", "Did you mean .*ViT-B-32"),
        ("vit-b-32::openai", "Did you mean ViT-B-32 "),
        ("ViT-B-32::laion2b", "Did you mean .*laion2b_e16"),
        ("convnext_base_w", "Which weights of convnext_base_w"),
        ("ViT-M-32", "knows no weights .*--weights FILE"),
    ],
)
def test_what_is_unknown_is_answered_with_what_is_near(name: str, hint: str) -> None:
    with pytest.raises(BundleError, match=hint):
        resolve(name)


@pytest.mark.parametrize(
    ("asked", "meant"),
    [
        ("ViT-B-32::openai", "ViT-B-32-quickgelu::openai"),
        ("ViT-B-32-quickgelu::openai", "ViT-B-32-quickgelu::openai"),
        ("ViT-B/32", "ViT-B-32-quickgelu::openai"),
        ("ViT-B-32::metaclip-400m", "ViT-B-32-quickgelu::metaclip_400m"),
        ("open_clip:ViT-B-32/laion2b_s34b_b79k", "ViT-B-32::laion2b_s34b_b79k"),
        ("ViT-B-16-SigLIP", "ViT-B-16-SigLIP::webli"),
        ("ViT-B-32::random", "ViT-B-32::random"),
    ],
)
def test_weights_are_exported_with_the_activation_they_were_trained_with(
    asked: str, meant: str
) -> None:
    source = resolve(asked)
    assert str(source.name) == meant
    assert bool(source.config.get("quick_gelu")) == ("quickgelu" in meant)


@pytest.mark.parametrize(
    ("name", "licence"),
    [("ViT-B-32::openai", "MIT"), ("ViT-B-16-SigLIP::webli", "Apache-2.0")],
)
def test_known_weights_bring_their_preprocessing(name: str, licence: str, tmp_path: Path) -> None:
    file = tmp_path / "downloaded.safetensors"
    file.write_bytes(b"")
    source = resolve(name, file)
    assert licence_of(source) == licence
    squash = "SigLIP" in name
    assert source.preprocess["resize_mode"] == ("squash" if squash else "shortest")
    # Without the tag they are still known where all weights of the architecture agree.
    untagged = resolve(name.partition("::")[0], file)
    assert untagged.preprocess.get("resize_mode") == source.preprocess["resize_mode"]
    assert untagged.name.pretrained == "downloaded"


def test_a_checkpoint_is_the_same_weights_in_any_container(config: str, tmp_path: Path) -> None:
    original = load(resolve(f"{config}::random"), seed=5)
    state = original.model.state_dict()
    torch.save(state, tmp_path / "plain.pt")
    torch.save({"state_dict": {f"module.{k}": v for k, v in state.items()}}, tmp_path / "run.pt")
    save_file(state, tmp_path / "safe.safetensors")
    hashes = {
        load(resolve(config, file)).weights_sha256
        for file in (tmp_path / name for name in ("plain.pt", "run.pt", "safe.safetensors"))
    }
    assert hashes == {original.weights_sha256}
    assert load(resolve(f"{config}::random"), seed=6).weights_sha256 not in hashes


class Bare(torch.nn.Module):
    """The weights of a module under the same names, and nothing that computes."""

    def __init__(self, source: torch.nn.Module) -> None:
        super().__init__()
        for name, child in source.named_children():
            self.add_module(name, Bare(child))
        for name, value in source.named_parameters(recurse=False):
            self.register_parameter(name, value)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x


@pytest.mark.filterwarnings("ignore:.*torch.jit.*:FutureWarning")  # to write what OpenAI wrote
def test_openais_own_archives_are_read(config: str, tmp_path: Path) -> None:
    original = load(resolve(f"{config}::random"), seed=5)
    published = Bare(original.model)
    published.register_buffer("input_resolution", torch.tensor(32))
    file = tmp_path / "archive.pt"
    torch.jit.trace(published, torch.zeros(1)).save(str(file))
    assert load(resolve(config, file)).weights_sha256 == original.weights_sha256
    # Whoever names no tag for such a file means OpenAI's weights, which need QuickGELU.
    assert resolve("ViT-B-32", file).name.architecture == "ViT-B-32-quickgelu"


@pytest.mark.parametrize("content", [b"", b"garbage", b"PK\x03\x04garbage"])
@pytest.mark.parametrize("suffix", [".pt", ".safetensors"])
def test_a_damaged_checkpoint_is_one_clear_line(
    config: str, tmp_path: Path, content: bytes, suffix: str
) -> None:
    file = tmp_path / f"weights{suffix}"
    file.write_bytes(content)
    with pytest.raises(BundleError, match="do not fit vit or are damaged") as info:
        load(resolve(config, file))
    assert "\n" not in str(info.value)


def test_a_checkpoint_of_another_architecture_is_refused(config: str, tmp_path: Path) -> None:
    wider = write_config(tmp_path, "wider", {**VIT, "embed_dim": 48})
    file = tmp_path / "wider.pt"
    torch.save(load(resolve(f"{wider}::random")).model.state_dict(), file)
    with pytest.raises(BundleError, match="do not fit vit"):
        load(resolve(config, file))


@pytest.mark.parametrize("content", ["{}", "[1]", "no json", '{"embed_dim": 3}'])
def test_a_file_that_is_no_configuration_is_refused(tmp_path: Path, content: str) -> None:
    file = tmp_path / "model.json"
    file.write_text(content)
    with pytest.raises(BundleError, match="configuration"):
        resolve(f"{file}::random")


def test_a_configuration_that_cannot_be_built_is_refused(tmp_path: Path) -> None:
    wrong = {**VIT, "vision_cfg": {"image_size": 32, "layers": 1, "width": 7, "patch_size": 8}}
    with pytest.raises(BundleError, match="cannot build wrong"):
        load(resolve(write_config(tmp_path, "wrong", wrong) + "::random"))


def test_a_configuration_needs_weights_that_exist(config: str, tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="without weights"):
        resolve(config)
    with pytest.raises(BundleError, match="no weights file"):
        resolve(config, tmp_path / "absent.pt")


# --- compact weights --------------------------------------------------------------------------


def initializers(file: Path) -> set[int]:
    """The kinds of the large weights."""
    large = (each for each in onnx.load(file).graph.initializer if np.prod(each.dims) >= 1024)
    return {each.data_type for each in large}


def test_compacting_halves_what_float16_holds_and_changes_no_bit(
    config: str, tmp_path: Path, ready_graphs: Callable[..., None]
) -> None:
    def rounded(file: Path) -> None:
        model = onnx.load(file)
        for weight in model.graph.initializer:
            if weight.data_type == onnx.TensorProto.FLOAT:
                values = numpy_helper.to_array(weight).astype(np.float16).astype(np.float32)
                weight.CopyFrom(numpy_helper.from_array(values, weight.name))
        onnx.save(model, file)

    ready_graphs()
    source = export_bundle(f"{config}::random", tmp_path / "plain")
    for file, input_name, shape, kind in (
        (source.visual, "pixels", (8, 32, 32, 3), np.uint8),
        (source.textual, "tokens", (8, 77), np.int64),
    ):
        rounded(file)
        before = file.stat().st_size
        rows = np.random.default_rng(0).integers(0, 256, shape).astype(kind)
        expected = cpu_session(file).run(None, {input_name: rows})[0]
        done, large = compact_weights(file)
        assert done == large > 0
        assert initializers(file) == {onnx.TensorProto.FLOAT16}
        assert file.stat().st_size < 0.7 * before  # the rest is the graph itself
        np.testing.assert_array_equal(cpu_session(file).run(None, {input_name: rows})[0], expected)


def test_compacting_leaves_alone_what_float16_would_round(vit: Bundle, tmp_path: Path) -> None:
    file = tmp_path / "visual.onnx"
    shutil.copy(vit.visual, file)
    done, large = compact_weights(file)
    assert done < large
    assert onnx.TensorProto.FLOAT in initializers(file)


# --- the command ------------------------------------------------------------------------------


def test_the_command_prints_one_json_object(
    config: str, tmp_path: Path, ready_graphs: Callable[..., None], capfd: Any
) -> None:
    ready_graphs()
    arguments = [f"{config}::random", "-o", str(tmp_path / "out"), "--json"]
    export_command.main(arguments, standalone_mode=False)
    printed = json.loads(capfd.readouterr().out)
    assert {"bundle", "name", "fingerprint", "dim", "precision", "parity", "seconds"} <= set(
        printed
    )
    assert printed["quantisation"] is printed["decisions"] is None
    assert printed["compared"] == {}
    assert printed["trials"] == []
    assert printed["fingerprint"] == Bundle.load(tmp_path / "out").fingerprint
    assert printed["parity"]["tolerance"] == 1e-4


def test_without_a_folder_the_bundle_goes_where_its_name_is_looked_up(
    config: str,
    tmp_path: Path,
    ready_graphs: Callable[..., None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("CLIPCAL_HOME", str(tmp_path / "home"))
    ready_graphs()
    (tmp_path / "pictures").mkdir()
    Image.new("RGB", (40, 30), "teal").save(tmp_path / "pictures" / "one.png")
    done = CliRunner().invoke(
        export_command, [f"{config}::random", "--verify", str(tmp_path / "pictures")]
    )
    assert done.exit_code == 0, done.output
    found = find_bundle("vit::random")
    assert found.path == default_folder(f"{config}::random")
    assert found.manifest.parity.visual.inputs.startswith("1 given pictures")


@pytest.mark.parametrize("precision", ["fp16", "int8"])
def test_each_precision_has_a_folder_of_its_own(config: str, precision: Any) -> None:
    full, other = (default_folder(f"{config}::random", None, each) for each in ("fp32", precision))
    assert other == full.with_name(f"{full.name}-{precision}")


@pytest.mark.parametrize("module", ["torch", "timm", "huggingface_hub", "onnx_ir"])
def test_without_the_extra_the_command_names_what_is_missing(
    config: str, monkeypatch: pytest.MonkeyPatch, module: str
) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(
        "importlib.util.find_spec", lambda name: None if name == module else find(name)
    )
    with pytest.raises(ProviderError, match=rf"needs {module}.*pip install 'clipcal\[export\]'"):
        export_command.main([f"{config}::random"], standalone_mode=False)


def test_slow_the_real_resnet50_equals_torch(tmp_path: Path) -> None:
    from clipcal.export.graph import export_graph
    from clipcal.export.openclip.modules import ImageTower

    loaded = load(resolve("RN50::random"))
    tower, pixels = ImageTower(loaded), torch.randint(0, 256, (3, 224, 224, 3), dtype=torch.uint8)
    export_graph(tower, pixels[:2], "pixels", tmp_path / "visual.onnx")
    with torch.no_grad():
        expected = tower.eval()(pixels).numpy()
    found = cpu_session(tmp_path / "visual.onnx").run(None, {"pixels": pixels.numpy()})[0]
    np.testing.assert_allclose(found, expected, atol=1e-4)


def test_the_tokenizer_of_the_bundle_is_the_one_built(vit: Bundle) -> None:
    built = build_tokenizer(SMALL_TEXT, 77, None, "vit")
    assert json.loads(vit.tokenizer.read_text("utf-8")) == json.loads(built.to_str())
