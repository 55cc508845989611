"""Which run time opens a graph: the one that was asked for, or the fastest that starts."""

from __future__ import annotations

from collections.abc import Callable

from clipcal.errors import ProviderError
from clipcal.models.runtimes import nvidia, openvino
from clipcal.models.runtimes.base import GraphFile, GraphSession
from clipcal.models.runtimes.nvidia import CUDA, TENSORRT, GpuSession
from clipcal.models.runtimes.onnx_runtime import CpuSession, cpu_session
from clipcal.models.runtimes.openvino import OPENVINO, OpenVinoSession

DEVICES = ("auto", "cpu", "cuda", "tensorrt", "openvino")
NAMES = {"cuda": "CUDA", "tensorrt": "TensorRT", "openvino": OPENVINO}


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
        With ``auto``: why something faster that seems to be here was not taken.

    Raises
    ------
    ProviderError
        If the device was asked for and is not there.
    BundleError
        If the graph is damaged.
    """
    if device not in DEVICES:
        raise ProviderError(f"There is no device {device!r}. Choose one of {', '.join(DEVICES)}.")
    if device == "auto":
        return _fastest(file)
    if device == "cpu":
        return CpuSession(file), None
    try:
        return _open(file, device), None
    except ProviderError as error:
        # A damaged graph is told as such, whatever the device.
        cpu_session(file.path, half=file.precision == "fp16")
        raise ProviderError(f"{NAMES[device]} was asked for and is not there: {error}") from error


def obstacle(device: str) -> str | None:
    """Say why a device cannot be used here, as far as can be told without opening a graph."""
    if device == "openvino":
        return openvino.obstacle()
    provider = {"cuda": CUDA, "tensorrt": TENSORRT}.get(device)
    return nvidia.obstacle(provider) if provider else None


def _open(file: GraphFile, device: str) -> GraphSession:
    openers: dict[str, Callable[[], GraphSession]] = {
        "cuda": lambda: GpuSession(file, CUDA),
        "tensorrt": lambda: GpuSession(file, TENSORRT),
        "openvino": lambda: OpenVinoSession(file),
    }
    return openers[device]()


def _fastest(file: GraphFile) -> tuple[GraphSession, str | None]:
    passed_over: list[str] = []
    for device in _present():
        try:
            return _open(file, device), " ".join(passed_over) or None
        except ProviderError as error:
            passed_over.append(f"{NAMES[device]} was not taken: {error}")
    return CpuSession(file), " ".join(passed_over) or None


def _present() -> list[str]:
    """List what seems to be here, the fastest first."""
    seems = {"cuda": nvidia.has_driver(), "openvino": openvino.obstacle() is None}
    return [device for device, there in seems.items() if there]
