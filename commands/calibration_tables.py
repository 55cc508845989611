"""A calibration as tables on a terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from clipcal.calibrate.records import BY_HAND
from clipcal.commands.common import interval, print_table

if TYPE_CHECKING:
    from collections.abc import Sequence

    from clipcal.calibrate.contract import Contract
    from clipcal.calibrate.records import Bands, Cut, Evaluation
    from clipcal.calibrate.statistics.bounds import Range


def print_calibration(contract: Contract) -> None:
    """Print all that a person wants to know of a calibration, the thresholds first."""
    _print_cuts(contract)
    _print_chosen(contract)
    _print_bands(contract)
    _print_promises(contract)
    if contract.holdout is not None:
        title = f"On {contract.holdout.images:,} labelled images kept out of the fit"
        _print_evaluation(contract.holdout, "Kept out", title)
    if contract.crossfit is not None:
        _print_evaluation(contract.crossfit, "Out of fold", _crossfit_title(contract.crossfit))
    _print_probabilities(contract)
    _print_people(contract)
    _print_learning(contract)
    _print_overall(contract)


def _print_cuts(contract: Contract) -> None:
    rows = [
        (
            category,
            *(() if _is_binary(contract) else (level,)),
            _status(cut),
            "" if cut.threshold is None else f"{cut.threshold:.4f}",
            _ends(cut.interval),
            f"{cut.positives:,} of {cut.n:,}" if cut.n else "",
            interval(cut.recall),
            interval(cut.precision),
            "" if cut.flags is None else f"{cut.flags:,}",
            *_expected(cut),
        )
        for category, level, cut in _cuts(contract)
    ]
    level = () if _is_binary(contract) else ("Level",)
    labelled = ("Status", ">Threshold", ">Interval", ">Positives", ">Recall", ">Precision")
    columns = (*labelled, ">Flags", ">Right", ">Missed")
    _print_filled(("Category", *level, *columns), rows, title=_cuts_title(contract))


def _print_chosen(contract: Contract) -> None:
    """Say what the table leaves out."""
    chosen = contract.sampling.chosen if contract.sampling else 0
    if chosen:
        one = "1 labelled image, chosen for its score, counts"
        several = f"{chosen:,} labelled images, chosen for their scores, count"
        click.echo(f"{one if chosen == 1 else several} in nothing yet.")


def _cuts_title(contract: Contract) -> str:
    """Say what was asked for, and what the columns are; with bands both thresholds' targets."""
    cuts = [cut for _, _, cut in _cuts(contract)]
    blocked = {cut.bands.objective for cut in cuts if cut.bands is not None} - {BY_HAND}
    together = " for all together" if contract.joint else ""
    asked = " and ".join(
        [contract.target, *(f"block at {objective}" for objective in sorted(blocked))]
    )
    labelled = any(cut.n for cut in cuts)
    fitted = "; recall and precision on the labels fitted to, so optimistic" if labelled else ""
    likely = ", how many are likely right" if any(cut.expected for cut in cuts) else ""
    sure = f" at {contract.confidence:.0%} confidence{together}" if labelled else ""
    placed = "; some thresholds placed by hand" if any(cut.by_hand for cut in cuts) else ""
    return f"Target {asked}{sure}{placed}{fitted}; flags in the corpus{likely}"


def _status(one: Cut | Bands) -> str:
    return f"{one.status}, by hand" if one.by_hand else one.status


def _print_filled(columns: Sequence[str], rows: Sequence[Sequence[str]], *, title: str) -> None:
    """Print a table without the columns that say nothing in any row."""
    told = [i for i, _ in enumerate(columns) if any(row[i] not in ("", "–") for row in rows)]
    shown = [[row[i] for i in told] for row in rows]
    print_table([columns[i] for i in told], shown, title=title)


def _expected(cut: Cut) -> tuple[str, str]:
    """Write how many flags are right, and how many positives are missed, as far as is known."""
    expected = cut.expected
    return (
        _count(expected.true_flags if expected else None),
        _count(expected.misses if expected else None),
    )


def _count(number: Range | None) -> str:
    if number is None:
        return ""
    return f"{number.value:,.0f} [{number.low:,.0f}, {number.high:,.0f}]"


def _ends(ends: Range | None) -> str:
    return "" if ends is None else f"[{ends.low:.4f}, {ends.high:.4f}]"


def _print_promises(contract: Contract) -> None:
    said: dict[str, list[str]] = {}  # what holds for several cuts alike is said once
    for category, level_name, cut in _cuts(contract):
        name = category if _is_binary(contract) else f"{category}, {level_name}"
        said.setdefault(cut.guarantee or cut.next_step, []).append(name)
        if cut.bands is not None:
            step = cut.bands.guarantee or cut.bands.next_step
            said.setdefault(step, []).append(f"{name}, block")
    for sentence, names in said.items():
        click.echo(f"{'; '.join(names)}: {sentence}")


def _print_bands(contract: Contract) -> None:
    rows = [
        (
            category if _is_binary(contract) else f"{category}, {level}",
            _status(cut),
            _status(bands),
            f"{bands.allow:,}",
            f"{bands.review:,}",
            f"{bands.block:,}",
            _count(bands.misses),
            _count(bands.wrongly_blocked),
        )
        for category, level, cut in _cuts(contract)
        for bands in [cut.bands]
        if bands is not None
    ]
    banded = [one for one in _cuts(contract) if one[2].bands is not None]
    if rows:
        columns = ("Allow below", "Block above", ">Allow", ">Review", ">Block", ">Missed", ">Wrong")
        asked = sorted({cut.bands.objective for _, _, cut in _cuts(contract) if cut.bands})
        below = BY_HAND if all(cut.by_hand for _, _, cut in banded) else contract.target
        title = (
            f"Three bands, {below} below and {' or '.join(asked)} above: images of the "
            f"corpus, positives allowed, negatives blocked"
        )
        _print_filled(("Category", *columns), rows, title=title)


def _crossfit_title(evaluation: Evaluation) -> str:
    return (
        f"Out of fold: {evaluation.images:,} labelled images, each decided by thresholds that it "
        f"was left out of ({evaluation.folds} folds, {evaluation.repeats} times)"
    )


def _print_evaluation(held: Evaluation, name: str, title: str) -> None:
    """Print the cuts of which something could be judged, or one line where there are none."""
    rows = [
        (
            category,
            level,
            f"{one.positives:,} of {one.n:,}",
            f"{one.flags:,}",
            *(interval(rate) for rate in (one.recall, one.precision, one.f1)),
        )
        for category, levels in held.categories.items()
        for level, one in levels.items()
        if one.recall or one.precision or one.f1
    ]
    if not rows:
        click.echo(f"{name}: too few labels to judge.")
        return
    columns = ("Category", "Level", ">Positives", ">Flags", ">Recall", ">Precision", ">F1")
    _print_filled(columns, rows, title=title)
    shown = {category for category, *_ in rows}
    unjudged = [category for category in held.categories if category not in shown]
    if unjudged:
        click.echo(f"Too few labels to judge: {', '.join(unjudged)}.")
    if held.macro_f1 is not None:
        click.echo(f"Macro F1 over {held.macro_over} cuts: {held.macro_f1:.3f}")


def _print_probabilities(contract: Contract) -> None:
    rows = []
    for category, level, cut in _cuts(contract):
        fitted = cut.probability
        if fitted is None:
            continue
        quality = fitted.quality
        measured = (
            ("", "", "", "")
            if quality is None
            else (
                f"{quality.brier:.3f}",
                f"{quality.brier_of_base_rate:.3f}",
                f"{quality.log_loss:.3f}",
                f"{quality.calibration_error:.3f}",
            )
        )
        shifted = fitted.corpus_prevalence
        rows.append(
            (
                category,
                level,
                fitted.map.kind,
                *measured,
                f"{fitted.labelled_prevalence:.1%}",
                "" if shifted is None else f"{shifted:.1%}",
            )
        )
    if rows:
        errors = (">Brier", ">Base rate's", ">Log loss", ">Calibration error")
        columns = ("Category", "Level", "Map", *errors, ">Labelled", ">Corpus")
        print_table(columns, rows, title="Probabilities, judged out of fold; rate of positives")
    if contract.temperature is not None:
        click.echo(
            f"Class probabilities: softmax of scores / {contract.temperature.temperature:.4g}"
        )


def _print_people(contract: Contract) -> None:
    named = any(one.kappa for one in contract.people.values())
    rows = [
        (
            category,
            f"{one.images:,}",
            f"{one.ratings:,}",
            interval(one.alpha),
            *((interval(one.kappa),) if named else ()),
            *(interval(x) for x in (one.ceiling, one.machine)),
            *(interval(x) for x in (one.ceiling_kappa, one.machine_kappa)),
        )
        for category, one in contract.people.items()
    ]
    if rows:
        between = (">Alpha", *((">Kappa of pairs",) if named else ()), ">A rater", ">Thresholds")
        columns = ("Category", ">Images", ">Ratings", *between, ">A rater's κ", ">Thresholds' κ")
        title = "People: how far raters agree, and one rater, or the thresholds, with the majority"
        _print_filled(columns, rows, title=title)


def _print_learning(contract: Contract) -> None:
    rows = [
        (
            category,
            one.kind,
            interval(one.plain),
            interval(one.learned),
            f"{one.gain.value:+.3f} [{one.gain.low:+.3f}, {one.gain.high:+.3f}]",
            "used" if one.offered else "not used",
        )
        for category, one in contract.comparisons.items()
    ]
    if rows:
        columns = ("Category", "Learned", ">Prompts' AUC", ">Learned AUC", ">Gain", "")
        print_table(columns, rows, title="Learning from labels: area under the curve, out of fold")


def _print_overall(contract: Contract) -> None:
    model = contract.overall
    if model is None:
        return
    click.echo(
        f"Overall verdict, fitted to {model.images:,} images: agreement out of fold "
        f"{interval(model.agreement) if model.agreement else 'not known: too few images'}"
        + (f"; the rule's: {interval(model.rule_agreement)}" if model.rule_agreement else "")
    )


def _cuts(contract: Contract) -> list[tuple[str, str, Cut]]:
    return [
        (category, level, cut)
        for category, cuts in contract.categories.items()
        for level, cut in cuts.items()
    ]


def _is_binary(contract: Contract) -> bool:
    return len(contract.levels) == 2
