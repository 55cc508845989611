"""Candidates of one model against each other: which pass, how fast each is, which is taken."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from typing import Protocol

from clipcal.errors import BundleError, ParityFailure, ProviderError
from clipcal.export.candidates import Job, make, note_decisions
from clipcal.models.bundle import Bundle, Precision, Preprocessing
from clipcal.models.measure import encode_at_once, some_pixels
from clipcal.models.session import CUDA, TENSORRT, ImageEncoder, open_image_encoder
from clipcal.models.verification import DecisionRecord

ROUNDS = 5
# Timings differ by some percent from run to run: precision is not given up for that.
WORTHWHILE = 1.1
_MOST_PRECISE_FIRST: tuple[Precision, ...] = ("fp32", "fp16", "int8")
_ON_GPUS = (CUDA, TENSORRT)


class DecisionCheck(Protocol):
    """Holds a candidate's calibrated decisions against those of full precision."""

    def accept(self, reference: Bundle) -> None:
        """Make sure that the calibration is one for `reference`, the fp32 bundle.

        Raises
        ------
        FingerprintMismatch
            If it was fitted with another model.
        """

    def compare(
        self, reference: Bundle, candidate: Bundle, pictures: Sequence[Path]
    ) -> DecisionRecord:
        """Compare decisions on pictures.

        Raises
        ------
        ParityFailure
            If more of them flip than is allowed, unless `candidate` is in fp32 itself: then
            nothing differs but what computes, and there is nothing more precise to take. Or if
            an embedding is not finite.
        """


@dataclass(frozen=True, slots=True)
class Trial:
    """What became of one precision.

    Attributes
    ----------
    precision : {"fp32", "fp16", "int8"}
        Of the candidate.
    passed : bool
        Whether it kept parity and, where that was asked for, its decisions.
    taken : bool
        Whether it is the one that was written.
    verdict : str
        The same in words, with the reason.
    bundle : Bundle or None
        The candidate; None where none could be made. Its folder is gone once the export is done.
    provider, arithmetic : str or None
        What computed when it was timed, and in what.
    images_per_second : float or None
        Of the model alone on this machine; None where it was not timed.
    """

    precision: Precision
    passed: bool
    taken: bool
    verdict: str
    bundle: Bundle | None = None
    provider: str | None = None
    arithmetic: str | None = None
    images_per_second: float | None = None

    @property
    def min_cosine(self) -> float | None:
        """The image tower's smallest cosine with torch's, where there is a candidate."""
        return None if self.bundle is None else self.bundle.manifest.parity.visual.min_cosine


def checked(job: Job, precision: Precision, check: DecisionCheck | None) -> Bundle:
    """Make a candidate and hold its decisions against those of full precision.

    Parameters
    ----------
    job : Job
        What it is made from.
    precision : {"fp32", "fp16", "int8"}
        Of the candidate.
    check : DecisionCheck or None
        Compares decisions, where that was asked for.

    Returns
    -------
    Bundle
        With what was found in its manifest.

    Raises
    ------
    ParityFailure
        If a graph leaves its tolerance, or too many decisions flip.
    FingerprintMismatch
        If the calibration is for another model.
    BundleError
        If the tower cannot be quantised.
    """
    if check is None:
        return make(job, precision)
    reference = make(job, "fp32")
    check.accept(reference)
    candidate = make(job, precision)
    job.say(f"Comparing the decisions of {precision} with those of fp32")
    return note_decisions(candidate, check.compare(reference, candidate, job.pictures.files))


def fastest(job: Job, check: DecisionCheck | None) -> list[Trial]:
    """Try fp32, int8 and, where a CUDA device works, fp16; mark the fastest that passes.

    :func:`judge` says which that is.
    Speeds are of the image tower alone, by the session that would serve (``device="auto"``),
    interleaved so that a busy machine slows all of them.

    Parameters
    ----------
    job : Job
        What candidates are made from.
    check : DecisionCheck or None
        Compares decisions, where that was asked for.

    Returns
    -------
    list of Trial
        fp32 first; exactly one is taken.

    Raises
    ------
    ParityFailure
        If fp32 fails: then nothing can pass.
    FingerprintMismatch
        If the calibration is for another model.
    """
    full = checked(job, "fp32", check)
    on_gpu = open_image_encoder(full).provider in _ON_GPUS
    others: tuple[Precision, ...] = ("int8", "fp16") if on_gpu else ("int8",)
    trials = [Trial("fp32", True, False, "passed", full)]
    trials += [_attempt(job, precision, check) for precision in others]
    return judge(_timed(trials, job.say))


def judge(trials: Sequence[Trial]) -> list[Trial]:
    """Mark the fastest trial that passed as taken, and say of the others why they are not.

    A less precise one is taken only where it is at least 1.1 times as fast as a more precise one.

    Parameters
    ----------
    trials : sequence of Trial
        Timed, as far as they passed; fp32 first.

    Returns
    -------
    list of Trial
        In the same order.
    """
    rates = {
        each.precision: each.images_per_second
        for each in trials
        if each.passed and each.images_per_second is not None
    }
    best = _worthwhile(rates)
    return [
        replace(each, taken=each.precision == best, verdict=_verdict(each.precision, rates, best))
        if each.precision in rates
        else each
        for each in trials
    ]


def _worthwhile(rates: Mapping[Precision, float]) -> Precision:
    best, *others = sorted(rates, key=_MOST_PRECISE_FIRST.index)
    for each in others:
        if rates[each] >= WORTHWHILE * rates[best]:
            best = each
    return best


def _verdict(precision: Precision, rates: Mapping[Precision, float], best: Precision) -> str:
    if precision == best:
        if rates[best] == max(rates.values()):
            return "taken: the fastest that passes"
        return f"taken: nothing less precise is {WORTHWHILE} times as fast"
    if rates[precision] > rates[best]:
        return f"passed, but not {WORTHWHILE} times as fast as {best}"
    return "passed, slower"


def images_per_second(
    encoders: Sequence[ImageEncoder], preprocessing: Preprocessing
) -> list[float]:
    """Time encoders against each other, each with full batches in all its streams.

    Parameters
    ----------
    encoders : sequence of ImageEncoder
        Of one model.
    preprocessing : Preprocessing
        Size of its images.

    Returns
    -------
    list of float
        Images a second of each: the median of a few interleaved rounds, after a first one that
        does not count.
    """
    rates: list[list[float]] = [[] for _ in encoders]
    for _ in range(ROUNDS + 1):
        for found, encoder in zip(rates, encoders, strict=True):
            found.append(_rate(encoder, preprocessing))
    return [median(found[1:]) for found in rates]


def _rate(encoder: ImageEncoder, preprocessing: Preprocessing) -> float:
    pixels = some_pixels(preprocessing, max(encoder.batch_sizes))
    with ThreadPoolExecutor(encoder.streams) as pool:
        started = time.perf_counter()
        encode_at_once(pool, encoder, pixels)
        return len(pixels) * encoder.streams / (time.perf_counter() - started)


def _attempt(job: Job, precision: Precision, check: DecisionCheck | None) -> Trial:
    try:
        return Trial(precision, True, False, "passed", checked(job, precision, check))
    except (BundleError, ProviderError) as error:
        job.say(f"{precision} is out: {error}")
        return Trial(precision, False, False, _reason(error), _made(job, precision))


def _made(job: Job, precision: Precision) -> Bundle | None:
    """Return a candidate that failed only when its decisions were compared."""
    try:
        return Bundle.load(job.folder / precision)
    except BundleError:
        return None


def _reason(error: Exception) -> str:
    kind = "parity" if isinstance(error, ParityFailure) else "cannot be made"
    return f"{kind}: {error}"


def _timed(trials: Sequence[Trial], say: Callable[[str], None]) -> list[Trial]:
    say("Timing what passed")
    opened = {
        each.precision: open_image_encoder(each.bundle)
        for each in trials
        if each.passed and each.bundle
    }
    preprocessing = next(each.bundle for each in trials if each.bundle).manifest.preprocessing
    rates = dict(zip(opened, images_per_second([*opened.values()], preprocessing), strict=True))
    return [
        replace(
            each,
            provider=opened[each.precision].provider,
            arithmetic=opened[each.precision].arithmetic,
            images_per_second=rates[each.precision],
        )
        if each.precision in opened
        else each
        for each in trials
    ]
