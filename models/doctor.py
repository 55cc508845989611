"""What really runs on this machine, and how fast."""

from __future__ import annotations

import os
import platform
import time
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version

import numpy as np

from clipcal.models.bundle import Bundle
from clipcal.models.session import CUDA, cuda_obstacle, open_image_encoder

PACKAGES = ("onnxruntime-gpu", "faiss-cpu", "numpy", "pillow", "torch", "open_clip_torch")
SECONDS_TO_MEASURE = 1.0


@dataclass(frozen=True, slots=True)
class Examination:
    """What was found.

    Attributes
    ----------
    python, system : str
        Versions.
    cores : int
        CPU cores that this process may use.
    packages : dict
        Installed versions; None where a package is missing.
    gpu : str or None
        Why CUDA cannot run here; None where it ran.
    provider : str
        What the model ran on.
    model : str
        The model that was timed.
    images_per_second : float
        The model alone, in full batches, pixels already in memory.
    """

    python: str
    system: str
    cores: int
    packages: dict[str, str | None]
    gpu: str | None
    provider: str
    model: str
    images_per_second: float


def examine(bundle: Bundle, *, device: str = "auto") -> Examination:
    """Look at the machine and time a model on it.

    Parameters
    ----------
    bundle : Bundle
        The model to time.
    device : {"auto", "cpu", "cuda"}
        Where it should run.

    Returns
    -------
    Examination
        What is there, and what was measured.

    Raises
    ------
    ProviderError
        If the device was asked for and is not there.
    """
    encoder = open_image_encoder(bundle, device=device)
    on_gpu = encoder.provider == CUDA
    obstacle = None if on_gpu else cuda_obstacle() or "CUDA was not asked for or did not start"
    preprocessing = bundle.manifest.preprocessing
    batch = np.random.default_rng(0).integers(
        0, 256, (max(encoder.batch_sizes), preprocessing.height, preprocessing.width, 3), np.uint8
    )
    encoder.encode(batch)  # the first run allocates
    started, images = time.perf_counter(), 0
    while time.perf_counter() - started < SECONDS_TO_MEASURE:
        encoder.encode(batch)
        images += len(batch)
    return Examination(
        python=platform.python_version(),
        system=f"{platform.system()} {platform.machine()}",
        cores=_cores(),
        packages={name: _version(name) for name in PACKAGES},
        gpu=obstacle,
        provider=encoder.provider,
        model=bundle.name,
        images_per_second=images / (time.perf_counter() - started),
    )


def _cores() -> int:
    affinity = getattr(os, "sched_getaffinity", None)  # not on every system
    return len(affinity(0)) if affinity else os.cpu_count() or 1


def _version(package: str) -> str | None:
    for name in (package, package.removesuffix("-gpu")):
        try:
            return version(name)
        except PackageNotFoundError:
            continue
    return None
