"""The corpus as it is at one moment, scored and decided; requests work on it while it changes."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import cast

import numpy as np
from numpy.typing import ArrayLike, NDArray

from clipcal.calibrate.contract import Contract
from clipcal.calibrate.decisions.columns import Column, more_columns
from clipcal.calibrate.decisions.overall import Verdicts
from clipcal.calibrate.decisions.rescore import Decisions, decisions
from clipcal.calibrate.decisions.verdicts import overall_verdicts
from clipcal.calibrate.labels.scale import spoken_levels
from clipcal.calibrate.scoring.corpus_scores import CorpusScores, score_corpus
from clipcal.calibrate.scoring.rules import MARGIN, ScoreRule
from clipcal.calibrate.scoring.scores import Scores
from clipcal.calibrate.scoring.under_contract import (
    TextSource,
    choose_prompt_set,
    prompt_vectors,
    terms_of,
    with_heads,
)
from clipcal.index.shards import Rows
from clipcal.index.store import Corpus
from clipcal.index.texts import ItemTexts
from clipcal.prompts.matrix import PromptVectors
from clipcal.prompts.promptset import PromptSet
from clipcal.service.gate.problems import not_found, unprocessable
from clipcal.service.served.names import Names, names_of
from clipcal.service.settings import Settings

Places = NDArray[np.int64]  # (n,), indices into the embedded images of a view


@dataclass(frozen=True, slots=True, eq=False)
class Judged:
    """What a calibration says of some images; their scores alone where there is none.

    Attributes
    ----------
    scores : Float32[(n, c)]
        The scores.
    categories : tuple of str
        The columns.
    decided : Decisions or None
        Levels and thresholds; None without a calibration.
    more : tuple of Column
        Bands and probabilities, as ``clipcal rescore`` writes them.
    bands, probabilities : mapping of str to Column
        Those of each category's lowest level that has them, by category.
    verdicts : Verdicts or None
        The overall verdicts, where there are rules or a model for them.
    """

    scores: Scores
    categories: tuple[str, ...]
    decided: Decisions | None = None
    more: tuple[Column, ...] = ()
    bands: Mapping[str, Column] = field(default_factory=dict)
    probabilities: Mapping[str, Column] = field(default_factory=dict)
    verdicts: Verdicts | None = None


def judge_scores(
    scores: Scores, categories: Sequence[str], contract: Contract | None, prompt_set: PromptSet
) -> Judged:
    """Apply a calibration, where there is one, to scores that were made as it demands.

    Parameters
    ----------
    scores : Float32[(n, c)]
        Scores of the corpus, or of images that were uploaded.
    categories : sequence of str
        The columns.
    contract : Contract or None
        The calibration.
    prompt_set : PromptSet
        Holds the rules of the overall verdict.

    Raises
    ------
    CalibrationError
        If the contract lacks a category, or a score is NaN.
    """
    names = tuple(categories)
    if contract is None:
        return Judged(scores, names)
    decided = decisions(scores, names, contract)
    more = tuple(more_columns(scores, names, contract))
    verdicts, _ = overall_verdicts(contract, decided, prompt_set)
    bands, probabilities = (_lowest(more, contract, kind) for kind in ("band", "probability"))
    return Judged(scores, names, decided, more, bands, probabilities, verdicts)


@dataclass(frozen=True, slots=True, eq=False)
class View:
    """The corpus at one moment. Nothing in it changes, and no thread need wait for another.

    Attributes
    ----------
    version : hashable
        Equal for views of the same state.
    corpus : Corpus
        What it shows; for reading only.
    contract : Contract or None
        The calibration that is applied.
    calibration : str or None
        SHA-256 of its file.
    prompt_set : PromptSet
        The categories.
    vectors : PromptVectors
        Their text vectors.
    rule : ScoreRule
        How similarities become scores.
    levels : tuple of str
        From low to high, in which labels are given: see `spoken_levels`.
    scored : CorpusScores
        The scores of every embedded image.
    plain : CorpusScores
        The scores by the rule alone, where a calibration has learned others.
    judged : Judged
        What the calibration says of them.
    ids : Int64[(n,)]
        The item at each place, ascending.
    names : Names
        What images are called.
    """

    version: Hashable
    corpus: Corpus
    contract: Contract | None
    calibration: str | None
    prompt_set: PromptSet
    vectors: PromptVectors
    rule: ScoreRule
    levels: tuple[str, ...]
    scored: CorpusScores
    plain: CorpusScores
    judged: Judged
    ids: Rows
    names: Names

    @property
    def decided(self) -> Decisions | None:
        """Levels and thresholds of every image."""
        return self.judged.decided

    @property
    def more(self) -> tuple[Column, ...]:
        """Bands and probabilities of every image."""
        return self.judged.more

    @property
    def verdicts(self) -> Verdicts | None:
        """The overall verdict of every image."""
        return self.judged.verdicts

    @property
    def categories(self) -> tuple[str, ...]:
        """The categories, in the order of the columns."""
        return self.scored.categories

    def place(self, item: int) -> int:
        """Where an item is among the embedded ones.

        Raises
        ------
        Refused
            404, if it is none of them.
        """
        found = self.places([item])
        if len(found) == 0:
            raise not_found(
                f"There is no image {item} in the corpus, or it is not embedded any more. Take an "
                f"id from /v1/items."
            )
        return int(found[0])

    def places(self, items: ArrayLike) -> Places:
        """Where items (n,) are among the embedded ones, in their order, without those that aren't.

        They may be too new for this view, or removed.
        """
        wanted = np.asarray(items, np.int64)
        found = np.minimum(np.searchsorted(self.ids, wanted), len(self.ids) - 1)
        return np.asarray(found[self.ids[found] == wanted], np.int64)

    def column(self, category: str) -> int:
        """The column of a category.

        Raises
        ------
        Refused
            422, if there is no such category.
        """
        if category not in self.categories:
            raise unprocessable(
                f"There is no category {category!r}. Take one of: {', '.join(self.categories)}."
            )
        return self.categories.index(category)

    def lowest_threshold(self, category: str) -> float | None:
        """The threshold of the lowest level that has one: from there on an image is flagged."""
        column = self.column(category)
        if self.decided is None:
            return None
        limits = self.decided.thresholds[:, column]
        finite = limits[np.isfinite(limits)]
        return float(finite[0]) if len(finite) else None


def build_view(
    corpus: Corpus,
    settings: Settings,
    version: Hashable,
    contract: Contract | None,
    calibration: str | None,
    *,
    keep: bool,
) -> View:
    """Score a corpus as it is now, and apply a calibration.

    Parameters
    ----------
    corpus : Corpus
        The corpus.
    settings : Settings
        Which prompts, and where their text vectors come from.
    version : hashable
        Names the state that is being looked at.
    contract : Contract or None
        The calibration.
    calibration : str or None
        SHA-256 of its file.
    keep : bool
        Whether what is computed for it is kept on the disk.

    Raises
    ------
    StoreError
        If the corpus holds no embedding.
    FingerprintMismatch
        If the calibration is of another model or other prompts.
    PromptError, BundleError
        If the prompt set has no text vectors.
    """
    source = TextSource(settings.prompt_vectors, settings.model, settings.device)
    if contract is None:
        prompt_set = choose_prompt_set(corpus, settings.prompts)
        vectors, rule = prompt_vectors(corpus, prompt_set, source, keep=keep), MARGIN
        scored = plain = score_corpus(corpus, vectors, rule, keep=keep)
    else:
        vectors, rule = terms_of(
            corpus, contract, prompts=settings.prompts, source=source, keep=keep
        )
        plain = score_corpus(corpus, vectors, rule, keep=keep)
        scored = with_heads(plain, corpus, contract.heads, keep=keep)
        prompt_set = vectors.prompt_set
    return View(
        version=version,
        corpus=corpus,
        contract=contract,
        calibration=calibration,
        prompt_set=prompt_set,
        vectors=vectors,
        rule=rule,
        levels=spoken_levels(corpus, scored.categories, prompt_set.levels, contract),
        scored=scored,
        plain=plain,
        judged=judge_scores(scored.scores, scored.categories, contract, prompt_set),
        ids=cast(ItemTexts, scored.uris).ids,
        names=names_of(corpus),
    )


def _lowest(more: Sequence[Column], contract: Contract, kind: str) -> dict[str, Column]:
    """By category the column of its lowest level that has one of this kind."""
    named = {column.name: column for column in more}
    found = {}
    for category, cuts in contract.categories.items():
        ends = (kind, *(f"{level}_{kind}" for level in cuts))
        columns = (named.get(f"{category}_{end}") for end in ends)
        column = next((one for one in columns if one is not None), None)
        if column is not None:
            found[category] = column
    return found
