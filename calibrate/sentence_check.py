"""What each sentence of a category does to its score, measured on labelled images' cosines."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from clipcal.calibrate.labels.table import UNKNOWN
from clipcal.calibrate.prompt_choice import FEWEST, Kept, Labelled, Trial, choose, try_choice
from clipcal.calibrate.statistics.auc import auc_difference, auc_estimate
from clipcal.calibrate.statistics.bounds import Estimate, Range
from clipcal.prompts.matrix import PromptVectors
from clipcal.prompts.promptset import Category

Side = Literal["prompt", "against"]


@dataclass(frozen=True, slots=True)
class SentenceCheck:
    """One sentence of a category.

    Attributes
    ----------
    sentence : str
        As the prompt set has it.
    side : {"prompt", "against"}
        Whether it describes the category, or is what it is held against.
    alone : Estimate or None
        Area under the ROC curve of its cosine alone; of the negated cosine for a contrast, so
        that above ½ is good on both sides. None where one class is not labelled.
    nearest : str or None
        The sentence of the same side that is most like it; None where it is the only one.
    cosine : float or None
        Of the two sentences' text vectors.
    without : Estimate or None
        Area of the category's score without it; None where it cannot be left out.
    change : Range or None
        By how much that exceeds the area with it, paired: above zero, the sentence hurts.
    """

    sentence: str
    side: Side
    alone: Estimate | None
    nearest: str | None
    cosine: float | None
    without: Estimate | None
    change: Range | None

    @property
    def verdict(self) -> Literal["hurts", "helps", "unsure"]:
        """What it surely does to its category's score, by the interval of `change`."""
        if self.change is not None and self.change.low > 0:
            return "hurts"
        return "helps" if self.change is not None and self.change.high < 0 else "unsure"


@dataclass(frozen=True, slots=True)
class Choice:
    """A choice of a category's sentences, and what choosing is worth.

    Attributes
    ----------
    prompts, against : tuple of str
        What to keep.
    dropped : tuple of str
        The others.
    trial : Trial
        How the procedure that chose does on images that it has not seen.
    recommended : bool
        Whether the trial's gain is surely above zero, and anything is dropped. Else: keep the
        category as it is.
    """

    prompts: tuple[str, ...]
    against: tuple[str, ...]
    dropped: tuple[str, ...]
    trial: Trial
    recommended: bool


@dataclass(frozen=True, slots=True)
class CategoryCheck:
    """One category.

    Attributes
    ----------
    category : str
        Its name.
    n, positives : int
        Labelled images, and those at the lowest level above none, or higher.
    area : Estimate or None
        Area under the ROC curve of its score as it is; None where one class is not labelled.
    sentences : tuple of SentenceCheck
        Its own prompts, then its contrasts.
    choice : Choice or None
        None where nothing can be chosen.
    advice : str
        What follows, a sentence.
    """

    category: str
    n: int
    positives: int
    area: Estimate | None
    sentences: tuple[SentenceCheck, ...]
    choice: Choice | None
    advice: str


def check_categories(
    cosines: NDArray[np.float32],
    values: NDArray[np.int8],
    clusters: NDArray[np.int64],
    prompts: PromptVectors,
    *,
    confidence: float = 0.95,
    seed: int = 0,
) -> tuple[CategoryCheck, ...]:
    """Measure the sentences of every category.

    Parameters
    ----------
    cosines : Float32[(n, p)]
        Of n labelled images with the p sentences of ``prompts.matrix``.
    values : Int8[(n, c)]
        Levels, 0 for none; -1 where unknown.
    clusters : Int64[(n,)]
        Equal for near copies, which are never divided between folds.
    prompts : PromptVectors
        The sentences.
    confidence : float
        Of intervals, in (0, 1), one category and one sentence at a time.
    seed : int
        Of the folds; each category has its own stream.

    Returns
    -------
    tuple of CategoryCheck
        In the prompt set's order.
    """
    checks = []
    for column, (category, (own, against)) in enumerate(
        zip(prompts.prompt_set.categories, prompts.columns, strict=True)
    ):
        sentences = slice(own.start, against.stop)
        known = values[:, column] != UNKNOWN
        labelled = Labelled(
            np.ascontiguousarray(cosines[known, sentences].T),
            len(category.prompts),
            category.pool,
            values[known, column] >= 1,
            clusters[known],
        )
        rng = np.random.default_rng([seed, column])
        vectors = prompts.matrix[sentences]
        checks.append(_check_category(category, labelled, vectors, rng, confidence))
    return tuple(checks)


def _check_category(
    category: Category,
    labelled: Labelled,
    vectors: NDArray[np.float32],
    rng: np.random.Generator,
    confidence: float,
) -> CategoryCheck:
    scores = labelled.scores(labelled.everything)
    choice, advice = _choice(category, labelled, rng, confidence)
    return CategoryCheck(
        category=category.name,
        n=len(labelled.positive),
        positives=int(labelled.positive.sum()),
        area=auc_estimate(scores, labelled.positive, confidence, labelled.clusters),
        sentences=(
            *_sentences(category.prompts, "prompt", 0, labelled, vectors, confidence),
            *_sentences(category.against, "against", labelled.own, labelled, vectors, confidence),
        ),
        choice=choice,
        advice=advice,
    )


def _sentences(
    sentences: Sequence[str],
    side: Side,
    first: int,
    labelled: Labelled,
    vectors: NDArray[np.float32],
    confidence: float,
) -> list[SentenceCheck]:
    """Check the sentences of one side, which begin at the place `first` among all."""
    last = first + len(sentences)
    nearest, cosine = _nearest(vectors[first:last])
    sign = 1 if side == "prompt" else -1
    given = (labelled.positive, confidence, labelled.clusters)
    full = labelled.scores(labelled.everything)
    checks = []
    for place, sentence in enumerate(sentences):
        kept = labelled.everything
        kept[first + place] = False
        rest = labelled.scores(kept) if kept[: labelled.own].any() else None
        checks.append(
            SentenceCheck(
                sentence=sentence,
                side=side,
                alone=auc_estimate(sign * labelled.cosines[first + place], *given),
                nearest=sentences[nearest[place]] if len(sentences) > 1 else None,
                cosine=float(cosine[place]) if len(sentences) > 1 else None,
                without=None if rest is None else auc_estimate(rest, *given),
                change=None if rest is None else auc_difference(rest, full, *given),
            )
        )
    return checks


def _nearest(vectors: NDArray[np.float32]) -> tuple[NDArray[np.intp], NDArray[np.float32]]:
    """Return for each row the most similar other one, and their cosine."""
    cosines = np.clip(vectors @ vectors.T, -1, 1)
    np.fill_diagonal(cosines, -2)
    nearest = cosines.argmax(axis=1) if len(vectors) else np.empty(0, np.intp)
    return nearest, cosines[np.arange(len(vectors)), nearest]


def _choice(
    category: Category, labelled: Labelled, rng: np.random.Generator, confidence: float
) -> tuple[Choice | None, str]:
    """Choose sentences if that can be done, and say what follows."""
    if not len(labelled.positive):
        return None, "No image has a label in it."
    if len(labelled.cosines) == 1:
        return None, "One sentence: there is nothing to choose."
    if labelled.supply < FEWEST:
        return None, _too_few(category, labelled)
    trial = try_choice(labelled, rng, confidence)
    kept = choose(labelled, rng)
    choice = _as_choice(category, kept, trial)
    gain = f"{trial.gain.value:+.3f} ({trial.gain.low:+.3f} to {trial.gain.high:+.3f})"
    if choice.recommended:
        dropped = ", ".join(map(repr, choice.dropped))
        return choice, f"Drop {dropped}: choosing gains {gain} on images it has not seen."
    return choice, f"Keep it as it is: choosing gains {gain} on images it has not seen."


def _too_few(category: Category, labelled: Labelled) -> str:
    kinds = {"positive": labelled.positive, "negative": ~labelled.positive}
    counts = {name: len(np.unique(labelled.clusters[of])) for name, of in kinds.items()}
    held = " and ".join(f"{count} {name}" for name, count in counts.items())
    return (
        f"{held} images, near copies counted once: choosing takes {FEWEST} of each. Label more: "
        f"clipcal suggest --category {shlex.quote(category.name)}"
    )


def _as_choice(category: Category, kept: Kept, trial: Trial) -> Choice:
    sentences = (*category.prompts, *category.against)
    keep = kept.tolist()
    own = len(category.prompts)
    return Choice(
        prompts=tuple(s for s, k in zip(category.prompts, keep[:own], strict=True) if k),
        against=tuple(s for s, k in zip(category.against, keep[own:], strict=True) if k),
        dropped=tuple(s for s, k in zip(sentences, keep, strict=True) if not k),
        trial=trial,
        recommended=bool(trial.gain.low > 0 and not kept.all()),
    )
