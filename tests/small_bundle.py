"""A bundle made by hand, without torch: a patch convolution and a bag of words."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import tokenizers
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from tokenizers import models, normalizers, pre_tokenizers

from clipcal.models.bundle import (
    MANIFEST,
    TEXTUAL,
    TOKENIZER,
    VISUAL,
    Bundle,
    Manifest,
    Preprocessing,
    fingerprint_of,
    sha256_file,
)
from clipcal.models.verification import Parity, TowerParity

DIM, SIDE, LENGTH = 48, 32, 6
WORDS = ("<pad>", "<unk>", "a", "photo", "of", "cat", "dog", "knife", "bottle")
_TOWER = TowerParity(max_abs_error=0.0, min_cosine=1.0, batch_sizes=(1,), inputs="none")


def write_bundle(folder: Path, name: str = "handmade::test") -> Bundle:
    """Write the graphs, the tokenizer and a manifest that fits them."""
    folder.mkdir(parents=True)
    onnx.save(visual_graph(), folder / VISUAL)
    onnx.save(textual_graph(), folder / TEXTUAL)
    word_tokenizer().save(str(folder / TOKENIZER))
    return write_manifest(folder, name)


def write_manifest(folder: Path, name: str = "handmade::test") -> Bundle:
    """Describe what `folder` holds."""
    manifest = Manifest(
        name=name,
        dim=DIM,
        preprocessing=Preprocessing(height=SIDE, width=SIDE, mean=(0, 0, 0), std=(1, 1, 1)),
        context_length=LENGTH,
        logit_scale=100.0,
        opset=20,
        architecture="a" * 64,
        weights_sha256="b" * 64,
        parity=Parity(visual=_TOWER, textual=_TOWER, tolerance=1e-4),
        tools={},
        files={file.name: sha256_file(file) for file in folder.iterdir() if file.name != MANIFEST},
        fingerprint="",
    )
    manifest = manifest.model_copy(update={"fingerprint": fingerprint_of(manifest)})
    (folder / MANIFEST).write_text(manifest.model_dump_json())
    return Bundle.load(folder)


def visual_graph(dim: int = DIM) -> onnx.ModelProto:
    rng = np.random.default_rng(0)
    weights = {
        "scale": np.float32(1 / 255),
        "patches": rng.normal(size=(64, 3, 8, 8)).astype(np.float32) / 8,
        "first": rng.normal(size=(64 * 16, 200)).astype(np.float32) / 32,
        "second": rng.normal(size=(200, dim)).astype(np.float32) / 14,
    }
    nodes = [
        helper.make_node("Cast", ["pixels"], ["floats"], to=TensorProto.FLOAT),
        helper.make_node("Mul", ["floats", "scale"], ["scaled"]),
        helper.make_node("Transpose", ["scaled"], ["planes"], perm=[0, 3, 1, 2]),
        helper.make_node("Conv", ["planes", "patches"], ["grid"], strides=[8, 8]),
        helper.make_node("Flatten", ["grid"], ["flat"]),
        helper.make_node("MatMul", ["flat", "first"], ["hidden"]),
        helper.make_node("Tanh", ["hidden"], ["active"]),
        helper.make_node("MatMul", ["active", "second"], ["features"]),
    ]
    pixels = helper.make_tensor_value_info("pixels", TensorProto.UINT8, ["n", SIDE, SIDE, 3])
    return _model(nodes, pixels, weights, dim)


def textual_graph() -> onnx.ModelProto:
    table = np.random.default_rng(1).normal(size=(len(WORDS), DIM)).astype(np.float32)
    nodes = [
        helper.make_node("Gather", ["table", "tokens"], ["words"]),
        helper.make_node("ReduceSum", ["words", "axis"], ["features"], keepdims=0),
    ]
    tokens = helper.make_tensor_value_info("tokens", TensorProto.INT64, ["n", LENGTH])
    return _model(nodes, tokens, {"table": table, "axis": np.array([1])}, DIM)


def word_tokenizer(length: int = LENGTH) -> tokenizers.Tokenizer:
    vocabulary = {word: number for number, word in enumerate(WORDS)}
    tokenizer = tokenizers.Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.enable_truncation(length)
    tokenizer.enable_padding(length=length, pad_id=0, pad_token="<pad>")
    return tokenizer


def _model(
    nodes: list[onnx.NodeProto],
    source: onnx.ValueInfoProto,
    weights: dict[str, NDArray[np.float32]],
    dim: int,
) -> onnx.ModelProto:
    normalised = helper.make_node("LpNormalization", ["features"], ["embeddings"], axis=1, p=2)
    result = helper.make_tensor_value_info("embeddings", TensorProto.FLOAT, ["n", dim])
    tensors = [numpy_helper.from_array(np.asarray(value), key) for key, value in weights.items()]
    graph = helper.make_graph([*nodes, normalised], "tower", [source], [result], tensors)
    opset = helper.make_opsetid("", 20)
    model: onnx.ModelProto = helper.make_model(graph, opset_imports=[opset], ir_version=9)
    return model
