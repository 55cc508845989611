"""Laws of CUDA and TensorRT, wherever they run: parity with the CPU, the same bits, flat memory.

On a machine with an NVIDIA GPU: ``pip install 'clipcal[gpu,export]'``, then
``pytest tests/test_gpu.py``. Without a driver, or ONNX Runtime's part for it, everything here skips
and says why; with both, a GPU that does not start is a failure.
"""

from __future__ import annotations

import ctypes
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from clipcal.demo.scenes import draw_scene
from clipcal.errors import ProviderError
from clipcal.models.bundle import Bundle
from clipcal.models.preprocess import to_pixels
from clipcal.models.registry import find_bundle
from clipcal.models.runtimes import choice, nvidia
from clipcal.models.session import CUDA, ImageEncoder, open_image_encoder, open_text_encoder

SENTENCES = ["a photo of a bottle", "a knife on a table", "a person", "two dogs in the snow"]
FP32_TOLERANCE, FP16_TOLERANCE = 1e-4, 5e-3
INT8_COSINE = 0.99


def need(device: str) -> None:
    """Skip where the driver, or a library, is absent; what then does not start must fail."""
    reason = choice.obstacle(device)
    if reason is not None:
        pytest.skip(f"{device} does not run here: {reason}")


@pytest.fixture(scope="module")
def bundle() -> Bundle:
    return find_bundle(None)


@pytest.fixture(scope="module")
def on_cpu(bundle: Bundle) -> ImageEncoder:
    return open_image_encoder(bundle, device="cpu")


@pytest.fixture(scope="module")
def on_cuda(bundle: Bundle) -> ImageEncoder:
    need("cuda")
    return open_image_encoder(bundle, device="cuda")


def pixels(bundle: Bundle, count: int, seed: int = 0) -> NDArray[np.uint8]:
    shape = (count, bundle.manifest.preprocessing.height, bundle.manifest.preprocessing.width, 3)
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def half(bundle: Bundle, folder: Path) -> Bundle:
    """Make the float16 twin of a bundle's graphs."""
    onnx = pytest.importorskip("onnx")
    float16 = pytest.importorskip("onnxruntime.transformers.float16")
    folder.mkdir()
    for file in bundle.path.iterdir():
        (folder / file.name).write_bytes(file.read_bytes())
    for name in ("visual.onnx", "textual.onnx"):
        model = onnx.load(folder / name)
        converted = float16.convert_float_to_float16(model, keep_io_types=True)
        onnx.save(converted, folder / name)
    manifest = bundle.manifest.model_copy(update={"precision": "fp16"})
    return Bundle(folder, manifest)


def narrow(bundle: Bundle, folder: Path) -> Bundle:
    """Make the int8 twin of a bundle's image tower."""
    pytest.importorskip("onnx")
    from clipcal.export.int8.quantise import quantise

    folder.mkdir()
    for file in bundle.path.iterdir():
        (folder / file.name).write_bytes(file.read_bytes())
    quantise(bundle.visual, folder / "visual.onnx", scenes(bundle, 24))
    return Bundle(folder, bundle.manifest.model_copy(update={"precision": "int8"}))


def scenes(bundle: Bundle, count: int, seed: int = 0) -> NDArray[np.uint8]:
    drawn = (draw_scene(np.random.default_rng([seed, number])) for number in range(count))
    return np.stack([to_pixels(each.image, bundle.manifest.preprocessing) for each in drawn])


def test_a_gpu_that_seems_to_be_here_and_does_not_start_is_no_reason_to_skip(
    bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing(*_: object) -> None:
        raise RuntimeError("no kernel image is available")

    monkeypatch.setattr(choice, "obstacle", lambda device: None)
    monkeypatch.setattr(nvidia, "obstacle", lambda provider: None)
    monkeypatch.setattr(nvidia, "new_session", failing)
    need("cuda")
    with pytest.raises(ProviderError, match="no kernel image"):
        open_image_encoder(bundle, device="cuda")


def test_cuda_is_what_auto_takes_where_it_runs(bundle: Bundle) -> None:
    need("cuda")
    encoder = open_image_encoder(bundle)
    assert (encoder.provider, encoder.arithmetic, encoder.note) == (CUDA, "float32", None)


@pytest.mark.parametrize("count", [1, 3, 8, 31, 129, 200])
def test_cuda_gives_the_embeddings_of_the_cpu(
    bundle: Bundle, on_cpu: ImageEncoder, on_cuda: ImageEncoder, count: int
) -> None:
    rows = pixels(bundle, count, seed=count)
    np.testing.assert_allclose(on_cuda.encode(rows), on_cpu.encode(rows), atol=FP32_TOLERANCE)


def test_cuda_gives_the_text_vectors_of_the_cpu(bundle: Bundle) -> None:
    need("cuda")
    there, here = (
        open_text_encoder(bundle, device=device).encode(SENTENCES) for device in ("cuda", "cpu")
    )
    np.testing.assert_allclose(there, here, atol=FP32_TOLERANCE)


def test_float16_on_cuda_stays_within_its_tolerance(
    bundle: Bundle, on_cpu: ImageEncoder, tmp_path: Path
) -> None:
    need("cuda")
    encoder = open_image_encoder(half(bundle, tmp_path / "half"), device="cuda")
    assert encoder.arithmetic == "float16"
    rows = pixels(bundle, 20)
    np.testing.assert_allclose(encoder.encode(rows), on_cpu.encode(rows), atol=FP16_TOLERANCE)


def test_an_int8_bundle_on_cuda_agrees_with_the_cpu_and_computes_in_float32(
    bundle: Bundle, tmp_path: Path
) -> None:
    need("cuda")
    source = narrow(bundle, tmp_path / "narrow")
    there, here = (open_image_encoder(source, device=device) for device in ("cuda", "cpu"))
    assert (there.arithmetic, here.arithmetic) == ("float32", "int8")
    assert "--precision fp16" in str(there.note)
    rows = scenes(bundle, 11, seed=1)
    # A value between two steps may be rounded to either: no tolerance for single numbers.
    assert (there.encode(rows) * here.encode(rows)).sum(axis=1).min() >= INT8_COSINE


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_tensorrt_gives_the_embeddings_of_the_cpu(
    bundle: Bundle,
    on_cpu: ImageEncoder,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    precision: str,
) -> None:
    need("tensorrt")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    source = bundle if precision == "fp32" else half(bundle, tmp_path / "half")
    encoder = open_image_encoder(source, device="tensorrt", batch_sizes=(1, 8))
    rows = pixels(bundle, 11)
    # TensorRT may compute float32 in TF32, which the CPU never does.
    np.testing.assert_allclose(encoder.encode(rows), on_cpu.encode(rows), atol=FP16_TOLERANCE)
    assert any((tmp_path / "cache").rglob("*.engine"))


def test_a_row_on_cuda_is_the_same_bits_in_any_company_and_from_any_thread(
    bundle: Bundle, on_cuda: ImageEncoder
) -> None:
    rows = pixels(bundle, 32)
    alone = on_cuda.encode(rows)
    order = np.random.default_rng(1).permutation(32)
    np.testing.assert_array_equal(on_cuda.encode(rows[order]), alone[order])
    with ThreadPoolExecutor(4) as pool:
        for found in pool.map(on_cuda.encode, [rows] * 20):
            np.testing.assert_array_equal(found, alone)


def test_the_memory_of_the_gpu_stays_flat(bundle: Bundle, on_cuda: ImageEncoder) -> None:
    counts = (1, 128, 3, 40, 200, 8, 77)

    def embed_all() -> int:
        for count in counts:
            on_cuda.encode(pixels(bundle, count))
        return _used_on_the_gpu()

    embed_all()
    before = embed_all()
    assert max(embed_all() for _ in range(5)) - before <= 64 * 2**20


def _used_on_the_gpu() -> int:
    """Ask the driver how many bytes of the first device are taken."""
    driver = ctypes.CDLL("libcuda.so.1")
    free, total, context = ctypes.c_size_t(), ctypes.c_size_t(), ctypes.c_void_p()
    calls = [
        driver.cuInit(0),
        driver.cuDevicePrimaryCtxRetain(ctypes.byref(context), 0),
        driver.cuCtxPushCurrent_v2(context),
        driver.cuMemGetInfo_v2(ctypes.byref(free), ctypes.byref(total)),
        driver.cuCtxPopCurrent_v2(ctypes.byref(context)),
        driver.cuDevicePrimaryCtxRelease_v2(0),
    ]
    if any(calls):
        pytest.skip(f"the driver does not tell its memory ({calls})")
    return total.value - free.value
