"""What to change so that embedding is faster: said only where the measured figures support it."""

from __future__ import annotations

from dataclasses import dataclass

from clipcal.index.measure import StageTimes
from clipcal.models.ceiling import Ceiling
from clipcal.models.measure import ON_CPU, RunTime

CLEARLY = 1.15  # a ratio below this may be noise
NEAR_THE_CEILING = 0.5
NOISE = 1.05  # a share of the ceiling above this cannot be
INTEGER_FLAGS = ("avx_vnni", "avx512_vnni", "amx_int8", "asimddp", "i8mm")


@dataclass(frozen=True, slots=True)
class Figures:
    """What ``clipcal bench`` measures.

    Attributes
    ----------
    model, precision : str
        The bundle's name and arithmetic.
    builtin : bool
        Whether it is the packaged model.
    cores : int
        Logical CPUs that this process may use; ``embed`` decodes in as many threads.
    flags : tuple of str
        What the processor has, in Linux's words.
    run_times : tuple of RunTime
        The model alone, on each device.
    chosen : str
        The device that the end-to-end figure was measured on.
    ceilings : tuple of Ceiling
        The model's matrix products alone.
    batch : int
        Images in a run whose products those are.
    stages : StageTimes
        Milliseconds of an image by stage.
    whole : float
        Images a second from file to stored embedding.
    images : int
        How many files that figure is from.
    peak_memory : int or None
        Bytes, the greatest so far.
    """

    model: str
    precision: str
    builtin: bool
    cores: int
    flags: tuple[str, ...]
    run_times: tuple[RunTime, ...]
    chosen: str
    ceilings: tuple[Ceiling, ...]
    batch: int
    stages: StageTimes
    whole: float
    images: int
    peak_memory: int | None

    def speed(self, device: str) -> float | None:
        """Return images a second of the model alone on a device; None where it did not run."""
        rates = {each.device: each.rate for each in self.run_times}
        found = rates.get(device)
        return None if found is None else found.median

    def ceiling(self, kind: str) -> float | None:
        """Return images a second that the products alone allow, in the fastest library."""
        seconds = [each.seconds for each in self.ceilings if each.kind == kind]
        return self.batch / min(seconds) if seconds else None

    @property
    def kind(self) -> str:
        """The kind of product that the model is made of."""
        return "int8" if self.precision == "int8" else "float32"

    @property
    def share(self) -> float | None:
        """The model's speed as a share of its ceiling; None where no CPU computed it."""
        speed, ceiling = self.speed(self.chosen), self.ceiling(self.kind)
        return speed / ceiling if self.chosen in ON_CPU and speed and ceiling else None

    @property
    def preparing(self) -> float:
        """Images a second that all cores can read and decode, were there no model."""
        return self.stages.prepared_by(self.cores)


def advise(figures: Figures) -> list[str]:
    """Say in plain sentences what to change.

    Parameters
    ----------
    figures : Figures
        What was measured.

    Returns
    -------
    list of str
        What promises most first; one sentence that says so where there is nothing to change.
    """
    rules = (_faster_device, _int8, _openvino, _preparing, _reading, _near, _own_model)
    found = [advice for rule in rules if (advice := rule(figures)) is not None]
    return found or ["Nothing to change: no figure here points at something faster."]


def _faster_device(figures: Figures) -> str | None:
    now = figures.speed(figures.chosen)
    speeds = {each.device: each.rate.median for each in figures.run_times if each.rate}
    best = max(speeds, key=speeds.__getitem__, default=figures.chosen)
    if now is None or speeds.get(best, 0) < CLEARLY * now:
        return None
    return (
        f"--device {best} runs this model {speeds[best] / now:.1f} times as fast as "
        f"{figures.chosen} here ({speeds[best]:.0f} against {now:.0f} images/s)."
    )


def _int8(figures: Figures) -> str | None:
    """Int8 pays where its products are clearly faster and the model keeps the cores busy."""
    wide, narrow = figures.ceiling("float32"), figures.ceiling("int8")
    if figures.precision == "int8" or figures.builtin or figures.chosen not in ON_CPU:
        return None
    if not wide or not narrow or narrow < CLEARLY * wide:
        return None
    integers = [flag for flag in figures.flags if flag in INTEGER_FLAGS]
    why = f" ({', '.join(integers)})" if integers else ""
    return (
        f"int8 products run {narrow / wide:.1f} times as fast as float32 ones on this CPU{why}, so "
        "an int8 bundle can be up to as many times faster; --verify counts which decisions would "
        f"change: clipcal export {figures.model} --precision int8 --verify photos/"
    )


def _openvino(figures: Figures) -> str | None:
    """Suggest a run time that could not be measured only where the present one leaves room."""
    absent = any(each.device == "openvino" and each.rate is None for each in figures.run_times)
    room = figures.share is not None and figures.share < 1 / CLEARLY
    if not absent or figures.chosen != "cpu" or not room:
        return None
    return (
        f"ONNX Runtime reaches {figures.share:.0%} of what the matrix products allow. OpenVINO "
        "runs the same bundle and may come nearer; it is not installed here, so it was not "
        "measured: pip install 'clipcal[openvino]', then clipcal bench again."
    )


def _preparing(figures: Figures) -> str | None:
    """Reading and decoding that cannot keep up with the model, or takes most of the cores."""
    speed = figures.speed(figures.chosen)
    if speed is None:
        return None
    per_image = figures.stages.prepare / 1000
    if figures.share is None:  # another device computes, the cores only prepare
        if figures.preparing > speed:
            return None
        return (
            f"The model could take {speed:.0f} images/s, but {figures.cores} cores prepare at most "
            f"{figures.preparing:.0f}: more cores or smaller files help, a faster model "
            "does not."
        )
    part = per_image / (per_image + figures.cores / speed)
    if part < 0.5:
        return None
    return (
        f"Reading and decoding takes {part:.0%} of the cores' time: smaller files help most (the "
        "model sees a few hundred pixels a side), a faster model little."
    )


def _reading(figures: Figures) -> str | None:
    """Waiting for files, which more threads can share."""
    if figures.stages.read < figures.stages.decode_scaled:
        return None
    return (
        f"Reading a file ({figures.stages.read:.1f} ms) takes longer than decoding it "
        f"({figures.stages.decode_scaled:.1f} ms): copy the files to a local disk, or read more at "
        f"once: --workers {4 * figures.cores}"
    )


def _near(figures: Figures) -> str | None:
    if figures.share is None or figures.share < NEAR_THE_CEILING:
        return None
    if figures.share > NOISE:
        return (
            f"The model came out faster ({figures.share:.0%}) than its matrix products alone: "
            "something else was running here. Measure again when the machine is quiet."
        )
    return (
        f"The model runs at {figures.share:.0%} of what its {figures.kind} matrix products alone "
        "would allow on this CPU: little more is to be had from it at this precision."
    )


def _own_model(figures: Figures) -> str | None:
    if not figures.builtin:
        return None
    return (
        "These figures are of the small built-in model. For the one that you use: "
        "clipcal bench photos/ --model BUNDLE"
    )
