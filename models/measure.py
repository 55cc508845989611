"""What a model takes on this machine: images a second on every run time, and where time goes."""

from __future__ import annotations

import importlib.util
import json
import platform
import statistics
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime

from clipcal.errors import ProviderError
from clipcal.models.bundle import Bundle, Preprocessing
from clipcal.models.ceiling import Product
from clipcal.models.runtimes.cores import allowed_cpus
from clipcal.models.runtimes.onnx_runtime import open_on_cpu, session_options
from clipcal.models.session import DEVICES, ImageEncoder, Pixels, open_image_encoder

LEAST_RUNS = 3
SHORT_BATCH = 8
ON_CPU = ("cpu", "openvino")
FLAGS = ("avx2", "avx512f", "avx_vnni", "avx512_vnni", "amx_int8", "amx_bf16", "asimddp", "i8mm")
_PRODUCTS = ("MatMul", "Gemm")  # every kind of product has one of these in its operator's name
_RUNS_PROFILED = 5


@dataclass(frozen=True, slots=True)
class Rate:
    """Images a second, measured several times.

    Attributes
    ----------
    median, low, high : float
        Of the runs.
    runs : int
        How many.
    """

    median: float
    low: float
    high: float
    runs: int


@dataclass(frozen=True, slots=True)
class RunTime:
    """A model on one of the devices that clipcal knows.

    Attributes
    ----------
    device : str
        As ``--device`` takes it.
    provider : str or None
        What computed.
    rate : Rate or None
        Images a second in full batches, pixels in memory; None where it did not run.
    missing : str or None
        Why it did not run.
    """

    device: str
    provider: str | None
    rate: Rate | None
    missing: str | None


@dataclass(frozen=True, slots=True)
class Profile:
    """Where a graph's time goes in ONNX Runtime on the CPU.

    Attributes
    ----------
    batch : int
        Images in a run.
    seconds : float
        Of a run: the sum over operators of their medians over several runs.
    shares : dict
        Share of that by operator, the greatest first.
    products : tuple of Product
        The products of activations with weights in a run.
    """

    batch: int
    seconds: float
    shares: dict[str, float]
    products: tuple[Product, ...]


def rate(work: Callable[[], object], images: int, *, seconds: float) -> Rate:
    """Measure images a second, after one run to warm up.

    Parameters
    ----------
    work : callable
        Takes `images` images through.
    images : int
        How many that are.
    seconds : float
        About how long to measure; there are three runs at least.

    Returns
    -------
    Rate
        Over the runs.
    """
    work()
    rates: list[float] = []
    until = time.perf_counter() + seconds
    while len(rates) < LEAST_RUNS or time.perf_counter() < until:
        started = time.perf_counter()
        work()
        rates.append(images / (time.perf_counter() - started))
    return Rate(statistics.median(rates), min(rates), max(rates), len(rates))


def some_pixels(preprocessing: Preprocessing, count: int) -> Pixels:
    """Draw `count` images of noise in the size that a model takes."""
    shape = (count, preprocessing.height, preprocessing.width, 3)
    return np.random.default_rng(0).integers(0, 256, shape, np.uint8)


def encoder_rate(
    encoder: ImageEncoder, preprocessing: Preprocessing, *, seconds: float, batch: int | None = None
) -> Rate:
    """Measure an encoder alone, as many batches at once as it has streams.

    Parameters
    ----------
    encoder : ImageEncoder
        The opened model.
    preprocessing : Preprocessing
        Size of its images.
    seconds : float
        About how long to measure.
    batch : int, optional
        Images in a call; by default the encoder's largest batch.

    Returns
    -------
    Rate
        Images a second.
    """
    pixels = some_pixels(preprocessing, batch or max(encoder.batch_sizes))
    with ThreadPoolExecutor(encoder.streams) as pool:
        return rate(
            lambda: encode_at_once(pool, encoder, pixels),
            len(pixels) * encoder.streams,
            seconds=seconds,
        )


def encode_at_once(pool: Executor, encoder: ImageEncoder, pixels: Pixels) -> None:
    """Encode the same images once in each of an encoder's streams, all at the same time.

    Parameters
    ----------
    pool : Executor
        With as many threads as the encoder has streams.
    encoder : ImageEncoder
        The opened model.
    pixels : ndarray of uint8, (n, height, width, 3)
        The images.
    """
    for done in [pool.submit(encoder.encode, pixels) for _ in range(encoder.streams)]:
        done.result()


def run_times(
    bundle: Bundle,
    *,
    seconds: float,
    devices: Iterable[str] = DEVICES,
    threads: int | None = None,
    opened: Mapping[str, ImageEncoder] | None = None,
) -> list[RunTime]:
    """Measure a model on every device that is here; for the others, tell why not.

    Parameters
    ----------
    bundle : Bundle
        The model.
    seconds : float
        For each device that runs.
    devices : iterable of str
        Names as ``--device`` takes them; ``auto`` is passed over, being one of the others.
    threads : int, optional
        CPU threads of the model.
    opened : mapping of str to ImageEncoder, optional
        By device, what is open already: a GPU may have no room for the model twice.

    Returns
    -------
    list of RunTime
        In the order of `devices`.
    """
    open_already = opened or {}

    def encoder_on(device: str) -> ImageEncoder:
        found = open_already.get(device)
        return found or open_image_encoder(bundle, device=device, threads=threads)

    named = [device for device in devices if device != "auto"]
    return [_run_time(bundle, device, encoder_on, seconds) for device in named]


def _run_time(
    bundle: Bundle, device: str, encoder_on: Callable[[str], ImageEncoder], seconds: float
) -> RunTime:
    try:
        encoder = encoder_on(device)
        batch = _short_batch(encoder) if device in ON_CPU else None
        found = encoder_rate(encoder, bundle.manifest.preprocessing, seconds=seconds, batch=batch)
    except ProviderError as error:
        return RunTime(device, None, None, str(error))
    return RunTime(device, encoder.provider, found, None)


def _short_batch(encoder: ImageEncoder) -> int:
    """Return a batch that keeps a CPU as busy as a larger one, and takes little time."""
    sizes = encoder.batch_sizes
    return max((size for size in sizes if size <= SHORT_BATCH), default=min(sizes))


# --- where the time goes ----------------------------------------------------------------------


def profile(
    file: Path, pixels: Pixels, *, threads: int | None = None, half: bool = False
) -> Profile:
    """Run a visual graph in ONNX Runtime on the CPU, and add up its time by operator.

    Parameters
    ----------
    file : pathlib.Path
        The graph; it takes one input.
    pixels : ndarray, (n, ...)
        What it takes.
    threads : int, optional
        CPU threads; every physical core by default.
    half : bool
        Whether it computes in float16.

    Returns
    -------
    Profile
        Shares of the time, and the shapes of the products with weights.
    """
    with tempfile.TemporaryDirectory() as folder:
        session = _profiling_session(file, Path(folder), threads, half=half)
        feed = {session.get_inputs()[0].name: pixels}
        for _ in range(1 + _RUNS_PROFILED):
            session.run(None, feed)
        events = json.loads(Path(session.end_profiling()).read_text())
    return _summed([each for each in events if each.get("cat") == "Node"], len(pixels))


def _profiling_session(
    file: Path, folder: Path, threads: int | None, *, half: bool
) -> onnxruntime.InferenceSession:
    options = session_options(threads or 0)
    options.enable_profiling = True
    options.profile_file_prefix = str(folder / "profile")
    return open_on_cpu(file, options, half=half)


def _summed(events: Sequence[Mapping[str, Any]], batch: int) -> Profile:
    """Add up each operator's median over the runs after the first, which allocates."""
    by_node: dict[str, list[Mapping[str, Any]]] = defaultdict(list)
    for event in events:
        if event["name"].endswith("_kernel_time"):
            by_node[f"{event['args'].get('node_index')}|{event['name']}"].append(event)
    times: dict[str, float] = defaultdict(float)
    for runs in by_node.values():
        times[runs[0]["args"]["op_name"]] += statistics.median(each["dur"] for each in runs[1:])
    total = sum(times.values()) or 1.0
    shares = {name: times[name] / total for name in sorted(times, key=times.__getitem__)[::-1]}
    found = (_product(runs[0]["args"]) for runs in by_node.values())
    products = tuple(each for each in found if each is not None)
    return Profile(batch, total / 1e6, shares, products)


def _product(node: Mapping[str, Any]) -> Product | None:
    """Return the product of activations with weights that a node is, or None."""
    inputs = [next(iter(each.values())) for each in node["input_type_shape"]]
    outputs = [next(iter(each.values())) for each in node["output_type_shape"]]
    if node["op_name"].endswith("Conv") or node["op_name"] == "ConvInteger":
        return _convolution(inputs, outputs[0])
    if not any(word in node["op_name"] for word in _PRODUCTS):
        return None
    if sum(len(shape) > 2 for shape in inputs) > 1:  # activations with activations
        return None
    left, out = next(shape for shape in inputs if len(shape) > 1), outputs[0]
    return Product(int(np.prod(out[:-1])), left[-1], out[-1])


def _convolution(inputs: Sequence[Sequence[int]], out: Sequence[int]) -> Product | None:
    """Return a convolution as a product; one channel at a time it is none."""
    kernel = next((shape for shape in inputs[1:] if len(shape) == 4), None)
    if kernel is None or kernel[1] == 1:
        return None
    return Product(int(out[0] * np.prod(out[2:])), int(np.prod(kernel[1:])), kernel[0])


# --- the machine ------------------------------------------------------------------------------


def cores() -> int:
    """Count the logical CPUs that this process may use."""
    return allowed_cpus()


def processor() -> tuple[str, tuple[str, ...]]:
    """Name the processor, and what it has that int8 and bfloat16 products profit from.

    Returns
    -------
    tuple
        The name, and flags such as ``avx512_vnni``, in the words of Linux; elsewhere there are
        none to be read.
    """
    file = Path("/proc/cpuinfo")
    if not file.is_file():
        return platform.processor() or platform.machine(), ()
    lines = (line.partition(":") for line in file.read_text().splitlines())
    known = {key.strip().lower(): value.strip() for key, _, value in lines}
    flags = (known.get("flags") or known.get("features") or "").split()
    return known.get("model name") or platform.machine(), tuple(f for f in FLAGS if f in flags)


def peak_memory() -> int | None:
    """Return the greatest resident memory of this process so far, in bytes; None on Windows."""
    status = Path("/proc/self/status")
    if status.is_file():  # getrusage would count what forked this process, too
        fields = dict(line.split(":", 1) for line in status.read_text().splitlines())
        return int(fields["VmHWM"].split()[0]) * 1024
    if importlib.util.find_spec("resource") is None:
        return None
    import resource

    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most if sys.platform == "darwin" else most * 1024  # macOS counts bytes
