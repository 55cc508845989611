"""Calibrated decisions of one model under two computations: which of them flip."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from clipcal.calibrate.contract import Contract
from clipcal.calibrate.decisions.rescore import Decisions, decisions
from clipcal.calibrate.scoring.rules import ScoreRule
from clipcal.calibrate.scoring.scores import Scores, category_scores, decide
from clipcal.calibrate.statistics.bounds import Estimate, clopper_pearson
from clipcal.errors import CalibrationError, FingerprintMismatch
from clipcal.models.bundle import Bundle, fingerprint_of
from clipcal.models.identity import ModelIdentity
from clipcal.prompts.matrix import PromptVectors

NEAREST: Final = 5
CONFIDENCE: Final = 0.95

Embeddings = NDArray[np.floating]  # (n, dim), rows L2-normalised


@dataclass(frozen=True, slots=True)
class NearDecision:
    """An image near a threshold, by both computations.

    Attributes
    ----------
    image : str
        Its name.
    reference, candidate : float
        Its scores.
    flipped : bool
        Whether they lie on different sides of the threshold.
    """

    image: str
    reference: float
    candidate: float
    flipped: bool


@dataclass(frozen=True, slots=True)
class CutParity:
    """How one threshold decides under both computations.

    Attributes
    ----------
    level : str
        The level that begins at the threshold.
    threshold : float
        Images that score at or above it have that level or a higher one.
    flips : int
        Images on different sides of it.
    share : Estimate
        Of all images, with Clopper and Pearson's interval.
    nearest : tuple of NearDecision
        Every flip, then other images to make up five; of either the nearest to the threshold
        first.
    """

    level: str
    threshold: float
    flips: int
    share: Estimate
    nearest: tuple[NearDecision, ...]


@dataclass(frozen=True, slots=True)
class CategoryParity:
    """How one category decides under both computations.

    Attributes
    ----------
    category : str
        Its name.
    flips : int
        Images that have another level, whichever thresholds they crossed.
    share : Estimate
        Of all images, with Clopper and Pearson's interval.
    shift : float
        The greatest change of a score.
    cuts : tuple of CutParity
        Its thresholds, from the lowest level up.
    """

    category: str
    flips: int
    share: Estimate
    shift: float
    cuts: tuple[CutParity, ...]


@dataclass(frozen=True, slots=True)
class DecisionParity:
    """Decisions of a candidate against those of the reference.

    Attributes
    ----------
    images : int
        Compared.
    categories : tuple of CategoryParity
        Those that have a threshold, in the order of the prompt set.
    """

    images: int
    categories: tuple[CategoryParity, ...]

    @property
    def worst(self) -> CategoryParity:
        """The category that flips most."""
        return max(self.categories, key=lambda each: each.flips)


@dataclass(frozen=True, slots=True, eq=False)
class Side:
    """What one computation gives.

    Attributes
    ----------
    embeddings : Float[(n, dim)]
        Of the images, rows L2-normalised.
    prompts : PromptVectors
        The contract's prompt set, by the same model's text tower.
    """

    embeddings: Embeddings
    prompts: PromptVectors


def require_reference(contract: Contract, bundle: Bundle) -> None:
    """Make sure that a contract was fitted with a bundle, from which only precision may depart.

    Parameters
    ----------
    contract : Contract
        The calibration.
    bundle : Bundle
        The fp32 bundle of the model that is exported.

    Raises
    ------
    FingerprintMismatch
        If preprocessing, precision or model differ; the message says which.
    """
    identity, fitted = ModelIdentity.of_bundle(bundle), contract.fingerprint
    again = "Fit it with the fp32 bundle of this model: clipcal calibrate --labels FILE.csv"
    if fitted.preprocessing != identity.preprocessing:
        raise FingerprintMismatch(
            f"The calibration was fitted with the preprocessing {fitted.preprocessing[:12]}, "
            f"{bundle.name} is exported with {identity.preprocessing[:12]} (preprocessing "
            f"differs), so that their decisions cannot be compared. {again}"
        )
    half = fingerprint_of(bundle.manifest.model_copy(update={"precision": "fp16"}))
    if fitted.model == half:
        raise FingerprintMismatch(
            f"The calibration was fitted with the fp16 bundle of {bundle.name} (precision "
            f"differs); decisions are held against those of fp32. {again}"
        )
    if fitted.model != identity.fingerprint:
        raise FingerprintMismatch(
            f"The calibration was fitted with the model {contract.model} ({fitted.model[:12]}), "
            f"this is {bundle.name} ({identity.fingerprint[:12]} in fp32): the model differs, in "
            f"architecture, weights, tokenizer or as an int8 export. {again}"
        )


def compare_decisions(
    images: Sequence[str], reference: Side, candidate: Side, contract: Contract
) -> DecisionParity:
    r"""Decide images by a contract under two computations of one model, and count the flips.

    An image's decision in a category is its level, so the share of flips is over images, which
    are independent where thresholds of one category are not. Its interval is Clopper and
    Pearson's, whose coverage is at least nominal; of :math:`n` images without a flip it still
    says up to :math:`1 - (\alpha/2)^{1/n}`. Embeddings are rounded to float16 first, as a corpus
    stores them.

    Parameters
    ----------
    images : sequence of str
        Their n names.
    reference, candidate : Side
        Both computations: embeddings of the same images in the same order, and text vectors.
    contract : Contract
        Thresholds, rule and learned heads; whether it is for this model is for
        :func:`require_reference` to say.

    Returns
    -------
    DecisionParity
        Per category and level.

    Raises
    ------
    CalibrationError
        If there are no images, no category has a threshold, or shapes do not fit.
    """
    if not len(images) == len(reference.embeddings) == len(candidate.embeddings) > 0:
        raise CalibrationError(
            f"Decisions can only be compared on the same images, at least one; there are "
            f"{len(images)} names and {len(reference.embeddings)} and "
            f"{len(candidate.embeddings)} embeddings. Name pictures: --verify photos/"
        )
    before, after = (_decided(side, contract) for side in (reference, candidate))
    categories = tuple(
        _category(images, before, after, column)
        for column in range(len(before.categories))
        if np.isfinite(before.thresholds[:, column]).any()
    )
    if not categories:
        raise CalibrationError(
            "The calibration has no threshold, so there is no decision to compare. Label more "
            "images: clipcal suggest, then: clipcal calibrate --labels FILE.csv"
        )
    return DecisionParity(len(images), categories)


def images_to_show(max_flips: float, confidence: float = CONFIDENCE) -> int | None:
    r"""Return how many images without a flip show that no greater share of all images flips.

    Parameters
    ----------
    max_flips : float
        The share, in [0, 1].
    confidence : float
        Of Clopper and Pearson's two-sided interval, in (0, 1).

    Returns
    -------
    int or None
        The least :math:`n` with :math:`1 - (\alpha/2)^{1/n} \le` `max_flips`; None for 0, which
        no number of images shows.
    """
    if max_flips <= 0:
        return None
    if max_flips >= 1:
        return 1
    return math.ceil(math.log((1 - confidence) / 2) / math.log1p(-max_flips))


def _decided(side: Side, contract: Contract) -> Decisions:
    names = [category.name for category in side.prompts.prompt_set.categories]
    return decisions(_scores(side, names, contract), names, contract)


def _scores(side: Side, names: Sequence[str], contract: Contract) -> Scores:
    stored = side.embeddings.astype(np.float16).astype(np.float32)
    rule = ScoreRule.parse(contract.fingerprint.score_rule)
    scores = category_scores(stored @ side.prompts.matrix.T, side.prompts, rule)
    for category, head in contract.heads.items():
        column = names.index(category)
        scores[:, column] = head.score(stored, scores[:, column])
    return scores


def _category(
    images: Sequence[str], before: Decisions, after: Decisions, column: int
) -> CategoryParity:
    flips = int(np.count_nonzero(before.values[:, column] != after.values[:, column]))
    change = np.abs(before.scores[:, column] - after.scores[:, column])
    return CategoryParity(
        category=before.categories[column],
        flips=flips,
        share=clopper_pearson(flips, len(images), CONFIDENCE),
        shift=float(change.max()),
        cuts=tuple(_cuts(images, before, after, column)),
    )


def _cuts(
    images: Sequence[str], before: Decisions, after: Decisions, column: int
) -> Iterator[CutParity]:
    one, other = before.scores[:, column], after.scores[:, column]
    for level, threshold in zip(before.levels[1:], before.thresholds[:, column], strict=True):
        if not np.isfinite(threshold):
            continue
        flipped = decide(one, threshold) != decide(other, threshold)
        order = np.lexsort((np.abs(one - threshold), ~flipped))  # flips first, each by distance
        yield CutParity(
            level=level,
            threshold=float(threshold),
            flips=int(flipped.sum()),
            share=clopper_pearson(int(flipped.sum()), len(images), CONFIDENCE),
            nearest=tuple(
                NearDecision(images[i], float(one[i]), float(other[i]), bool(flipped[i]))
                for i in order[: max(NEAREST, flipped.sum())]
            ),
        )
