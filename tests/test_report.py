"""Laws of the report: its counts are the decisions', its page is closed and safe."""

from __future__ import annotations

import csv
import hashlib
import json
import os
import re
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from clipcal.calibrate.contract import Contract, Cut, Fingerprint, KeptPromptSet, Labels
from clipcal.calibrate.corpus_scores import CorpusScores
from clipcal.calibrate.fit import fit
from clipcal.calibrate.labels.table import BINARY, LabelTable, match_images
from clipcal.calibrate.report.charts import draw_histogram
from clipcal.calibrate.report.content import (
    Band,
    Histogram,
    Kind,
    PictureRow,
    Report,
    Shown,
    build_report,
)
from clipcal.calibrate.report.page import STATUSES, gather_thumbnails, percent, render, write_page
from clipcal.calibrate.report.thumbnails import SIDE, make_thumbnail
from clipcal.calibrate.scores import decide
from clipcal.calibrate.thresholds import parse_target
from clipcal.cli import app
from clipcal.errors import CalibrationError
from clipcal.prompts.encode import TextVectors
from clipcal.prompts.promptset import load_prompt_set

LADDER = ("none", "minor", "major")
HOSTILE = "/photos/<script>alert('1')</script>\"onload=x .jpg"


class Page(HTMLParser):
    """What a browser would make of a page: elements, attributes and text."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str]] = []
        self.text = ""
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.text += " " if tag in {"td", "th"} else ""
        self.attributes += [(name, value or "") for name, value in attrs]

    def handle_data(self, data: str) -> None:
        self.text += data

    def values(self, attribute: str) -> list[str]:
        return [value for name, value in self.attributes if name == attribute]


def contract_of(categories: dict[str, dict[str, Cut]], levels: tuple[str, ...]) -> Contract:
    return Contract(
        created="2026-11-20T23:15:02+00:00",
        clipcal="0.1.0",
        model="tiny::test",
        fingerprint=Fingerprint(
            model="a" * 64, preprocessing="b" * 64, prompts="c" * 64, score_rule="margin"
        ),
        prompt_set=KeptPromptSet(name="try", sha256="c" * 64, toml=""),
        labels=Labels(name="human.csv", sha256="d" * 64, images=1),
        levels=levels,
        confidence=0.95,
        target="recall=0.9",
        seed=5,
        categories=categories,
    )


def corpus(
    n: int = 200, levels: tuple[str, ...] = BINARY, *, seed: int = 0, holdout: float = 0.0
) -> tuple[CorpusScores, dict[str, dict[str, str]], Contract]:
    """Scores, labels and a fitted contract; the last category has no positive."""
    rng = np.random.default_rng(seed)
    values = rng.integers(0, len(levels), (n, 3)).astype(np.int8)
    values[:, 2] = 0
    scores = (rng.normal(0, 0.1, (n, 3)) + 0.1 * values).astype(np.float32)
    uris = (*(f"/photos/{i:04d}.jpg" for i in range(n - 1)), HOSTILE)
    names = ("alcohol", "weapons", "gore")
    scored = CorpusScores(uris, ("",) * n, np.arange(n), names, scores)
    labelled = rng.permutation(n)[: n // 2]
    table = LabelTable(
        tuple(uris[i] for i in labelled), names, levels, values[labelled], (), (), "d" * 64
    )
    match = match_images(table.images, uris, scored.sha256s)
    target = parse_target("recall=0.9")
    fitted = fit(scores, names, table, match, target, holdout=holdout, seed=5)
    labels = {
        uris[i]: {c: levels[v] for c, v in zip(names, values[i], strict=True)} for i in labelled
    }
    contract = contract_of(fitted.cuts, levels)
    return scored, labels, contract.model_copy(update={"holdout": fitted.holdout})


def page_of(report: Report, **options: str) -> Page:
    return Page(render(report, gather_thumbnails(report), **options))


@pytest.mark.parametrize("levels", [BINARY, LADDER])
@pytest.mark.parametrize("holdout", [0.0, 0.3])
def test_counts_equal_the_decisions(levels: tuple[str, ...], holdout: float) -> None:
    scored, labels, contract = corpus(levels=levels, holdout=holdout)
    report = build_report(scored, labels, contract)
    page = page_of(report)
    for category in report.categories:
        for part in category.cuts:
            threshold = part.cut.threshold
            if threshold is None:
                assert part.flags is None
                continue
            flagged = decide(scored.column(category.name), threshold)
            counts = [[0, 0], [0, 0]]
            for uri, flag in zip(scored.uris, flagged, strict=True):
                if uri in labels:
                    level = labels[uri][category.name]
                    positive = levels.index(level) >= levels.index(part.level)
                    counts[int(not positive)][int(not flag)] += 1
            assert part.flags == flagged.sum()
            assert part.confusion is not None
            (hits, misses), (false_flags, passed) = counts
            assert part.confusion.hits == hits
            assert part.confusion.misses == misses
            assert part.confusion.false_flags == false_flags
            assert part.confusion.passed == passed
            rows = rf"labelled positive\s+{hits}\s+{misses}\s+labelled negative\s+{false_flags}"
            squeezed = re.sub(r"\s+", " ", page.text)
            assert re.search(rf"{rows}\s+{passed}\b", squeezed)
            assert f"{part.flags} {percent(part.flags / report.images)}" in squeezed
    assert report.labelled == len(labels)
    assert report.other_labels == ()


def test_the_page_names_every_category_with_its_status_threshold_and_next_step() -> None:
    scored, labels, contract = corpus()
    page = page_of(build_report(scored, labels, contract))
    for name, cuts in contract.categories.items():
        cut = cuts["positive"]
        _, section = page.text.rsplit(f"\n{name} ", 1)
        status = " ".join(STATUSES[cut.status][:2])
        assert section.lstrip().startswith(status)
        assert (cut.guarantee or cut.next_step) in section
    assert {cut.status for cuts in contract.categories.values() for cut in cuts.values()} == {
        "certified",
        "no_positives",
    }
    assert "try" in page.text
    assert all(character * 64 in page.text for character in "abcd")


@pytest.mark.parametrize("status", STATUSES)
def test_every_status_has_a_page(status: str) -> None:
    scored, labels, _ = corpus()
    threshold = None if status.startswith("no_") else 0.1
    cut = Cut.model_validate(
        {
            "status": status,
            "threshold": threshold,
            "objective": "recall=0.9",
            "n": 100,
            "positives": 0,
            "further_positives": 29,
            "next_step": "Label more.",
        }
    )
    report = build_report(scored, labels, contract_of({"weapons": {"positive": cut}}, BINARY))
    page = page_of(report)
    assert page.text.count(STATUSES[status][1]) >= 3  # in the summary, the key and the section
    assert ("Scores of weapons" in page.text) == (threshold is not None)
    if status != "certified":
        assert "Label more." in page.text


def test_hostile_names_stay_text() -> None:
    scored, _, contract = corpus()
    evil = "<img src=x onerror=alert(1)>"
    cuts = {evil: contract.categories["alcohol"]}
    scored = CorpusScores(
        scored.uris[::-1], scored.sha256s, scored.rows, (evil,), scored.scores[:, :1]
    )
    # The image with the hostile name leads the corpus, and so is on the page.
    scored.scores[0] = 2
    contract = contract.model_copy(update={"categories": cuts, "model": "</style><b>"})
    page = page_of(build_report(scored, {}, contract), note="<script>note</script>")
    assert not {"script", "img", "iframe", "object", "link"} & set(page.tags)
    assert not [name for name, _ in page.attributes if name.startswith("on")]
    assert page.tags.count("style") == 1
    assert HOSTILE in page.values("title")
    assert evil in page.text
    assert "<script>note</script>" in page.text


def test_characters_that_hide_or_reorder_a_name_are_written_out() -> None:
    scored, _, contract = corpus()
    names = tuple(f"/p/{i}‮gpj.\x00\udcff.exe" for i in range(len(scored.uris)))
    scored = CorpusScores(names, scored.sha256s, scored.rows, scored.categories, scored.scores)
    html = render(build_report(scored, {}, contract), {})
    assert not {"‮", "\x00", "\udcff"} & set(html)
    assert "\\u202egpj.\\x00\\udcff.exe" in html


def test_the_page_refers_to_nothing_outside_itself(pictures: Callable[..., Path]) -> None:
    scored, _, contract = corpus()
    files = [str(p) for p in sorted(pictures(20).iterdir())]
    uris = tuple(files) + tuple(f"https://host/{i}.jpg" for i in range(len(scored.uris) - 20))
    scored = CorpusScores(uris, scored.sha256s, scored.rows, scored.categories, scored.scores)
    report = build_report(scored, {}, contract)
    html = render(report, gather_thumbnails(report))
    page = Page(html)
    references = page.values("href") + page.values("src") + page.values("xlink:href")
    assert references
    assert all(r.startswith(("#", "data:image/jpeg;base64,")) for r in references)
    ids = page.values("id")
    assert len(ids) == len(set(ids))
    assert {r[1:] for r in references if r.startswith("#")} <= set(ids)
    assert "url(" not in html
    assert "@import" not in html
    assert "script" not in page.tags


def test_the_same_input_gives_the_same_page_with_each_picture_once(
    pictures: Callable[..., Path],
) -> None:
    scored, _, contract = corpus(n=40)
    uris = tuple(str(p) for p in sorted(pictures(40).iterdir()))
    scored = CorpusScores(uris, scored.sha256s, scored.rows, scored.categories, scored.scores)

    def make() -> str:
        report = build_report(scored, {}, contract)
        return render(report, gather_thumbnails(report))

    assert make() == make()
    data = re.findall(r'href="(data:[^"]+)"', make())
    shown = list(build_report(scored, {}, contract).shown())
    assert len(data) == len(set(data)) == len({picture.uri for picture in shown})
    assert len(shown) > len(data)


def test_an_image_that_is_gone_or_has_changed_is_shown_by_its_name(
    pictures: Callable[..., Path], tmp_path: Path
) -> None:
    good = next(pictures(1).iterdir())
    sha256 = hashlib.sha256(good.read_bytes()).hexdigest()
    assert make_thumbnail(str(good), sha256) is not None
    assert make_thumbnail(str(good), "0" * 64) is None
    (tmp_path / "broken.jpg").write_bytes(b"no")
    for name in ("gone.jpg", "broken.jpg", "", "nul\0.jpg"):
        assert make_thumbnail(str(tmp_path / name)) is None
    scored, labels, contract = corpus()
    page = page_of(build_report(scored, labels, contract))
    assert "file not found or changed" in page.text
    assert "data:" not in str(page.values("href"))


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no pipes by name")
def test_a_pipe_among_imported_names_does_not_hang(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.jpg")
    assert make_thumbnail(str(tmp_path / "pipe.jpg")) is None


@pytest.mark.parametrize("size", [(2000, 30), (30, 2000), (20, 10)])
def test_thumbnails_keep_the_shape_and_stay_small(size: tuple[int, int], tmp_path: Path) -> None:
    Image.new("RGB", size, "red").save(tmp_path / "a.png")
    thumbnail = make_thumbnail(str(tmp_path / "a.png"))
    assert thumbnail is not None
    assert max(thumbnail.width, thumbnail.height) == min(SIDE, max(size))
    assert (thumbnail.width > thumbnail.height) == (size[0] > size[1])


@pytest.mark.parametrize("levels", [BINARY, LADDER])
def test_pictures_stand_where_their_heading_says(levels: tuple[str, ...]) -> None:
    scored, labels, contract = corpus(levels=levels)
    for category in build_report(scored, labels, contract).categories:
        scores = scored.column(category.name)
        for part in category.cuts:
            rows = {row.kind: row for row in part.pictures}
            if part.cut.threshold is None:
                assert set(rows) == {"unlabelled_top"}
                assert all(p.uri not in labels for p in rows["unlabelled_top"].pictures)
                continue
            flagged = decide(scores, part.cut.threshold)
            seen = {kind: [p.score for p in row.pictures] for kind, row in rows.items()}
            assert seen["top"] == sorted(scores[flagged].tolist(), reverse=True)[:6]
            assert seen["above"] == sorted(scores[flagged].tolist())[:6]
            assert seen["below"] == sorted(scores[~flagged].tolist(), reverse=True)[:6]
            assert part.confusion is not None
            totals = {kind: row.total for kind, row in rows.items()}
            assert totals.get("missed", 0) == part.confusion.misses
            assert totals.get("false_flags", 0) == part.confusion.false_flags
            rank = levels.index(part.level)

            def shown(kind: Kind, rows: dict[Kind, PictureRow] = rows) -> tuple[Shown, ...]:
                return rows[kind].pictures if kind in rows else ()

            assert all(levels.index(str(p.label)) >= rank for p in shown("missed"))
            assert all(levels.index(str(p.label)) < rank for p in shown("false_flags"))


def test_copies_of_a_labelled_image_count_once_and_contradicting_ones_not_at_all() -> None:
    scored, labels, contract = corpus()
    report = build_report(scored, labels, contract)
    copies = np.array([*scored.rows, *scored.rows])
    uris = (*scored.uris, *(f"/copy{uri}" for uri in scored.uris))
    doubled = CorpusScores(
        uris, ("",) * len(uris), copies, scored.categories, np.tile(scored.scores, (2, 1))
    )
    twice = {**labels, **{f"/copy{uri}": given for uri, given in labels.items()}}
    again = build_report(doubled, twice, contract)
    assert again.labelled == report.labelled
    for one, other in zip(report.categories, again.categories, strict=True):
        assert one.cuts[0].confusion == other.cuts[0].confusion
    one = next(iter(labels))
    opposite = {"negative": "positive", "positive": "negative"}
    twice[f"/copy{one}"] = {c: opposite[level] for c, level in labels[one].items()}
    fewer = build_report(doubled, twice, contract).categories[0].cuts[0].confusion
    assert fewer is not None
    assert again.categories[0].cuts[0].confusion is not None
    assert fewer.n == again.categories[0].cuts[0].confusion.n - 1


def test_labels_other_than_those_fitted_to_are_told() -> None:
    scored, labels, contract = corpus()
    labels.popitem()
    report = build_report(scored, labels, contract)
    assert report.other_labels == ("alcohol", "weapons")
    assert "not as many" in page_of(report).text


def test_a_level_that_the_contract_does_not_know_is_refused() -> None:
    scored, labels, contract = corpus()
    labels[scored.uris[0]] = {"alcohol": "dreadful"}
    with pytest.raises(CalibrationError, match="dreadful"):
        build_report(scored, labels, contract)


@pytest.mark.parametrize("levels", [BINARY, LADDER])
def test_histograms_count_every_image(levels: tuple[str, ...]) -> None:
    scored, labels, contract = corpus(levels=levels)
    for category in build_report(scored, labels, contract).categories:
        if category.histogram is None:
            assert all(part.cut.threshold is None for part in category.cuts)
            continue
        everything, *by_level = category.histogram.bands
        assert sum(everything.counts) == len(scored.uris)
        assert sum(sum(band.counts) for band in by_level) == len(labels)
        for _, threshold in category.histogram.thresholds:
            assert category.histogram.low < threshold < category.histogram.high


def test_equal_scores_still_have_an_axis() -> None:
    scored, labels, contract = corpus()
    scored.scores[:] = 0.25
    report = build_report(scored, labels, contract)
    assert all(sum(c.histogram.bands[0].counts) == 200 for c in report.categories if c.histogram)
    assert "0.25" in page_of(report).text


@given(
    low=st.floats(-5, 5),
    width=st.floats(1e-4, 10),
    share=st.floats(0.001, 0.999),
    counts=st.lists(st.integers(0, 10**7), min_size=1, max_size=60),
)
def test_charts_stay_in_their_frame(
    low: float, width: float, share: float, counts: list[int]
) -> None:
    bands = (Band("a", tuple(counts)), Band("b", (0,) * len(counts)))
    threshold = low + share * width
    chart = draw_histogram(Histogram(low, low + width, bands, (("minor or above", threshold),)))
    assert 3 <= len(chart.ticks) <= 9
    assert all(0 <= mark.x <= chart.width for mark in (*chart.ticks, *chart.thresholds))
    assert all(low - 1e-9 <= float(t.text) <= low + width + 1e-9 for t in chart.ticks)
    assert len({t.text for t in chart.ticks}) == len(chart.ticks)
    assert [panel.bars.count("M") for panel in chart.panels] == [np.count_nonzero(counts), 0]


@given(st.floats(0, 1))
def test_a_share_is_called_all_or_none_only_if_it_is(share: float) -> None:
    assert (percent(share) == "100%") == (share == 1)
    assert (percent(share) == "0%") == (share == 0)
    assert float(percent(share).strip("<>%")) == pytest.approx(100 * share, rel=5.1e-3, abs=0.011)


def test_a_page_that_cannot_be_written_leaves_the_old_one(tmp_path: Path) -> None:
    write_page(tmp_path / "a.html", "old")
    write_page(tmp_path / "a.html", "new")
    assert (tmp_path / "a.html").read_text() == "new"
    with pytest.raises(CalibrationError, match="clipcal report -o"):
        write_page(tmp_path / "nowhere" / "a.html", "page")
    (tmp_path / "folder.html").mkdir()
    with pytest.raises(CalibrationError):
        write_page(tmp_path / "folder.html", "page")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.html", "folder.html"]


def test_the_command_writes_the_page_and_says_what_is_on_it(
    tmp_path: Path, pictures: Callable[..., Path], run_embed: Callable[..., object]
) -> None:
    photos = pictures(30)
    run_embed(photos)
    (tmp_path / "set.json").write_text(json.dumps({"bright": ["a light"], "dark": ["a night"]}))
    sentences = load_prompt_set(str(tmp_path / "set.json")).sentences
    vectors = np.random.default_rng(0).normal(size=(len(sentences), 16)).astype(np.float32)
    TextVectors(sentences, vectors, "f" * 64).save(tmp_path / "set.npz")
    with (tmp_path / "human.csv").open("w", newline="") as stream:
        rows = [(p.name, i % 2, 0) for i, p in enumerate(sorted(photos.iterdir()))]
        csv.writer(stream).writerows([("image", "bright", "dark"), *rows])
    shared = ["--prompt-vectors", str(tmp_path / "set.npz"), "--corpus", str(tmp_path / "corpus")]
    contract, output = str(tmp_path / "calibration.json"), tmp_path / "report.html"
    calibrate = ["calibrate", "--labels", str(tmp_path / "human.csv"), "-o", contract]
    prompts = ["--prompts", str(tmp_path / "set.json"), "--target", "f1", "--json"]
    assert CliRunner().invoke(app, [*calibrate, *prompts, *shared]).exit_code == 0
    report = ["report", "--calibration", contract, "-o", str(output), "--note", "Simulated."]
    done = CliRunner().invoke(app, [*report, *shared, "--json"], catch_exceptions=False)
    assert json.loads(done.stdout) == {"report": str(output), "categories": 2, "images": 30}
    page = Page(output.read_text(encoding="utf-8"))
    assert "Simulated." in page.text
    assert "estimated" in page.text
    assert page.tags.count("image") > 6
