"""Laws of people's overall verdicts: kept with the corpus, exported, and fitted to again."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result
from conftest import DIM
from exchange_case import CATEGORIES, LEVELS, NAMES, corpus_of, filled
from review_case import HOME, IMAGES, PROMPTS, Case, closing, folder, served, template, truth_of

from clipcal.calibrate.contract import Contract
from clipcal.calibrate.labels.exchange.exporting import export
from clipcal.calibrate.labels.exchange.files import read_exchange, write_exchange
from clipcal.calibrate.labels.kept_verdicts import keep_verdicts, kept_verdicts
from clipcal.calibrate.labels.overall import read_overall
from clipcal.calibrate.labels.pool import pool_csv, pooled
from clipcal.cli import app
from clipcal.errors import LabelError
from clipcal.index.judgements import Said, judge
from clipcal.index.names import cell_name
from clipcal.index.store import Corpus, Outcome

__all__ = ["folder", "template"]

JUDGED = f'{PROMPTS}[overall]\nbad = "positive >= 1"\notherwise = "good"\n'
FILED = 150  # images that the label file has


@pytest.fixture
def corpus(tmp_path: Path) -> Corpus:
    return filled(tmp_path / "corpus")


def keep(corpus: Corpus, **rows: list[int]) -> None:
    keep_verdicts(corpus, {name: np.array(some, np.int64) for name, some in rows.items()})


def say(corpus: Corpus, batch: str, item: int, rater: str = "ann", level: str = "major") -> None:
    judge(corpus, batch, [Said(item, "gore", level)], rater=rater, origin="random")


# --- kept -------------------------------------------------------------------------------------


def test_what_is_kept_last_takes_the_place_of_what_was_kept_before(corpus: Corpus) -> None:
    assert kept_verdicts(corpus) == {}
    keep(corpus, bad=[0, 2], good=[1])
    keep(corpus, bad=[3], good=[])
    assert kept_verdicts(corpus) == {3: "bad"}


def test_what_is_kept_and_cannot_be_read_is_told(corpus: Corpus) -> None:
    corpus.note("verdicts", '{"bad": "x"}')
    with pytest.raises(LabelError, match=r"--overall fitted"):
        kept_verdicts(corpus)


def test_the_pool_has_the_verdict_of_each_labelled_image_and_of_no_other(corpus: Corpus) -> None:
    say(corpus, "a", 3)
    say(corpus, "b", 1)
    assert pooled(corpus, CATEGORIES, LEVELS).verdicts == ()
    keep(corpus, bad=[1], good=[2, 5])  # the second, third and last image
    pool = pooled(corpus, CATEGORIES, LEVELS)
    assert (len(pool.table.images), pool.verdicts) == (2, ("", "good"))


def test_copies_have_one_verdict_and_another_content_loses_it(tmp_path: Path) -> None:
    corpus = corpus_of(tmp_path / "copies", ["/a.png", "/b.png", "/c.png"], [0, 0, 1])
    for item in (1, 2, 3):
        say(corpus, str(item), item)
    keep(corpus, bad=[0, 1])
    assert pooled(corpus, CATEGORIES, LEVELS).verdicts == ("bad", "bad", "bad")
    corpus.replace_labels({"/c.png": {"gore": "major"}})
    other = "f" * 64
    corpus.commit([Outcome("/c.png", other, row=2)], np.ones((1, DIM), np.float16), [other])
    assert pooled(corpus, CATEGORIES, LEVELS).verdicts == ("bad", "bad", "")


# --- exported ---------------------------------------------------------------------------------


def test_every_row_of_the_exported_file_ends_with_its_images_verdict(corpus: Corpus) -> None:
    say(corpus, "a", 2)
    say(corpus, "b", 2, "bob", "none")
    say(corpus, "c", 3)
    keep(corpus, bad=[1])
    data = pool_csv(corpus, CATEGORIES, LEVELS, names=lambda uri: uri[8:])
    assert data.decode().splitlines() == [
        "image,category,label,annotator,origin,Overall",
        "b/1.png,gore,major,ann,random,bad",
        "b/1.png,gore,none,bob,random,bad",
        "1.png,gore,major,ann,random,",
    ]


def test_the_exported_file_is_read_as_the_pool_is_and_imported_without_the_verdicts(
    corpus: Corpus, tmp_path: Path
) -> None:
    for number, _ in enumerate(NAMES, start=1):
        say(corpus, f"a{number}", number)
        say(corpus, f"b{number}", number, "bob", "none")
    keep(corpus, **{"so, so": [1, 3], "bad": [2]})
    done = export(corpus, CATEGORIES, LEVELS, names=cell_name)
    data = write_exchange("csv", done.pictures, CATEGORIES, done.levels)
    assert data == pool_csv(corpus, CATEGORIES, LEVELS)
    (tmp_path / "reviewed.csv").write_bytes(data)
    found = read_overall(tmp_path / "reviewed.csv", ("good", "so, so", "bad"))
    assert found is not None
    pool = pooled(corpus, CATEGORIES, LEVELS)
    assert pool.verdicts == ("", "so, so", "bad", "so, so", "", "")
    assert (found[0], found[1].tolist()) == (pool.table.images, [-1, 1, 2, 1, -1, -1])
    read = read_exchange(data, None, name="x", categories=CATEGORIES, levels=LEVELS, rater="me")
    assert (read.format, len(read.given), read.ignored) == ("csv", 12, ("Overall",))


@pytest.mark.parametrize("name", ["Overall", "over_all"])
def test_a_category_of_the_columns_name_is_no_verdict(corpus: Corpus, name: str) -> None:
    judge(corpus, "a", [Said(1, name, "positive")], rater="ann", origin="random")
    keep(corpus, bad=[0])
    pool = pooled(corpus, (name,), ())
    assert (pool.verdicts, pool.table.values.tolist()) == ((), [[1]])
    assert b"bad" not in pool_csv(corpus, (name,), ())


# --- fitted to again --------------------------------------------------------------------------


@pytest.fixture
def judged(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Case]:
    """A service on a corpus that was calibrated with a label file, its verdicts too."""
    monkeypatch.chdir(folder)
    Path("judged.toml").write_text(JUDGED)
    write_file(Path("human.csv"))
    calibrate("human.csv", "--overall", "fitted")
    yield from closing(served(folder, "judged.toml"))


def write_file(file: Path, words: tuple[str, str] = ("good", "bad")) -> None:
    """Write labels of the first images; verdicts are of the water, which no rule over both says."""
    with file.open("w", newline="") as stream:
        sheet = csv.writer(stream)
        sheet.writerow(("image", "fire", "water", "Overall"))
        for number, (fire, water) in enumerate(truth_of()[:FILED].tolist()):
            verdict = "" if number % 10 == 9 else words[water]
            name = f"{HOME}/{number % 3}/{number:04d}.jpg"
            sheet.writerow((name, *(("no", "yes")[x] for x in (fire, water)), verdict))


def command(name: str, *options: str) -> Result:
    done = CliRunner().invoke(app, [*name.split(), *options])
    assert done.exit_code == 0, (done.output, done.exception)
    return done


def calibrate(file: str, *options: str) -> Contract:
    named = {"corpus": "corpus", "prompts": "judged.toml", "prompt-vectors": "text.npz"}
    texts = [f"--{option}={Path(name).resolve()}" for option, name in named.items()]
    command("calibrate", "--labels", file, *texts, *options)
    return Contract.load(Path("calibration.json"))


def fit(case: Case, **wish: Any) -> dict[str, Any]:
    reply = case.post("calibrations", wish)
    assert reply.status_code == 200, reply.text
    return dict(reply.json())


def save(case: Case, **wish: Any) -> tuple[Contract, str]:
    """Save what is fitted on the page; returns it with the notes."""
    sha256 = case.get("calibration").json()["sha256"]
    reply = fit(case, save=True, replaces=sha256, **wish)
    return Contract.load(case.settings.calibration), " ".join(reply["notes"])


def test_a_fitted_verdict_is_kept_when_a_calibration_is_saved_from_the_page(judged: Case) -> None:
    before = Contract.load(judged.settings.calibration)
    assert before.overall is not None
    assert before.overall.images == FILED - FILED // 10
    contract, notes = save(judged)
    assert contract.overall == before.overall
    assert "verdict" not in notes
    judged.label_truth(range(FILED + 1, IMAGES))
    later, _ = save(judged, placed=[{"category": "fire", "threshold": 0.4}])
    assert later.overall is not None
    assert later.overall.fit == before.overall.fit  # nobody judged the new images as a whole
    assert later.labels.images > contract.labels.images
    told = {item["overall"] for item in judged.get("items").json()["items"]}
    assert told <= {"good", "bad"}


@pytest.mark.parametrize(
    ("wish", "options"),
    [
        ({"target": "f1"}, ("--target", "f1")),
        ({"bands": "recall=0.8,precision=0.7"}, ("--bands", "recall=0.8,precision=0.7")),
    ],
)
def test_the_saved_verdict_is_what_the_command_line_fits_to_the_exported_labels(
    judged: Case, wish: dict[str, Any], options: tuple[str, ...]
) -> None:
    judged.label_truth(range(100, 220))
    judged.label({5: "negative", 6: "positive", 7: None}, "water", rater="bob")
    ours, _ = save(judged, **wish)
    command("labels export", "-o", "reviewed.csv", "--prompts", "judged.toml")
    assert ours.overall is not None
    theirs = calibrate("reviewed.csv", "--overall", "fitted", *options)
    assert ours.model_dump(exclude={"created"}) == theirs.model_dump(exclude={"created"})
    again, _ = save(judged, **wish)  # the same once more, from what that command kept
    assert ours.model_dump(exclude={"created"}) == again.model_dump(exclude={"created"})


def test_verdicts_are_in_the_file_that_the_service_sends(judged: Case) -> None:
    rows = list(csv.DictReader(io.StringIO(judged.get("labels/export").text)))
    said = {row["image"].rpartition("/")[2]: row["Overall"] for row in rows}
    with Path("human.csv").open(newline="") as stream:
        human = {Path(row["image"]).name: row["Overall"] for row in csv.DictReader(stream)}
    assert said == human
    fire = judged.get("labels/export", category="fire").text
    assert fire.splitlines()[0].endswith(",Overall")


def test_a_calibration_by_the_rule_leaves_the_verdicts_that_were_fitted_to(judged: Case) -> None:
    first = Contract.load(judged.settings.calibration)
    kept = judged.settings.calibration.read_bytes()
    assert calibrate("human.csv").overall is None
    assert save(judged) == (Contract.load(judged.settings.calibration), "")
    judged.settings.calibration.write_bytes(kept)
    assert save(judged)[0].overall == first.overall


@pytest.mark.parametrize(
    ("verdicts", "why"),
    [
        ({}, "keeps no overall verdicts"),
        ({"fine": [0, 1], "good": [2, 3], "bad": [4]}, "'fine', and the prompt set knows only"),
        ({"good": [*range(40)]}, "all of one level"),
    ],
)
def test_without_verdicts_to_fit_to_thresholds_are_saved_and_a_note_says_why(
    judged: Case, verdicts: dict[str, list[int]], why: str
) -> None:
    corpus = Corpus.open(judged.settings.corpus)
    keep(corpus, **verdicts)
    corpus.close()
    contract, notes = save(judged)
    assert contract.overall is None
    assert "No overall verdict is fitted" in notes
    assert why in notes
    assert contract.categories["water"]["positive"].positives > 0
    assert "verdict" not in " ".join(fit(judged)["notes"])


def test_what_is_tried_on_thresholds_needs_no_verdict(judged: Case) -> None:
    corpus = Corpus.open(judged.settings.corpus)
    keep(corpus)
    corpus.close()
    reply = judged.post("what-if", {"trials": [{"category": "fire", "threshold": 0.3}]})
    assert reply.status_code == 200, reply.text
    assert judged.get("review/outlook").status_code == 200


def test_a_report_of_a_calibration_from_the_page_knows_its_labels(judged: Case) -> None:
    save(judged)
    texts = ("--prompt-vectors", "text.npz")
    told = command("report", "-o", "report.html", "--json", *texts).stdout
    assert json.loads(told)
    assert "The labels have changed" not in Path("report.html").read_text()
    judged.label_truth(range(200, 220))
    command("report", "-o", "report.html", "--json", *texts)
    assert "The labels have changed" in Path("report.html").read_text()
