"""Decision parity for ``clipcal export``: a calibration applied to two bundles of one model."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click
import numpy as np

from clipcal.calibrate.contract import Contract
from clipcal.calibrate.decision_parity import (
    CONFIDENCE,
    DecisionParity,
    Side,
    compare_decisions,
    images_to_show,
    require_reference,
)
from clipcal.calibrate.statistics.bounds import Estimate
from clipcal.commands.common import print_table, say, short_path
from clipcal.errors import ParityFailure
from clipcal.models.bundle import Bundle, sha256_file
from clipcal.models.preprocess import load_pixels
from clipcal.models.session import open_image_encoder, open_text_encoder
from clipcal.models.verification import CategoryFlips, DecisionRecord, Share
from clipcal.prompts.matrix import PromptVectors, build
from clipcal.prompts.vectors import TextVectors

if TYPE_CHECKING:
    from clipcal.models.session import Embeddings, ImageEncoder

_AT_ONCE = 32
_SHOWN = 5
_WITHOUT = {  # what to do without a precision that overflows
    "fp32": "Something is wrong with that device: clipcal doctor",
    "fp16": "float16 ends at 65,504; take --precision fp32, or int8 on CPUs",
    "int8": "Take --precision fp32",
}


class CalibratedDecisions:
    """Holds candidates against the fp32 bundle, and remembers what it found.

    The reference is fp32 in float32, by ONNX Runtime on the CPU; a candidate is what would serve
    here. For the fp32 bundle that may be bfloat16 or TF32: its flips are counted, said and kept
    like any others, but never refused, since the bundle is the reference and ``--device cpu``
    computes it in float32.

    Parameters
    ----------
    calibration : pathlib.Path
        Fitted with the fp32 bundle of the model.
    max_flips : float
        The greatest share of images, category by category, whose level may be another.

    Attributes
    ----------
    max_flips : float
        As given.
    found : dict of str to DecisionParity
        By precision, whether it passed or not.
    """

    def __init__(self, calibration: Path, max_flips: float) -> None:
        self._contract = Contract.load(calibration)
        self._sha256 = sha256_file(calibration)
        self.max_flips = max_flips
        self._reference: Side | None = None
        self.found: dict[str, DecisionParity] = {}

    def accept(self, reference: Bundle) -> None:
        """Refuse a calibration that was not fitted with `reference`."""
        require_reference(self._contract, reference)

    def compare(
        self, reference: Bundle, candidate: Bundle, pictures: Sequence[Path]
    ) -> DecisionRecord:
        """Compare decisions, by what would serve here.

        Raises
        ------
        ParityFailure
            If more flip than may, unless `candidate` is in fp32 too; or if an embedding is not
            finite.
        """
        if self._reference is None:  # in full precision, whatever a faster device makes of it
            self._reference = self._side(
                reference, open_image_encoder(reference, device="cpu"), pictures
            )
        encoder = open_image_encoder(candidate)
        side = self._side(candidate, encoder, pictures)
        images = [str(file) for file in pictures]
        found = compare_decisions(images, self._reference, side, self._contract)
        precision = candidate.manifest.precision
        self.found[precision] = found
        if found.worst.share.value > self.max_flips:
            if precision != "fp32":
                raise ParityFailure(_refusal(precision, found, self.max_flips))
            say(_departure(found, encoder))
        return self._record(found, reference, encoder.provider)

    def _side(self, bundle: Bundle, encoder: ImageEncoder, pictures: Sequence[Path]) -> Side:
        preprocessing = bundle.manifest.preprocessing
        parts = [
            encoder.encode(
                np.stack([load_pixels(file.read_bytes(), preprocessing) for file in some])
            )
            for some in _parts(pictures)
        ]
        embeddings = np.concatenate(parts)
        _require_finite(embeddings, bundle.manifest.precision, encoder)
        return Side(embeddings, self._prompts(bundle))

    def _prompts(self, bundle: Bundle) -> PromptVectors:
        prompt_set = self._contract.prompt_set.parse()
        vectors = open_text_encoder(bundle, device="cpu").encode(prompt_set.sentences)
        return build(prompt_set, TextVectors(prompt_set.sentences, vectors, bundle.name))

    def _record(self, found: DecisionParity, reference: Bundle, provider: str) -> DecisionRecord:
        return DecisionRecord(
            calibration=self._sha256,
            reference=reference.fingerprint,
            provider=provider,
            images=found.images,
            max_flips=self.max_flips,
            confidence=CONFIDENCE,
            categories={
                each.category: CategoryFlips(
                    flips=each.flips,
                    share=Share(**asdict(each.share)),
                    levels={cut.level: cut.flips for cut in each.cuts},
                    shift=each.shift,
                )
                for each in found.categories
            },
        )


def print_decisions(precision: str, found: DecisionParity, max_flips: float) -> None:
    """Show flips per category and level, how sure that is, and who is nearest to a threshold."""
    print_table(
        ("Category", "Level", ">Images", ">Flips", ">Share", ">Largest change"),
        (
            (each.category, level, f"{found.images:,}", f"{flips:,}", percent(share), change)
            for each in found.categories
            for level, flips, share, change in (
                ("any", each.flips, each.share, f"{each.shift:.4f}"),
                *((cut.level, cut.flips, cut.share, "") for cut in each.cuts),
            )
        ),
        title=f"Decisions of {precision} against fp32",
    )
    print_table(
        ("Image", "Category", "Level", ">fp32", f">{precision}", ">Threshold", ""),
        _nearest(found),
        title="Nearest to a threshold",
    )
    needed = images_to_show(max_flips)
    if found.worst.share.high > max_flips and needed is not None:
        click.echo(
            f"In brackets: where the share among all images lies with {CONFIDENCE:.0%} confidence. "
            f"To show that at most {max_flips:.2%} flip takes {needed:,} images without a flip."
        )


def percent(share: Estimate | Share) -> str:
    """Write a share in percent, with its interval."""
    return f"{share.value:.2%} [{share.low:.2%}, {share.high:.2%}]"


def _nearest(found: DecisionParity) -> Iterator[tuple[str, ...]]:
    for each in found.categories:
        for cut in each.cuts:
            for near in cut.nearest[:_SHOWN]:
                scores = (near.reference, near.candidate, cut.threshold)
                yield (
                    short_path(near.image),
                    each.category,
                    cut.level,
                    *(f"{score:.4f}" for score in scores),
                    "flips" if near.flipped else "",
                )


def _require_finite(embeddings: Embeddings, precision: str, encoder: ImageEncoder) -> None:
    lost = int(np.count_nonzero(~np.isfinite(embeddings).all(axis=1)))
    if lost:
        raise ParityFailure(
            f"{precision} gives no finite embedding of {lost} of {len(embeddings)} images by "
            f"{encoder.provider} in {encoder.arithmetic}, so it is refused. {_WITHOUT[precision]}"
        )


def _departure(found: DecisionParity, encoder: ImageEncoder) -> str:
    worst = found.worst
    return (
        f"fp32 decides {worst.flips} of {found.images} images otherwise in {worst.category!r} "
        f"({percent(worst.share)}) by {encoder.provider} in {encoder.arithmetic} than by "
        f"ONNX Runtime on the CPU in float32, which is: clipcal embed --device cpu"
    )


def _refusal(precision: str, found: DecisionParity, max_flips: float) -> str:
    worst = found.worst
    cut = max(worst.cuts, key=lambda each: each.flips)
    near = cut.nearest[0]
    return (
        f"{precision} decides {worst.flips} of {found.images} images otherwise than fp32 in "
        f"{worst.category!r} ({percent(worst.share)}), more than the {max_flips:.2%} that may "
        f"flip, so it is refused. The nearest to the threshold {cut.threshold:.4f} ({cut.level}): "
        f"{short_path(near.image)}, {near.candidate:.4f} instead of {near.reference:.4f}. "
        f"Take --precision fp32, or allow more: --max-flips "
        f"{math.ceil(worst.share.value * 1000) / 1000:g}"
    )


def _parts(pictures: Sequence[Path]) -> Iterator[Sequence[Path]]:
    for start in range(0, len(pictures), _AT_ONCE):
        yield pictures[start : start + _AT_ONCE]
