"""Laws of the labels on a report: those of now, told from those that were calibrated with."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from conftest import IDENTITY, unit
from report_cases import Page

from clipcal.calibrate.contract import Contract
from clipcal.calibrate.labels.pool import pooled
from clipcal.calibrate.plan import CalibrationPlan
from clipcal.calibrate.report.build import build_report
from clipcal.calibrate.report.content import Report
from clipcal.calibrate.report.label_words import changed_words, source_words, uncounted_words
from clipcal.calibrate.report.labels import LabelSource, labels_now
from clipcal.calibrate.report.page import render
from clipcal.calibrate.scoring.under_contract import TextSource, scores_under_contract
from clipcal.calibrate.workflow import Pool, calibrate_corpus
from clipcal.cli import app
from clipcal.index.judgements import Origin, Said, judge, undo
from clipcal.index.store import Corpus, Outcome
from clipcal.prompts.vectors import TextVectors

IMAGES = 60
NAMES = ("fire", "water")
SET = '[category.fire]\nprompts = ["a fire"]\n[category.water]\nprompts = ["the sea"]\n'
PLAN = CalibrationPlan(target="f1", folds=0)
LONG_AGO = "2020-01-01T00:00:00+00:00"
WORDS = ("negative", "positive")
TRUTH = unit(IMAGES, 0) @ unit(2, 5).T > 0


@pytest.fixture
def corpus(tmp_path: Path) -> Corpus:
    """Images, of which the first twenty have labels from a file."""
    corpus = Corpus.create(tmp_path / "corpus", IDENTITY)
    outcomes = [Outcome(f"/photos/{i}.jpg", f"{i:064d}", row=i) for i in range(IMAGES)]
    corpus.commit(outcomes, unit(IMAGES, 0).astype(np.float16), [o.sha256 for o in outcomes])
    texts = TextVectors(("a fire", "the sea"), unit(2, 5), IDENTITY.fingerprint)
    texts.save(tmp_path / "text.npz")
    (tmp_path / "set.toml").write_text(SET)
    rows = (f"/photos/{i}.jpg,{int(TRUTH[i, 0])},{int(TRUTH[i, 1])}" for i in range(20))
    (tmp_path / "human.csv").write_text("\n".join(["image,fire,water", *rows]))
    return corpus


def fit(corpus: Corpus, labels: Path | Pool) -> Contract:
    folder = corpus.path.parent
    source = TextSource(file=folder / "text.npz")
    prompts = str(folder / "set.toml")
    done = calibrate_corpus(corpus, labels, prompts=prompts, source=source, plan=PLAN)
    done.keep(corpus)
    return done.contract


def say(
    corpus: Corpus,
    images: range,
    *,
    category: str = "fire",
    wrong: bool = False,
    rater: str = "ann",
    origin: Origin = "random",
) -> str:
    """Let a rater say what is true of some images, or the reverse; return the batch."""
    batch = f"{rater} {category} {images} {wrong}"
    column = NAMES.index(category)
    said = [
        Said(corpus.find(f"/photos/{i}.jpg").id, category, WORDS[int(TRUTH[i, column] ^ wrong)])
        for i in images
    ]
    judge(corpus, batch, said, rater=rater, origin=origin)
    return batch


def report_on(corpus: Corpus, contract: Contract) -> Report:
    source = TextSource(file=corpus.path.parent / "text.npz")
    scored = scores_under_contract(corpus, contract, source=source)
    labels, known = labels_now(corpus, scored.categories, contract)
    return build_report(scored, labels, contract, source=known)


def counts_of(report: Report) -> list[tuple[int, int]]:
    cuts = [part.confusion for _, part in report.cuts()]
    return [(one.n, one.positives) for one in cuts if one]


def test_a_report_counts_the_labels_that_the_calibration_was_fitted_to(corpus: Corpus) -> None:
    fit(corpus, corpus.path.parent / "human.csv")
    say(corpus, range(15, 40))
    say(corpus, range(10, 30), category="water", rater="bob")
    contract = fit(corpus, pooled(corpus, NAMES, ()))
    report = report_on(corpus, contract)
    cuts = [cuts["positive"] for cuts in contract.categories.values()]
    assert counts_of(report) == [(cut.n, cut.positives) for cut in cuts]
    assert [n for n, _ in counts_of(report)] == [40, 30]
    assert not report.source.changed
    assert (report.source.filed, report.source.judged) == (25, 45)
    assert report.source.raters == ("ann", "bob")
    assert changed_words(report.source, report.other_labels) == ""


def test_what_is_said_and_undone_since_a_calibration_from_the_pool_is_named(
    corpus: Corpus,
) -> None:
    before = say(corpus, range(30))
    say(corpus, range(25), category="water")
    contract = fit(corpus, pooled(corpus, NAMES, ()))
    ahead = contract.model_copy(update={"created": "2999-01-01T00:00:00+00:00"})
    assert not report_on(corpus, ahead).source.changed
    say(corpus, range(30, 37))
    told = report_on(corpus, ahead).source
    assert (told.changed, dict(told.differing)) == (True, {})
    assert changed_words(told, ()).startswith("The labels have changed since the calibration. ")
    behind = contract.model_copy(update={"created": LONG_AGO})
    assert report_on(corpus, behind).source.differing == {"fire": 37, "water": 25}
    undo(corpus, before, rater="ann")
    report = report_on(corpus, contract)
    assert report.source.changed
    assert report.source.differing["fire"] == 37  # thirty of them undone
    assert counts_of(report)[0][0] == 7
    assert "fire (37 images)" in Page(render(report, {})).text


def test_after_a_calibration_from_a_file_what_raters_say_otherwise_is_named(
    corpus: Corpus,
) -> None:
    contract = fit(corpus, corpus.path.parent / "human.csv")
    say(corpus, range(10))
    assert not report_on(corpus, contract).source.changed
    say(corpus, range(5), wrong=True)
    say(corpus, range(40, 42), category="water")
    report = report_on(corpus, contract)
    assert report.source.differing == {"fire": 5, "water": 2}
    assert counts_of(report)[0] == (20, TRUTH[:20, 0].sum() + 5 - 2 * TRUTH[:5, 0].sum())


def test_labels_of_images_chosen_for_their_scores_are_shown_and_not_counted(
    corpus: Corpus,
) -> None:
    fit(corpus, corpus.path.parent / "human.csv")
    say(corpus, range(40, 52), origin="flagged", wrong=True)
    contract = fit(corpus, pooled(corpus, NAMES, ()))
    report = report_on(corpus, contract)
    assert contract.sampling is not None
    assert contract.sampling.chosen == 12
    assert len(report.source.uncounted["fire"]) == 12
    assert [n for n, _ in counts_of(report)] == [20, 20]
    assert report.other_labels == ()
    assert report.labelled == 32
    rows = [row for _, part in report.cuts() for row in part.pictures if row.kind == "missed"]
    assert any(picture.row >= 40 for row in rows for picture in row.pictures)
    page = Page(render(report, {})).squeezed
    assert uncounted_words(12) in page
    assert "12 more images were labelled because somebody saw what scores so" in page


def test_labels_in_levels_that_the_calibration_lacks_are_told(corpus: Corpus) -> None:
    contract = fit(corpus, corpus.path.parent / "human.csv")
    item = corpus.find("/photos/50.jpg")
    judge(corpus, "graded", [Said(item.id, "fire", "major")], rater="ann", origin="random")
    report = report_on(corpus, contract)
    assert "1 label is left out" in Page(render(report, {})).text


def test_the_command_reads_what_raters_said(
    corpus: Corpus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    fit(corpus, tmp_path / "human.csv").save(tmp_path / "calibration.json")
    say(corpus, range(40, 43), rater="Zoë")
    done = CliRunner().invoke(app, ["report", "--prompt-vectors", "text.npz"])
    assert done.exit_code == 0, done.output
    page = Page((tmp_path / "report.html").read_text(encoding="utf-8")).squeezed
    assert "3 were given by Zoë" in page
    assert "fire (3 images)" in page


def test_few_raters_are_named_and_many_are_counted() -> None:
    some = LabelSource(filed=3, judged=4, raters=("a", "b"))
    assert "3 came with a file and 4 were given by a and b" in source_words(some)
    many = dataclasses.replace(some, filed=0, raters=tuple("abcdefg"))
    assert "4 were given by 7 raters" in source_words(many)
    assert source_words(LabelSource()) == ""
