"""Laws of the report's content: its counts are the decisions'."""

from __future__ import annotations

import re
import time

import numpy as np
import pytest
from report_cases import LADDER, Kept, Page, corpus, evaluation, full, with_bands

from clipcal.calibrate.contract import Contract
from clipcal.calibrate.decisions.rescore import decisions
from clipcal.calibrate.labels.table import BINARY
from clipcal.calibrate.report.build import build_report
from clipcal.calibrate.report.content import Report
from clipcal.calibrate.report.page import Origin, gather_thumbnails, render
from clipcal.calibrate.report.pictures import Kind, PictureRow, Shown
from clipcal.calibrate.report.words import percent
from clipcal.calibrate.scoring.corpus_scores import CorpusScores
from clipcal.calibrate.scoring.scores import decide
from clipcal.errors import CalibrationError


def page_of(report: Report, **origin: str) -> Page:
    return Page(render(report, gather_thumbnails(report), origin=Origin(**origin)))


@pytest.mark.parametrize("levels", [BINARY, LADDER])
def test_counts_equal_the_decisions(levels: tuple[str, ...]) -> None:
    scored, labels, contract = corpus(levels=levels)
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
        everything, *by_level = category.histogram.groups
        assert sum(everything.counts) == len(scored.uris)
        assert sum(sum(group.counts) for group in by_level) == len(labels)
        for limit in category.histogram.limits:
            assert category.histogram.low < limit.value < category.histogram.high


def test_equal_scores_still_have_an_axis() -> None:
    scored, labels, contract = corpus()
    scored.scores[:] = 0.25
    report = build_report(scored, labels, contract)
    assert all(sum(c.histogram.groups[0].counts) == 200 for c in report.categories if c.histogram)
    assert "0.25" in page_of(report).text


def banded(contract: Contract, upper: float | None) -> Contract:
    first, *others = contract.categories
    cuts = contract.categories[first]
    changed = {level: with_bands(cut, upper) for level, cut in cuts.items()}
    rest = {name: contract.categories[name] for name in others}
    return contract.model_copy(update={"categories": {first: changed, **rest}})


@pytest.mark.parametrize("upper", [0.2, None])
def test_bands_part_the_corpus_and_the_labels(upper: float | None) -> None:
    scored, labels, contract = corpus()
    report = build_report(scored, labels, banded(contract, upper))
    part = report.categories[0].cuts[0]
    scores, lower = scored.column("alcohol"), part.cut.threshold
    assert lower is not None
    blocked = scores >= np.float32(np.inf if upper is None else upper)
    allowed = scores < np.float32(lower)
    inside = {"allow": allowed, "review": ~allowed & ~blocked, "block": blocked}
    assert [band.name for band in part.bands] == list(inside)
    for band in part.bands:
        here = {u for u, i in zip(scored.uris, inside[band.name], strict=True) if i}
        assert band.images == len(here)
        said = [given["alcohol"] for uri, given in labels.items() if uri in here]
        assert band.positives == said.count("positive")
        assert band.negatives == said.count("negative")
    page = page_of(report).squeezed
    assert "are allowed unseen; from there" in page
    assert ("Nothing can be blocked unseen" in page) == (upper is None)


@pytest.mark.parametrize("upper", [0.2, None])
def test_pictures_of_bands_lie_in_their_band_and_mistakes_come_nearest_first(
    upper: float | None,
) -> None:
    scored, labels, contract = corpus(600)
    report = build_report(scored, labels, banded(contract, upper))
    part = report.categories[0].cuts[0]
    rows = {row.kind: row for row in part.pictures}
    lower, top = part.cut.threshold, np.inf if upper is None else upper
    assert lower is not None
    limits = {"allow": (-np.inf, lower), "review": (lower, top), "block": (top, np.inf)}
    totals = {band.name: band.images for band in part.bands}
    for name, (low, high) in limits.items():
        if not totals[name]:
            assert name not in rows
            continue
        scores = [picture.score for picture in rows[name].pictures]
        assert all(low <= score < high for score in scores)
        assert scores == sorted(scores, reverse=True)
        assert rows[name].total == totals[name]
        assert len(set(rows[name].pictures)) == min(6, totals[name])
    allowed = rows["allowed_positives"]
    assert all(p.label == "positive" and p.score < lower for p in allowed.pictures)
    missed = [
        s
        for u, s in zip(scored.uris, scored.column("alcohol"), strict=True)
        if s < lower and labels.get(u, {}).get("alcohol") == "positive"
    ]
    assert [p.score for p in allowed.pictures] == sorted(missed, reverse=True)[:6]
    if upper is not None:
        blocked = rows["blocked_negatives"].pictures
        assert all(p.label == "negative" and p.score >= upper for p in blocked)
        assert [p.score for p in blocked] == sorted(p.score for p in blocked)
    assert build_report(scored, labels, banded(contract, upper)) == report


@pytest.mark.parametrize("upper", [0.2, 0.04, None])
def test_below_a_threshold_that_is_not_certified_nothing_is_allowed_unseen(
    upper: float | None,
) -> None:
    scored, labels, contract = corpus(600)
    contract = banded(contract, upper)
    sure = contract.categories["alcohol"]["positive"]
    threshold = min(sure.threshold or 0.0, upper or 1.0)
    changed = {"status": "insufficient", "threshold": threshold, "guarantee": None}
    cut = sure.model_copy(update=changed)
    categories = {**contract.categories, "alcohol": {"positive": cut}}
    report = build_report(scored, labels, contract.model_copy(update={"categories": categories}))
    category = report.categories[0]
    (part,) = category.cuts
    allow, review, block = part.bands
    blocked = decide(scored.column("alcohol"), np.inf if upper is None else upper)
    assert (allow.images, allow.positives, allow.negatives) == (0, 0, 0)
    assert review.images == np.count_nonzero(~blocked)
    assert block.images == np.count_nonzero(blocked)
    assert not {"allow", "allowed_positives"} & {row.kind for row in part.pictures}
    assert [row.total for row in part.pictures if row.kind == "review"] == [review.images]
    assert category.histogram is not None
    (zone,) = category.histogram.zones
    end = category.histogram.high if upper is None else upper
    assert (zone.low, zone.high) == (category.histogram.low, end)
    assert part.limits[0].name == "proposed"
    page = page_of(report).squeezed
    assert "Nothing is allowed unseen, since recall=0.9 is not certified." in page
    assert "review from" not in page
    assert "are allowed unseen" not in page
    assert "is only proposed" in page
    assert "among those allowed" not in page


def test_bands_without_a_lower_threshold_are_counted_as_well() -> None:
    scored, labels, contract = corpus()
    contract = banded(contract, 0.2)
    cut = contract.categories["alcohol"]["positive"]
    none = cut.model_copy(update={"threshold": None, "status": "insufficient", "guarantee": None})
    categories = {**contract.categories, "alcohol": {"positive": none}}
    report = build_report(scored, labels, contract.model_copy(update={"categories": categories}))
    (part,) = report.categories[0].cuts
    assert part.bands[0].images == 0
    assert sum(band.images for band in part.bands) == len(scored.uris)
    assert [limit.name for limit in part.limits] == ["block from"]
    page = page_of(report).squeezed
    assert "Nothing is allowed unseen" in page
    assert "proposed" not in page


def test_the_table_of_levels_counts_what_the_decisions_say() -> None:
    scored, labels, contract = corpus(levels=LADDER)
    decided = decisions(scored.scores, scored.categories, contract).values
    report = build_report(scored, labels, contract)
    for number, category in enumerate(report.categories):
        if category.levels is None:
            assert all(part.cut.threshold is None for part in category.cuts)
            continue
        assert category.levels.n == len(labels)
        for row, label in enumerate(LADDER):
            for column, level in enumerate(category.levels.decided):
                counted = sum(
                    labels[uri][category.name] == label and value == LADDER.index(level)
                    for uri, value in zip(scored.uris, decided[:, number], strict=True)
                    if uri in labels
                )
                assert category.levels.counts[row][column] == counted


def test_images_without_a_decision_have_a_column_of_their_own() -> None:
    scored, labels, contract = corpus(levels=LADDER)
    cuts = contract.categories["alcohol"]
    none = cuts["minor"].model_copy(update={"threshold": None, "status": "no_positives"})
    changed = {**contract.categories, "alcohol": {**cuts, "minor": none}}
    contract = contract.model_copy(update={"categories": changed})
    table = build_report(scored, labels, contract).categories[0].levels
    assert table is not None
    assert table.decided == (*LADDER, "undecided")
    assert sum(row[0] + row[1] for row in table.counts) == 0
    assert table.n == len(labels)


def test_curves_are_there_where_labels_of_both_kinds_are() -> None:
    scored, labels, contract = corpus()
    for category in build_report(scored, labels, contract).categories:
        for part in category.cuts:
            assert (part.curves is None) == (part.cut.threshold is None)
            if part.curves is None or part.confusion is None or part.cut.threshold is None:
                continue
            point = part.curves.at(part.cut.threshold)
            assert point.hits == part.confusion.hits
            assert point.flags == part.confusion.hits + part.confusion.false_flags
    report = build_report(scored, {}, contract)
    assert not any(part.curves for _, part in report.cuts())
    assert "None of the corpus's images has a label here" in page_of(report).squeezed


def test_a_corpus_that_has_grown_since_is_told() -> None:
    scored, labels, contract = corpus()
    cuts = contract.categories["weapons"]["positive"]
    flags = int(decide(scored.column("weapons"), cuts.threshold or 0.0).sum())
    for counted, told in ((flags, ()), (flags - 1, ("weapons",))):
        cut = cuts.model_copy(update={"flags": counted})
        changed = contract.model_copy(
            update={"categories": {**contract.categories, "weapons": {"positive": cut}}}
        )
        report = build_report(scored, labels, changed)
        assert report.other_flags == told
        assert ("not what it was at calibration" in page_of(report).squeezed) == bool(told)


def test_labels_that_were_learned_from_need_not_be_counted() -> None:
    scored, labels, contract = corpus()
    learned = contract.model_copy(update={"comparisons": full(contract).comparisons})
    fewer = {
        name: {
            level: cut.model_copy(update={"n": cut.n - 30, "positives": cut.positives - 9})
            for level, cut in cuts.items()
        }
        for name, cuts in contract.categories.items()
    }
    half = learned.model_copy(update={"categories": fewer})
    assert build_report(scored, labels, half).other_labels == ()
    some = dict(list(labels.items())[:60])
    assert build_report(scored, some, half).other_labels == ("alcohol", "weapons")


def test_labels_kept_out_belong_to_those_counted() -> None:
    scored, labels, contract = corpus()
    report = build_report(
        scored, labels, contract.model_copy(update={"holdout": evaluation(contract, fraction=0.2)})
    )
    assert report.other_labels == ("alcohol", "weapons")
    crossed = contract.model_copy(update={"crossfit": evaluation(contract, folds=5)})
    assert build_report(scored, labels, crossed).other_labels == ()


def test_a_large_corpus_takes_seconds() -> None:
    rng = np.random.default_rng(0)
    n, names = 100_000, tuple(f"category {i}" for i in range(7))
    scores = rng.normal(0, 0.1, (n, len(names))).astype(np.float32)
    uris = tuple(f"/photos/{i}.jpg" for i in range(n))
    scored = CorpusScores(uris, ("",) * n, np.arange(n), names, scores)
    _, _, contract = corpus()
    cut = contract.categories["alcohol"]["positive"]
    contract = contract.model_copy(
        update={"categories": {name: {"positive": cut} for name in names}}
    )
    labels: Kept = {
        uri: {name: BINARY[int(score > 0.1)] for name in names}
        for uri, score in zip(uris[:20_000], scores[:, 0].tolist(), strict=False)
    }
    started = time.process_time()
    html = render(build_report(scored, labels, contract), {})
    assert time.process_time() - started < 10
    assert len(html) < 1_000_000
