"""From a corpus and a label file to a contract.

This is where labels and statistics meet the corpus on disk; the command line, and whatever else
serves people, calls these functions and prints.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from clipcal import __version__
from clipcal.calibrate.contract import Contract, KeptPromptSet, Labels
from clipcal.calibrate.cuts.calibration import Calibration, Cuts, calibrate
from clipcal.calibrate.cuts.evaluation import split
from clipcal.calibrate.cuts.probabilities import class_temperature, with_probabilities
from clipcal.calibrate.cuts.sample import Sample
from clipcal.calibrate.fitted_verdict import fit_verdict, refuse_without_verdicts
from clipcal.calibrate.labels.kept_verdicts import keep_verdicts
from clipcal.calibrate.labels.matching import NO_ROW, Match
from clipcal.calibrate.labels.pool import SOURCE, Pool
from clipcal.calibrate.labels.table import UNKNOWN
from clipcal.calibrate.material import (
    Material,
    gather_material,
    read_tables,
    refuse_unlabelled,
)
from clipcal.calibrate.people import agreement_of
from clipcal.calibrate.plan import CalibrationPlan, plan_of
from clipcal.calibrate.reference import reference_of
from clipcal.calibrate.sampling.left_blank import blank_cells, remember_left_blank
from clipcal.calibrate.scoring.corpus_scores import CorpusScores
from clipcal.calibrate.scoring.under_contract import (
    TextSource,
    choose_prompt_set,
    fingerprint_of,
    remember_prompt_set,
)
from clipcal.calibrate.statistics.probability import ClassTemperature
from clipcal.calibrate.statistics.sampling import Int64
from clipcal.index.store import Corpus
from clipcal.prompts.promptset import PromptSet

__all__ = ["Calibrated", "calibrate_corpus", "material_of", "plan_of"]


@dataclass(frozen=True, slots=True)
class Calibrated:
    """A fitted contract and what happened to the label file on the way.

    Attributes
    ----------
    contract : Contract
        The calibration.
    match : Match
        Which rows of the label file found which images.
    notes : tuple of str
        What was aggregated, merged, guessed or ignored.
    labels : dict
        The known labels of the corpus's images, as uri → category → level.
    blank : dict
        Per category the contents that were asked about and have no label.
    prompts : str or None
        The prompt set that was named.
    pooled : bool
        Whether the labels are those that the corpus keeps anyway.
    verdicts : dict
        Per overall verdict the contents that people gave it, where one was fitted.
    """

    contract: Contract
    match: Match
    notes: tuple[str, ...]
    labels: dict[str, dict[str, str]]
    blank: dict[str, Int64]
    prompts: str | None = None
    pooled: bool = False
    verdicts: Mapping[str, Int64] = field(default_factory=dict)

    def keep(self, corpus: Corpus) -> None:
        """Keep labels and prompt set with the corpus; to be called once the contract is saved."""
        if self.contract.labels.images and not self.pooled:
            corpus.replace_labels(self.labels)
            remember_left_blank(corpus, self.blank)
            if self.verdicts:
                keep_verdicts(corpus, self.verdicts)
        if self.prompts is not None:
            remember_prompt_set(corpus, self.prompts)


def calibrate_corpus(
    corpus: Corpus,
    labels: Path | Sequence[Path] | Pool | None,
    *,
    prompts: str | PromptSet | None = None,
    source: TextSource | None = None,
    plan: CalibrationPlan | None = None,
) -> Calibrated:
    """Fit a calibration to labels; the corpus stays as it is until `Calibrated.keep`.

    Parameters
    ----------
    corpus : Corpus
        The corpus.
    labels : pathlib.Path, a sequence of them, Pool, or None
        People's label files, of any of the kinds that :func:`read_labels` reads; or what the
        corpus keeps of labels, in the categories and levels of its prompt set. A budget of
        flags needs none, nor do thresholds that a person placed.
    prompts : str or PromptSet, optional
        The prompt set: its name, which the corpus then remembers, or the set itself.
    source : TextSource, optional
        Where text vectors come from.
    plan : CalibrationPlan, optional
        What to attain; recall 0.9 with 95% confidence by default.

    Returns
    -------
    Calibrated
        The contract, the match and notes. Rows that match no image are in the match.

    Raises
    ------
    LabelError
        If the label file cannot be understood.
    CalibrationError
        If the target is none, no labelled image is in the corpus, a guarantee is asked for
        of labels that cannot give it, or a placed threshold crosses another.
    """
    plan, source = plan or CalibrationPlan(), source or TextSource()
    if isinstance(labels, Pool) and not labels.table.images:
        refuse_unlabelled(plan.goal, plan)
    named = labels if isinstance(labels, Pool) else _files(labels)
    refuse_without_verdicts(named, plan)
    material = material_of(corpus, labels, prompts=prompts, source=source, plan=plan)
    done = calibrate(
        material.sample,
        plan.goal,
        material.scored.scores,
        material.scored.categories,
        material.table.levels,
        placed=plan.placed,
        source=_as_typed(labels, corpus, prompts, source, plan),
        population=material.population,
        evaluating=plan.evaluating,
    )
    kept, _ = split(material.sample, plan.holdout, plan.seed)
    cuts, lacking = _cuts(material, kept, done, plan)
    contract = _contract(material, kept, done, cuts, plan)
    overall = fit_verdict(material, kept, done.decided, named, plan)
    contract = contract.model_copy(update={"overall": overall.model})
    return Calibrated(
        contract,
        material.match,
        (*material.notes, *lacking, *_on_placed(material, plan), *overall.notes),
        _by_uri(material),
        _blank(material),
        prompts if isinstance(prompts, str) else None,
        isinstance(labels, Pool),
        overall.given,
    )


def material_of(
    corpus: Corpus,
    labels: Path | Sequence[Path] | Pool | None,
    *,
    prompts: str | PromptSet | None = None,
    source: TextSource | None = None,
    plan: CalibrationPlan | None = None,
    scored: CorpusScores | None = None,
    keep: bool = True,
) -> Material:
    """Gather what a calibration would be made of, and fit nothing.

    Parameters
    ----------
    corpus, labels, prompts, source, plan
        As for `calibrate_corpus`; a pool may be empty.
    scored : CorpusScores, optional
        The scores that a pool's places are among, by the prompt set and the plan's rule.
    keep : bool
        Whether what is computed for it is kept on the disk.

    Returns
    -------
    Material
        Scores and labels.

    Raises
    ------
    LabelError
        If a label file cannot be understood.
    CalibrationError
        As for `calibrate_corpus`, or if images went or came back since the pool was read.
    """
    plan, source = plan or CalibrationPlan(), source or TextSource()
    prompt_set = prompts if isinstance(prompts, PromptSet) else choose_prompt_set(corpus, prompts)
    named = _as_typed(labels, corpus, prompts, source, plan)
    if isinstance(labels, Pool):
        table, match = labels.table, labels.match
        return gather_material(
            corpus, prompt_set, table, source, plan, named, match, scored, keep=keep
        )
    table = read_tables(_files(labels), prompt_set, plan.goal, plan)
    return gather_material(corpus, prompt_set, table, source, plan, named, keep=keep)


def _files(labels: Path | Sequence[Path] | None) -> tuple[Path, ...]:
    return (labels,) if isinstance(labels, Path) else tuple(labels or ())


def _on_placed(material: Material, plan: CalibrationPlan) -> tuple[str, ...]:
    """Note the thresholds that lie on a scale which other labels would change."""
    heads = material.learned.heads if material.learned else {}
    moved = dict.fromkeys(one.category for one in plan.placed if one.category in heads)
    return tuple(
        f"The threshold of '{category}' is placed on a learned score, which other labels would "
        f"change: place it again after learning again."
        for category in moved
    )


def _as_typed(
    labels: Path | Sequence[Path] | Pool | None,
    corpus: Corpus,
    prompts: str | PromptSet | None,
    source: TextSource,
    plan: CalibrationPlan,
) -> str:
    """Write the label files, and what else the command needs, as a shell takes them.

    For labels that the corpus keeps it is the file that they are exported to.
    """
    if isinstance(labels, Pool):
        labels = (Path(SOURCE),) if labels.table.images else ()
    files = _files(labels)
    if not files:
        return ""
    words = [" --labels ".join(shlex.quote(str(file)) for file in files)]
    options = {
        "--prompts": prompts if isinstance(prompts, str) else None,
        "--prompt-vectors": source.file,
        "--rule": None if plan.rule == "margin" else plan.rule,
        "--holdout": plan.holdout or None,
        "--corpus": None if corpus.path == Path("corpus") else corpus.path,
    }
    words += [f"{name} {shlex.quote(str(value))}" for name, value in options.items() if value]
    return " ".join([*words, *(["--learn"] if plan.learn else [])])


def _cuts(
    material: Material, kept: Sample, done: Calibration, plan: CalibrationPlan
) -> tuple[Cuts, tuple[str, ...]]:
    """Add probabilities to the cuts, where they were asked for."""
    if plan.probabilities in (None, "temperature"):
        return done.cuts, ()
    return with_probabilities(
        done.cuts,
        kept,
        material.scored.scores,
        plan.probabilities,
        seed=plan.seed,
        confidence=plan.confidence,
        prior_shift=plan.prior_shift,
    )


def _temperature(
    material: Material, kept: Sample, plan: CalibrationPlan
) -> ClassTemperature | None:
    if plan.probabilities != "temperature":
        return None
    return class_temperature(kept, material.scored.categories, plan.seed, plan.confidence)


def _contract(
    material: Material, kept: Sample, done: Calibration, cuts: Cuts, plan: CalibrationPlan
) -> Contract:
    table, prompt_set = material.table, material.prompts.prompt_set
    learned = material.learned
    return Contract(
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        clipcal=__version__,
        model=material.corpus.model.name,
        fingerprint=fingerprint_of(material.corpus, prompt_set, material.rule),
        prompt_set=KeptPromptSet.of(prompt_set),
        labels=Labels(name=table.source, sha256=table.sha256, images=material.images),
        levels=table.levels,
        confidence=plan.confidence,
        target=str(plan.goal.target),
        block=None if plan.goal.block is None else str(plan.goal.block),
        seed=plan.seed,
        joint=plan.joint,
        holdout=done.holdout,
        crossfit=done.crossfit and done.crossfit.evaluation,
        sampling=material.sampling,
        people=agreement_of(
            table,
            material.match,
            material.scored,
            material.sample,
            done.decided,
            confidence=plan.confidence,
            seed=plan.seed,
        ),
        heads=learned.heads if learned else {},
        comparisons=learned.comparisons if learned else {},
        temperature=_temperature(material, kept, plan),
        reference=reference_of(material.corpus, material.scored),
        warnings=material.warnings,
        categories=cuts,
    )


def _by_uri(material: Material) -> dict[str, dict[str, str]]:
    """The known labels of matched images, as uri → category → level."""
    table, kept = material.table, dict[str, dict[str, str]]()
    for image, row in enumerate(material.match.rows.tolist()):
        if row < 0:
            continue
        values = zip(table.categories, table.values[image].tolist(), strict=True)
        known = {category: table.levels[value] for category, value in values if value != UNKNOWN}
        kept.setdefault(material.scored.uris[row], {}).update(known)
    return kept


def _blank(material: Material) -> dict[str, Int64]:
    """The cells of matched images that were asked about and have no label."""
    places = material.match.rows
    rows = np.where(places < 0, NO_ROW, material.scored.rows[places])
    return blank_cells(material.table, rows)
