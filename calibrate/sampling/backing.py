"""Which labelled images may back a guarantee, and what limits the guarantees that they give."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from clipcal.calibrate.cuts.sample import Sample
from clipcal.calibrate.cuts.targets import Goal
from clipcal.calibrate.labels.table import UNKNOWN
from clipcal.calibrate.near import MOST_COMPARED, clusters_of
from clipcal.calibrate.records import Sampling
from clipcal.calibrate.sampling.design import (
    SampleDesign,
    from_first_draw,
    sample_design,
)
from clipcal.calibrate.sampling.history import union
from clipcal.calibrate.sampling.likeness import RISK, unlikeness
from clipcal.calibrate.sampling.tuned import tuned_rows
from clipcal.calibrate.sampling.unanswered import (
    Unanswered,
    asked_cells,
    on_blanks,
    on_waiting,
    with_blanks,
)
from clipcal.calibrate.scoring.corpus_scores import CorpusScores
from clipcal.calibrate.statistics.sampling import Int64
from clipcal.errors import CalibrationError
from clipcal.index.store import Corpus
from clipcal.prompts.promptset import PromptSet

AT_RANDOM = "Label images drawn at random: clipcal suggest --audit 1 -n 100"


@dataclass(frozen=True, slots=True, eq=False)
class Backing:
    """Labelled images with what they stand for.

    Attributes
    ----------
    sample : Sample
        The images, with weights, near copies, blanks, and which back guarantees.
    images : int
        How many have a label in any category.
    sampling : Sampling
        How these came to be labelled.
    population : str
        Which images guarantees speak of, where not of the whole corpus.
    notes : tuple of str
        What was found, and what estimates leave out.
    warnings : tuple of str
        What limits guarantees and estimates, each with the next command.
    """

    sample: Sample
    images: int
    sampling: Sampling
    population: str
    notes: tuple[str, ...]
    warnings: tuple[str, ...]


def backing_of(
    corpus: Corpus,
    scored: CorpusScores,
    sample: Sample,
    prompt_set: PromptSet,
    levels: Sequence[str],
    goal: Goal,
    labels: str,
    *,
    keep: bool = True,
) -> Backing:
    """Tell what labelled images stand for, given how they came to be labelled.

    What was picked for its score, came after the first draw, or had chosen the prompts backs no
    guarantee; what was labelled because somebody saw it for its score, without any draw, counts
    for nothing at all until a draw takes it in (`sample_design`). Where the labelled images of a
    category are visibly no random sample, they back no guarantee of a precision; one of recall
    they may, since positives can be a random sample of all positives by themselves, and a warning
    says that they must be.

    Parameters
    ----------
    corpus : Corpus
        Keeps draws, and on what prompts were chosen.
    scored : CorpusScores
        The corpus's scores.
    sample : Sample
        As `gather` returns it.
    prompt_set : PromptSet
        The categories.
    levels : sequence of str
        Those of the labels, from low to high.
    goal : Goal
        What is asked for.
    labels : str
        The label files, as a shell takes them.
    keep : bool
        Whether what is computed for it is kept beside the corpus.

    Returns
    -------
    Backing
        The sample as it may be fitted to.

    Raises
    ------
    CalibrationError
        If a guarantee is asked for, and all that could have backed it had chosen the prompts, came
        after others had been labelled for their scores, or is visibly no random sample.
    """
    rows = scored.rows[sample.places]
    live, first = np.unique(scored.rows, return_index=True)
    known = (sample.values != UNKNOWN).any(axis=1)
    design = sample_design(corpus, rows[known], live=live)
    sample = replace(sample, clusters=clusters_of(corpus, rows, keep=keep))
    unanswered = Unanswered.of(corpus, scored.categories, levels)
    sample, designs = _weighted(corpus, scored, sample, live, unanswered)
    by_score = _ByScore.of(designs)
    if goal.target.guaranteed and by_score.warnings and not sample.backing.any():
        raise CalibrationError(f"{by_score.warnings[0]}; or do without: {_unpromised(labels)}")
    chosen_on = tuned_rows(corpus, prompt_set.sha256)
    sample, flattered = _without_tuned(sample, rows, chosen_on, prompt_set, goal, labels)
    sample, unlisted, lost = with_blanks(corpus, scored, sample, live, chosen_on, unanswered)
    population = from_first_draw(corpus, live) & ~np.isin(live, chosen_on)
    sample, unlike = _told_apart(sample, scored, scored.scores[first[population]], goal, labels)
    limits = (
        *on_waiting(sample, designs, labels, unlisted),
        *design.warnings,
        *by_score.warnings,
        *on_blanks(sample, scored.categories, labels, unlisted, lost),
    )
    promised = goal.target.guaranteed
    return Backing(
        sample=sample,
        images=int(known.sum()),
        sampling=Sampling(
            given=design.given, audit=design.audit, picked=design.picked, chosen=design.chosen
        ),
        population=_population(corpus, live, bool(np.isin(chosen_on, live).any())),
        notes=(
            *design.notes,
            *_on_sample(sample, design),
            *by_score.notes,
            *(limits if known.any() and not promised else ()),
        ),
        warnings=(*(limits if promised else ()), *flattered, *unlike),
    )


@dataclass(frozen=True, slots=True)
class _ByScore:
    """What to know of labels of images that somebody saw for their scores."""

    notes: tuple[str, ...]
    warnings: tuple[str, ...]

    @classmethod
    def of(cls, designs: Mapping[str, SampleDesign]) -> _ByScore:
        chosen = sum(design.chosen for design in designs.values())
        note = (
            f"{chosen:,} labels were given to images chosen for their scores (flagged, near a "
            f"threshold, or found by a search): they count once a draw takes in their images: "
            f"clipcal suggest"
        )
        warnings = tuple(
            f"{design.after_chosen:,} images were labelled for '{category}' without a suggestion "
            f"after others had been for their scores; they count in estimates and back no "
            f"guarantee. For labels that do: clipcal suggest --audit 1 -n 100"
            for category, design in designs.items()
            if design.after_chosen
        )
        return cls((note,) if chosen else (), warnings)


def _weighted(
    corpus: Corpus, scored: CorpusScores, sample: Sample, live: Int64, unanswered: Unanswered
) -> tuple[Sample, dict[str, SampleDesign]]:
    """Weight the images of each category by how they came to be labelled in it.

    A label without weight stands for nothing, and is taken for unknown.
    """
    rows, asked = scored.rows[sample.places], asked_cells(sample)
    weights, uniform = sample.weights.copy(), sample.uniform.copy()
    designs: dict[str, SampleDesign] = {}
    for column, category in enumerate(scored.categories):
        known = sample.values[:, column] != UNKNOWN
        told = union(
            rows[asked[:, column]],
            unanswered.left_blank[category],
            unanswered.taken_back[category],
        )
        design = sample_design(corpus, rows[known], category, live, told)
        weights[known, column], uniform[known, column] = design.weights, design.uniform
        designs[category] = design
    values = np.where(weights > 0, sample.values, UNKNOWN).astype(np.int8)
    return replace(sample, values=values, weights=weights, uniform=uniform), designs


def _without_tuned(
    sample: Sample,
    rows: Int64,
    chosen_on: Int64,
    prompt_set: PromptSet,
    goal: Goal,
    labels: str,
) -> tuple[Sample, tuple[str, ...]]:
    """Leave what the prompts were chosen on out of guarantees; refuse where nothing is left."""
    tuned = np.isin(rows, chosen_on)
    backing = sample.backing
    count = int(np.count_nonzero(tuned & (sample.values != UNKNOWN).any(axis=1)))
    if not count:
        return sample, ()
    sample = replace(sample, uniform=sample.uniform & ~tuned[:, np.newaxis])
    if goal.target.guaranteed and backing.any() and not sample.backing.any():
        raise CalibrationError(
            f"The prompt set {prompt_set.name} was chosen on these very labels ({labels}), "
            f"so that they flatter it: no {goal.target} can be guaranteed from them. Use labels "
            f"of other images, or do without a guarantee: {_unpromised(labels)}"
        )
    return sample, (
        f"The prompts were chosen on {count:,} of the labelled images: these back no guarantee, "
        f"and estimates from them flatter the prompts. Label others: "
        f"clipcal suggest --audit 1 -n 100",
    )


def _told_apart(
    sample: Sample, scored: CorpusScores, population: NDArray[np.float32], goal: Goal, labels: str
) -> tuple[Sample, tuple[str, ...]]:
    """Compare the scores that back guarantees with those of the population (N, c)."""
    uniform, warnings = sample.uniform.copy(), list[str]()
    backed = sample.uniform & (sample.values != UNKNOWN)
    for column, category in enumerate(scored.categories):
        risk = RISK / len(scored.categories)
        labelled = sample.scores[backed[:, column], column]
        distance = unlikeness(labelled, population[:, column], risk)
        if distance is not None:
            warnings.append(
                f"The images labelled for '{category}' are unlike the corpus (KS {distance:.2f}): "
                f"they are no random sample of it. {_what_follows(goal)} {AT_RANDOM}"
            )
            uniform[:, column] &= _needs_no_random_images(goal)
    told = replace(sample, uniform=uniform)
    if goal.target.guaranteed and backed.any() and not told.backing.any():
        raise CalibrationError(f"{warnings[0]}; or do without: {_unpromised(labels)}")
    return told, tuple(warnings)


def _needs_no_random_images(goal: Goal) -> bool:
    """Whether a random sample of positives alone is enough."""
    return goal.block is None and goal.target.kind != "precision"


def _what_follows(goal: Goal) -> str:
    if not _needs_no_random_images(goal):
        return f"No {goal.block or goal.target} can be guaranteed from them."
    if goal.target.kind == "recall":
        return (
            "A recall guarantee then holds only if the labelled positives are nevertheless a "
            "random sample of all positives."
        )
    return "Rates estimated from them are not the corpus's."


def _unpromised(labels: str) -> str:
    return f"clipcal calibrate --labels {labels} --target f1"


def _population(corpus: Corpus, live: Int64, tuned: bool) -> str:
    """Name the images that guarantees speak of; empty for the whole corpus."""
    there = int(from_first_draw(corpus, live).sum())
    if there == len(live):
        return "the images that the prompts were not chosen on" if tuned else ""
    return (
        f"the {there:,} images that were in the corpus when the first were drawn to be labelled"
        f"{', less those that the prompts were chosen on' if tuned else ''}"
    )


def _on_sample(sample: Sample, design: SampleDesign) -> Iterator[str]:
    if len(sample) > MOST_COMPARED:
        yield (
            f"With more than {MOST_COMPARED:,} labelled images, near copies are not looked for; "
            f"exact ones count once."
        )
    near = len(sample) - len(np.unique(sample.clusters))
    if near:
        yield f"{near} labelled images are near copies of others, and never divided."
    if design.picked:
        yield (
            f"{design.picked} labelled images were picked for their scores: they are weighted in "
            f"estimates, and left out of guarantees."
        )
