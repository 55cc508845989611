"""Which run time opens a graph: the one that was asked for, or the fastest that starts."""

from __future__ import annotations

from collections.abc import Callable

from clipcal.errors import ProviderError
from clipcal.models.runtimes import nvidia, openvino
from clipcal.models.runtimes.base import GraphFile, GraphSession
from clipcal.models.runtimes.nvidia import CUDA, TENSORRT, GpuSession
from clipcal.models.runtimes.onnx_runtime import CPU, CpuSession, cpu_session
from clipcal.models.runtimes.openvino import OPENVINO, OpenVinoSession

DEVICES = ("auto", "cpu", "cuda", "tensorrt", "openvino")
PROVIDERS = {"cpu": CPU, "cuda": CUDA, "tensorrt": TENSORRT, "openvino": OPENVINO}
NAMES = {"cuda": "CUDA", "tensorrt": "TensorRT", "openvino": OPENVINO}
_INT8_ON_A_GPU = (
    "An int8 bundle is for CPUs; on a GPU its products are computed in floats. An fp16 bundle is "
    "for a GPU: clipcal export NAME --precision fp16"
)


def open_graph(file: GraphFile, device: str) -> tuple[GraphSession, str | None]:
    """Open a graph.

    Parameters
    ----------
    file : GraphFile
        The graph.
    device : {"auto", "cpu", "cuda", "tensorrt", "openvino"}
        ``auto`` takes CUDA where it really starts, else OpenVINO where it is installed and reads
        the graph, else ONNX Runtime on the CPU. TensorRT builds its engines for minutes and is
        taken only where it is asked for.

    Returns
    -------
    session : GraphSession
        What computes.
    note : str or None
        What would be faster: with ``auto``, why something that seems to be here was not taken;
        on a GPU, that an int8 graph is not for it.

    Raises
    ------
    ProviderError
        If the device was asked for and cannot be used.
    BundleError
        If the graph is damaged.
    """
    if device not in DEVICES:
        raise ProviderError(f"There is no device {device!r}. Choose one of {', '.join(DEVICES)}.")
    session, notes = _fastest(file) if device == "auto" else (_asked_for(file, device), [])
    if file.precision == "int8" and session.provider in (CUDA, TENSORRT):
        notes.append(_INT8_ON_A_GPU)
    return session, " ".join(notes) or None


def obstacle(device: str) -> str | None:
    """Say why a device cannot be used here, as far as can be told without opening a graph."""
    if device == "openvino":
        return openvino.obstacle()
    provider = {"cuda": CUDA, "tensorrt": TENSORRT}.get(device)
    return nvidia.obstacle(provider) if provider else None


def _asked_for(file: GraphFile, device: str) -> GraphSession:
    if device == "cpu":
        return CpuSession(file)
    try:
        return _open(file, device)
    except ProviderError as error:
        # A damaged graph is told as such, whatever the device.
        cpu_session(file.path, half=file.precision == "fp16")
        raise ProviderError(f"{NAMES[device]} was asked for and cannot be used: {error}") from error


def _open(file: GraphFile, device: str) -> GraphSession:
    openers: dict[str, Callable[[], GraphSession]] = {
        "cuda": lambda: GpuSession(file, CUDA),
        "tensorrt": lambda: GpuSession(file, TENSORRT),
        "openvino": lambda: OpenVinoSession(file),
    }
    return openers[device]()


def _fastest(file: GraphFile) -> tuple[GraphSession, list[str]]:
    """Open what is fastest, and say why something faster was not taken."""
    passed_over: list[str] = []
    for device in _present():
        try:
            return _open(file, device), passed_over
        except ProviderError as error:
            passed_over.append(f"{NAMES[device]} was not taken: {error}")
    return CpuSession(file), passed_over


def _present() -> list[str]:
    """List what seems to be here, the fastest first."""
    seems = {"cuda": nvidia.has_driver(), "openvino": openvino.obstacle() is None}
    return [device for device, there in seems.items() if there]
