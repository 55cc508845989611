"""Laws of the run times: a device is what it says, a missing one says why and what to do."""

from __future__ import annotations

import contextlib
import ctypes
import importlib.util
import os
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import platformdirs
import pytest

pytest.importorskip("onnx")
import onnx
from small_bundle import DIM, SIDE, visual_graph, write_bundle, write_manifest

from clipcal.commands import common
from clipcal.errors import BundleError, ProviderError
from clipcal.index import shards
from clipcal.models import measure
from clipcal.models.bundle import Bundle
from clipcal.models.runtimes import choice, cores, nvidia, onnx_runtime
from clipcal.models.runtimes import openvino as on_openvino
from clipcal.models.runtimes.base import GraphFile, Port, streams_for
from clipcal.models.runtimes.nvidia import CUDA, TENSORRT, GpuSession
from clipcal.models.runtimes.onnx_runtime import CPU, CpuSession
from clipcal.models.session import open_image_encoder, open_text_encoder

needs_openvino = pytest.mark.skipif(
    on_openvino.obstacle() is not None, reason="openvino is not installed"
)
ALL = [TENSORRT, CUDA, CPU]


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return write_bundle(tmp_path_factory.mktemp("models") / "small")


@pytest.fixture
def no_openvino(monkeypatch: pytest.MonkeyPatch) -> None:
    real = importlib.util.find_spec

    def find(name: str, *rest: Any) -> Any:
        return None if name == "openvino" else real(name, *rest)

    monkeypatch.setattr(importlib.util, "find_spec", find)


def graph_file(bundle: Bundle, **changes: Any) -> GraphFile:
    file = GraphFile(bundle.visual, "0" * 64, "fp32", (SIDE, SIDE, 3), threads=1)
    return replace(file, **changes)


def noise(count: int) -> Any:
    return np.random.default_rng(0).integers(0, 256, (count, SIDE, SIDE, 3), np.uint8)


# --- a GPU that only seems to be there ----------------------------------------------------------


class Pretender:
    """A session that says which provider it ended up with, whatever was asked."""

    def __init__(self, file: Path, provider: str) -> None:
        self._real = onnxruntime.InferenceSession(str(file), providers=[CPU])
        self._provider = provider

    def get_providers(self) -> list[str]:
        return [self._provider, CPU]

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)


@pytest.fixture
def pretend(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Callable[[Callable[[Path], Any]], list[Any]]:
    """Let a GPU look possible; what is handed over makes what then really opens.

    Buffers lie in ordinary memory, so that binding them is really tried.
    """
    asked: list[Any] = []

    def install(open_there: Callable[[Path], Any]) -> list[Any]:
        def opener(file: Path, options: Any, providers: list[Any]) -> Any:
            asked.extend(providers)
            return open_there(file)

        monkeypatch.setattr(nvidia, "has_driver", lambda: True)
        monkeypatch.setattr(nvidia, "obstacle", lambda provider: None)
        monkeypatch.setattr(nvidia, "new_session", opener)
        monkeypatch.setattr(nvidia, "_DEVICE", "cpu")
        monkeypatch.setattr(platformdirs, "user_cache_path", lambda name: tmp_path / name)
        return asked

    return install


def failing(file: Path) -> Any:
    raise RuntimeError("CUDA failure 2: out of memory\nand much more")


def fallen_back(file: Path) -> Any:
    return Pretender(file, CPU)


def test_auto_takes_cuda_where_it_starts(bundle: Bundle, pretend: Any) -> None:
    asked = pretend(lambda file: Pretender(file, CUDA))
    encoder = open_image_encoder(bundle)
    assert (encoder.provider, encoder.arithmetic, encoder.note) == (CUDA, "float32", None)
    assert encoder.batch_sizes == (1, 8, 32, 128)
    assert [each if isinstance(each, str) else each[0] for each in asked] == [CUDA, CPU]


def test_buffers_that_are_used_again_give_the_bits_of_fresh_memory(
    bundle: Bundle, pretend: Any
) -> None:
    pretend(lambda file: Pretender(file, CUDA))
    encoder = open_image_encoder(bundle, device="cuda", threads=1)
    plain = open_image_encoder(bundle, device="cpu", threads=1, batch_sizes=encoder.batch_sizes)
    pixels = noise(140)
    counts = (128, 1, 8, 3, 32, 140, 8) * 3
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda count: encoder.encode(pixels[-count:]), counts))
    for count, embeddings in zip(counts, found, strict=True):
        np.testing.assert_array_equal(embeddings, plain.encode(pixels[-count:]))


@pytest.mark.parametrize("open_there", [failing, fallen_back])
@pytest.mark.usefixtures("no_openvino")
def test_cuda_that_does_not_start_is_an_error_if_asked_for_and_told_if_not(
    bundle: Bundle, pretend: Any, open_there: Callable[[Path], Any]
) -> None:
    pretend(open_there)
    encoder = open_image_encoder(bundle)
    assert encoder.provider == CPU
    assert encoder.note is not None
    assert encoder.note.startswith("CUDA was not taken: ")
    for device, name in (("cuda", "CUDA"), ("tensorrt", "TensorRT")):
        expected = rf"^{name} was asked for and cannot be used: .*--device cpu"
        with pytest.raises(ProviderError, match=expected) as info:
            open_image_encoder(bundle, device=device)
        assert "\n" not in str(info.value)


def test_a_provider_that_fell_back_names_the_cuda_it_was_built_for(
    bundle: Bundle, pretend: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    pretend(fallen_back)
    monkeypatch.setattr(onnxruntime, "cuda_version", "13.0", raising=False)
    monkeypatch.setattr(nvidia, "_missing_library", lambda provider: "libcublasLt.so.13: no file")
    expected = r"libcublasLt.so.13: no file; ONNX Runtime \S+ expects CUDA 13.0\). Next: pip .*gpu"
    with pytest.raises(ProviderError, match=expected):
        open_image_encoder(bundle, device="cuda")


def test_tensorrt_gets_one_engine_for_all_sizes_kept_by_content(
    bundle: Bundle, pretend: Any, tmp_path: Path
) -> None:
    asked = pretend(lambda file: Pretender(file, TENSORRT))
    session = GpuSession(graph_file(bundle), TENSORRT)
    assert (session.provider, session.arithmetic) == (TENSORRT, "tf32")
    (name, options), *others = asked
    assert (name, [each if isinstance(each, str) else each[0] for each in others]) == (
        TENSORRT,
        [CUDA, CPU],
    )
    assert options["trt_profile_min_shapes"] == f"pixels:1x{SIDE}x{SIDE}x3"
    assert options["trt_profile_max_shapes"] == f"pixels:128x{SIDE}x{SIDE}x3"
    cache = Path(options["trt_engine_cache_path"])
    assert cache.is_dir()
    assert cache.is_relative_to(tmp_path)
    assert cache.name.startswith("0" * 16)
    assert options["trt_fp16_enable"] == "0"
    asked.clear()
    GpuSession(graph_file(bundle, precision="fp16"), TENSORRT)
    assert asked[0][1]["trt_fp16_enable"] == "1"


def test_an_int8_bundle_on_a_gpu_computes_in_floats_and_says_what_is_for_a_gpu(
    bundle: Bundle, pretend: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("NVIDIA_TF32_OVERRIDE", raising=False)
    narrow = Bundle(bundle.path, bundle.manifest.model_copy(update={"precision": "int8"}))
    for provider, device, arithmetic in (
        (CUDA, "auto", "float32"),
        (CUDA, "cuda", "float32"),
        (TENSORRT, "tensorrt", "tf32"),
    ):
        pretend(lambda file, provider=provider: Pretender(file, provider))
        encoder = open_image_encoder(narrow, device=device)
        assert (encoder.provider, encoder.arithmetic) == (provider, arithmetic)
        assert "--precision fp16" in str(encoder.note)
        assert open_text_encoder(narrow, device=device).note is None


def test_only_the_images_of_an_int8_bundle_are_computed_in_int8(bundle: Bundle) -> None:
    narrow = Bundle(bundle.path, bundle.manifest.model_copy(update={"precision": "int8"}))
    images, sentences = (
        each(narrow, device="cpu") for each in (open_image_encoder, open_text_encoder)
    )
    assert (images.arithmetic, images.note) == ("int8", None)
    assert (sentences.arithmetic, sentences.note) == ("float32", None)


def test_auto_never_takes_tensorrt(bundle: Bundle, pretend: Any) -> None:
    asked = pretend(lambda file: Pretender(file, CUDA))
    open_image_encoder(bundle)
    assert TENSORRT not in [each[0] for each in asked]


# --- what is missing ----------------------------------------------------------------------------


def without(monkeypatch: pytest.MonkeyPatch, library: str) -> None:
    real = ctypes.CDLL

    def load(name: str, *rest: Any, **more: Any) -> Any:
        if library in name:
            raise OSError(f"{name}: cannot open shared object file")
        return real(name, *rest, **more)

    monkeypatch.setattr(ctypes, "CDLL", load)


def test_an_unknown_device_is_refused_with_the_known_ones(bundle: Bundle) -> None:
    with pytest.raises(ProviderError, match="auto, cpu, cuda, tensorrt, openvino"):
        open_image_encoder(bundle, device="tpu")


def test_without_a_driver_cuda_names_the_driver(
    bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: ALL)
    without(monkeypatch, "cuda")
    with pytest.raises(ProviderError, match=r"no NVIDIA driver .* Next: .*--device cpu"):
        open_image_encoder(bundle, device="cuda")


def test_a_runtime_for_the_cpu_alone_names_the_extra(
    bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: [CPU])
    monkeypatch.setattr(nvidia, "version", lambda package: "1")
    with pytest.raises(ProviderError, match=r"uninstall -y onnxruntime .*'clipcal\[gpu\]'"):
        open_text_encoder(bundle, device="cuda")


def test_without_its_library_tensorrt_names_the_package(
    bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: ALL)
    monkeypatch.setattr(onnxruntime, "cuda_version", "12.8", raising=False)
    monkeypatch.setattr(nvidia, "has_driver", lambda: True)
    monkeypatch.setattr(nvidia, "_provider_library", lambda provider: Path("libtrt.so"))
    monkeypatch.setattr(nvidia, "_load_error", lambda file: "libnvinfer.so.10: no such file")
    expected = r"libnvinfer.so.10: no such file; .* CUDA 12.8\). Next: pip .*tensorrt-cu12==10"
    with pytest.raises(ProviderError, match=expected):
        open_image_encoder(bundle, device="tensorrt")


@pytest.mark.usefixtures("no_openvino")
def test_without_openvino_its_extra_is_named_and_auto_says_nothing(bundle: Bundle) -> None:
    with pytest.raises(ProviderError, match=r"pip install 'clipcal\[openvino\]'"):
        open_image_encoder(bundle, device="openvino")
    assert open_image_encoder(bundle).note is None


def test_a_graph_of_a_later_opset_asks_for_a_newer_run_time(tmp_path: Path) -> None:
    bundle = write_bundle(tmp_path / "later")
    graph = visual_graph()
    graph.opset_import[0].version = 99
    onnx.save(graph, bundle.visual)
    with pytest.raises(ProviderError, match=r"needs a newer ONNX Runtime .*Opset 99.*pip install"):
        open_image_encoder(write_manifest(bundle.path), device="cpu")


@needs_openvino
def test_what_openvino_cannot_read_runs_elsewhere_and_auto_says_so(
    bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(file: GraphFile) -> Any:
        raise RuntimeError("Check 'x' failed at a.cpp:1:\n-- No conversion rule found for: Foo\n")

    monkeypatch.setattr(on_openvino, "_read", refuse)
    encoder = open_image_encoder(bundle)
    assert encoder.provider != "OpenVINO"
    if encoder.provider == CPU:
        assert "OpenVINO was not taken" in str(encoder.note)
    with pytest.raises(ProviderError, match=r"\(-- No conversion rule found for: Foo\).*--device"):
        open_image_encoder(bundle, device="openvino")


def test_the_command_line_knows_every_device() -> None:
    assert common.DEVICES == choice.DEVICES


# --- OpenVINO -----------------------------------------------------------------------------------


@needs_openvino
def test_openvino_is_called_by_its_name_and_agrees_with_onnx_runtime(bundle: Bundle) -> None:
    ours, theirs = (open_image_encoder(bundle, device=name) for name in ("openvino", "cpu"))
    assert ours.provider == "OpenVINO"
    tolerance = 1e-5 if ours.arithmetic == "float32" else 2e-2
    np.testing.assert_allclose(ours.encode(noise(5)), theirs.encode(noise(5)), atol=tolerance)


@needs_openvino
def test_openvino_is_taken_where_no_gpu_is(bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nvidia, "has_driver", lambda: False)
    encoder = open_image_encoder(bundle)
    assert (encoder.provider, encoder.note) == ("OpenVINO", None)


@pytest.mark.parametrize(
    ("precision", "native", "exact", "chosen"),
    [
        ("fp32", {"FP32"}, False, "f32"),
        ("fp32", {"FP32", "BF16", "FP16"}, False, "bf16"),
        ("fp32", {"FP32", "BF16"}, True, "f32"),
        ("fp16", {"FP32", "FP16"}, False, "f16"),
        ("fp16", {"FP32"}, False, "f32"),
        ("int8", {"FP32", "BF16", "INT8"}, False, "bf16"),
    ],
)
def test_floats_are_narrowed_only_where_the_cpu_has_instructions_for_it(
    precision: str, native: set[str], exact: bool, chosen: str
) -> None:
    assert on_openvino.float_precision(precision, native, exact=exact) == chosen


@needs_openvino
def test_sentences_are_never_embedded_in_bfloat16(
    bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, hints = on_openvino._core(), []

    class WithAmx:
        def get_property(self, *_: Any) -> list[str]:
            return ["FP32", "BF16"]

        def compile_model(self, model: Any, device: str, settings: dict[str, Any]) -> Any:
            hints.append(settings["INFERENCE_PRECISION_HINT"])
            return real.compile_model(model, device, settings)

    monkeypatch.setattr(on_openvino, "_core", WithAmx)
    open_image_encoder(bundle, device="openvino")
    open_text_encoder(bundle, device="openvino")
    assert hints == ["bf16", "f32"]


# --- threads, memory, silence -------------------------------------------------------------------


def test_the_cpu_is_called_by_its_name(bundle: Bundle) -> None:
    encoder = open_image_encoder(bundle, device="cpu")
    assert (encoder.provider, encoder.arithmetic, encoder.note) == (CPU, "float32", None)
    assert open_text_encoder(bundle, device="cpu").provider == CPU


@pytest.mark.parametrize("threads", [1, 2, 3, 4, 9, 64])
def test_callers_and_pool_together_are_the_threads_granted(
    bundle: Bundle, threads: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[int] = []
    real = onnx_runtime.session_options

    def spy(count: int) -> Any:
        seen.append(count)
        return real(1)

    monkeypatch.setattr(onnx_runtime, "session_options", spy)
    session = CpuSession(graph_file(bundle, threads=threads))
    assert session.streams == streams_for(threads) <= 4
    assert session.streams + seen[0] - 1 == threads  # a caller is one of its pool's threads


def test_cores_are_what_affinity_and_the_container_grant(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cores, "_GROUP", tmp_path)
    monkeypatch.setattr(cores, "_affinity", lambda: set(range(16)))
    monkeypatch.setattr(cores, "_siblings", lambda cpu: str(cpu // 2))
    monkeypatch.setattr(os, "cpu_count", lambda: 64)
    first = tmp_path / "cpu"
    first.mkdir()
    (first / "cpu.cfs_period_us").write_text("100000\n")

    def counted() -> tuple[int, int]:
        assert measure.cores() == shards._processors() == cores.allowed_cpus()
        return cores.allowed_cpus(), cores.usable_cores()

    assert counted() == (16, 8)
    for quota, unlimited, written in (
        (first / "cpu.cfs_quota_us", "-1\n", "{}\n"),
        (tmp_path / "cpu.max", "max 100000\n", "{} 100000\n"),
    ):
        quota.write_text(unlimited)
        assert counted() == (16, 8)
        quota.write_text(written.format(300_000))
        assert counted() == (3, 3)
        quota.write_text(written.format(20_000))
        assert counted() == (1, 1)
        quota.unlink()


def test_counting_cores_loads_nothing() -> None:
    code = (
        "import sys, clipcal.models.runtimes.cores\n"
        "assert not {'onnxruntime', 'numpy', 'openvino'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_an_unknown_length_fits_and_another_does_not() -> None:
    wanted = Port("float32", (DIM,))
    assert Port("float32", (-1,)).fits(wanted)
    assert not Port("float32", (DIM + 1,)).fits(wanted)
    assert not Port("float16", (DIM,)).fits(wanted)
    assert not Port("float32", (DIM, 1)).fits(wanted)


def test_opening_and_running_write_nothing(
    bundle: Bundle, capfd: pytest.CaptureFixture[str]
) -> None:
    for device in choice.DEVICES:
        with contextlib.suppress(ProviderError):
            open_image_encoder(bundle, device=device).encode(noise(3))
            open_text_encoder(bundle, device=device).encode(["a cat"])
    assert capfd.readouterr() == ("", "")


def test_openvino_is_loaded_only_where_it_is_used(bundle: Bundle) -> None:
    code = (
        "import sys, clipcal.models.session as s, clipcal.models.bundle as b, pathlib\n"
        f"s.open_image_encoder(b.Bundle.load(pathlib.Path({str(bundle.path)!r})), device='cpu')\n"
        "assert 'openvino' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_damaged_graph_is_the_bundles_fault_on_a_gpu_too(tmp_path: Path, pretend: Any) -> None:
    pretend(failing)
    bundle = write_bundle(tmp_path / "small")
    bundle.visual.write_bytes(b"this is no graph")
    for device in ("cuda", "tensorrt", "auto"):
        with pytest.raises(BundleError, match="clipcal export"):
            open_image_encoder(bundle, device=device)
