"""What really runs on this machine, and how fast."""

from __future__ import annotations

import platform
from dataclasses import dataclass, replace
from importlib.metadata import PackageNotFoundError, version

from clipcal.errors import ProviderError
from clipcal.models.bundle import Bundle
from clipcal.models.measure import encoder_rate, processor
from clipcal.models.runtimes import openvino
from clipcal.models.runtimes.choice import DEVICES, PROVIDERS, obstacle
from clipcal.models.runtimes.cores import allowed_cpus
from clipcal.models.session import ImageEncoder, open_image_encoder

PACKAGES = (
    "onnxruntime-gpu",
    "openvino",
    "faiss-cpu",
    "numpy",
    "pillow",
    "torch",
    "open_clip_torch",
)
SECONDS_TO_MEASURE = 1.0
_NOT_TIMED = (
    "not timed: TensorRT is here, and first builds its engines for minutes. "
    "Next: clipcal bench --device tensorrt"
)


@dataclass(frozen=True, slots=True)
class Timed:
    """A model on one device.

    Attributes
    ----------
    device : str
        As ``--device`` takes it.
    provider : str or None
        What computed; None where it did not run.
    arithmetic : str or None
        What most products were computed in.
    streams : int or None
        Batches that were computed at once.
    images_per_second : float or None
        The model alone, in full batches, pixels already in memory.
    missing : str or None
        Why it did not run, and the next step.
    """

    device: str
    provider: str | None = None
    arithmetic: str | None = None
    streams: int | None = None
    images_per_second: float | None = None
    missing: str | None = None


@dataclass(frozen=True, slots=True)
class Examination:
    """What was found.

    Attributes
    ----------
    python, system : str
        Versions.
    cores : int
        Logical CPUs that this process may use.
    processor : str
        The CPU's name.
    cpu_features : tuple of str
        What it has that int8 and bfloat16 products profit from, in the words of Linux; empty
        where the system does not tell.
    openvino : tuple of str
        What OpenVINO says that it computes natively; empty where it is not installed.
    packages : dict
        Installed versions; None where a package is missing.
    gpu : str or None
        Why CUDA cannot run here; None where it ran.
    provider : str
        What the model ran on.
    note : str or None
        What would be faster.
    model : str
        The model that was timed.
    images_per_second : float
        Of the provider taken.
    run_times : tuple of Timed
        Every device.
    """

    python: str
    system: str
    cores: int
    processor: str
    cpu_features: tuple[str, ...]
    openvino: tuple[str, ...]
    packages: dict[str, str | None]
    gpu: str | None
    provider: str
    note: str | None
    model: str
    images_per_second: float
    run_times: tuple[Timed, ...]


def examine(bundle: Bundle, *, device: str = "auto") -> Examination:
    """Look at the machine and time a model on every run time that is here.

    Parameters
    ----------
    bundle : Bundle
        The model to time.
    device : {"auto", "cpu", "cuda", "tensorrt", "openvino"}
        Where it must run.

    Returns
    -------
    Examination
        What is there, and what was measured.

    Raises
    ------
    ProviderError
        If the device was asked for and cannot be used.
    BundleError
        If the model's graph is damaged.
    """
    encoder = open_image_encoder(bundle, device=device)
    taken = _timed(bundle, device, encoder)
    found = tuple(_on(bundle, each, taken) for each in DEVICES if each != "auto")
    name, features = processor()
    return Examination(
        python=platform.python_version(),
        system=f"{platform.system()} {platform.machine()}",
        cores=allowed_cpus(),
        processor=name,
        cpu_features=features,
        openvino=_native(),
        packages={package: _version(package) for package in PACKAGES},
        gpu=next(each.missing for each in found if each.device == "cuda"),
        provider=encoder.provider,
        note=encoder.note,
        model=bundle.name,
        images_per_second=taken.images_per_second or 0.0,
        run_times=found,
    )


def _on(bundle: Bundle, device: str, taken: Timed) -> Timed:
    if PROVIDERS[device] == taken.provider:
        return replace(taken, device=device)
    reason = obstacle(device) or (_NOT_TIMED if device == "tensorrt" else None)
    if reason is not None:
        return Timed(device, missing=reason)
    try:
        return _timed(bundle, device, open_image_encoder(bundle, device=device))
    except ProviderError as error:
        return Timed(device, missing=str(error))


def _timed(bundle: Bundle, device: str, encoder: ImageEncoder) -> Timed:
    measured = encoder_rate(encoder, bundle.manifest.preprocessing, seconds=SECONDS_TO_MEASURE)
    return Timed(device, encoder.provider, encoder.arithmetic, encoder.streams, measured.median)


def _native() -> tuple[str, ...]:
    try:
        return openvino.capabilities()
    except ProviderError:
        return ()


def _version(package: str) -> str | None:
    for name in (package, package.removesuffix("-gpu")):
        try:
            return version(name)
        except PackageNotFoundError:
            continue
    return None
