"""Laws of the report's page: closed, safe, whole, and the same for the same input."""

from __future__ import annotations

import csv
import hashlib
import json
import os
import re
import shlex
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image
from report_cases import HOSTILE, LADDER, Page, contract_of, corpus, full, with_bands

from clipcal.calibrate.contract import Contract
from clipcal.calibrate.labels.table import BINARY
from clipcal.calibrate.records import Cut
from clipcal.calibrate.report.build import build_report
from clipcal.calibrate.report.content import Report
from clipcal.calibrate.report.page import Origin, gather_thumbnails, render, write_page
from clipcal.calibrate.report.thumbnails import SIDE, make_thumbnail
from clipcal.calibrate.report.words import STATUSES
from clipcal.calibrate.scoring.corpus_scores import CorpusScores
from clipcal.cli import app
from clipcal.errors import CalibrationError
from clipcal.prompts.promptset import load_prompt_set
from clipcal.prompts.vectors import TextVectors


def page_of(report: Report, **origin: str) -> Page:
    return Page(render(report, gather_thumbnails(report), origin=Origin(**origin)))


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
    (again,) = re.findall(r"make it again +(.*)", page.text)
    typed = shlex.split(again)
    assert typed[:2] == ["clipcal", "report"]
    before = output.read_bytes()
    output.unlink()
    assert CliRunner().invoke(app, typed[1:], catch_exceptions=False).exit_code == 0
    assert output.read_bytes() == before
    assert hashlib.sha256(Path(contract).read_bytes()).hexdigest() in page.text


def complete(levels: tuple[str, ...] = BINARY) -> tuple[Report, Contract]:
    """A report on a contract with everything in it, bands in its first category."""
    scored, labels, contract = corpus(levels=levels)
    contract = full(contract)
    first = {level: with_bands(cut, 0.3) for level, cut in contract.categories["alcohol"].items()}
    cuts = {**contract.categories, "alcohol": first}
    contract = contract.model_copy(update={"categories": cuts})
    return build_report(scored, labels, contract), contract


@pytest.mark.parametrize("levels", [BINARY, LADDER])
def test_every_element_is_closed_and_every_link_leads_somewhere(levels: tuple[str, ...]) -> None:
    page = page_of(complete(levels)[0])
    assert page.open == []
    ids = page.values("id")
    assert len(ids) == len(set(ids))
    links = [link for link in page.values("href") if link.startswith("#")]
    named = [name for names in page.values("aria-labelledby") for name in names.split()]
    assert {link[1:] for link in links} | set(named) <= set(ids)


def test_every_drawing_has_a_title_and_a_description() -> None:
    page = page_of(complete()[0])
    drawings = page.values("class").count("chart")
    # A histogram, rates, costs and reliability for both categories; class probabilities.
    assert drawings == 2 * 4 + 1
    assert page.tags.count("desc") == drawings
    assert len(page.values("aria-labelledby")) == drawings


def test_every_part_of_a_contract_is_on_its_page() -> None:
    report, contract = complete()
    page = page_of(report).squeezed
    for said in (
        "The guarantees hold all together.",
        "The guarantee rests on 61 labelled positives.",
        "The guarantee rests on 44 flagged labelled images.",
        "this one holds by itself with 99.3%",
        "Of the 212 flagged about 180 (165–195) are right and about 32 (17–47) are wrong.",
        "About 9 (2–1,220) positives are not flagged.",
        "About 5 (1–12) positives are among those allowed.",
        "About 2 (0–5) negatives are among those blocked.",
        "50 were picked for their scores",
        "20% of the labelled images, drawn at random with seed 5, were kept out of the fit.",
        "On the 90 of them that have no near copy among the others (84 groups of near copies)",
        "parted into 5 folds",
        "3 times with new folds",
        "Raters agree moderately",
        "there is room for a better score or more labels",
        "+0.130 0.050 to 0.210",
        "not surely better: the plain score stays",
        "The score was learned from some of these labels",
        "Out of fold, on 450 images: the Brier score is 0.081, less than the 0.123",
        "adjusted to the 7% that are estimated for the corpus",
        "A softmax over the categories with temperature 0.043",
        "Out of fold it agrees with the labels on 88.9% of them",
        "The prompt set's own rule agrees on 84.4%",
        "95% bootstrap interval, shaded",
    ):
        assert said in page, said
    for cuts in contract.categories.values():
        for cut in cuts.values():
            assert cut.guarantee is None or cut.guarantee in page
            assert cut.next_step in page
            assert cut.bands is None or (cut.bands.guarantee or "") in page


def test_warnings_stand_under_the_summary_and_mark_the_categories_that_they_name() -> None:
    scored, labels, contract = corpus()
    told = (
        "weapons: the labelled images score higher than the corpus.",
        "Some <labels> were picked.",
    )
    changed = contract.model_copy(update={"warnings": told})
    page = page_of(build_report(scored, labels, changed))
    assert all(warning in page.squeezed for warning in told)
    before, after = page.squeezed.split("What limits these guarantees")
    assert "hold each by itself" in before
    assert after.index("were picked") < after.index("Threshold")
    marks = page.squeezed.split("! limited")
    assert len(marks) == 2  # one category is named
    assert marks[0].endswith("weapons ")
    assert page.values("href").count("#warnings") == 1
    bare = page_of(build_report(scored, labels, contract))
    assert "What limits" not in bare.text
    assert "limited" not in bare.squeezed.split("Summary", 1)[1]


def test_rates_on_the_labels_fitted_to_are_called_optimistic_and_claim_no_confidence() -> None:
    page = page_of(complete()[0]).squeezed
    assert "On the images that the thresholds were fitted to: optimistic" in page
    assert "hold the true rate in fewer than 95% of samples" in page
    assert "confidence interval" not in page


def test_the_next_step_has_a_line_of_its_own_as_wide_as_the_table() -> None:
    for wide in (False, True):
        scored, labels, contract = corpus(levels=LADDER if wide else BINARY)
        contract = full(contract) if wide else contract
        html = render(build_report(scored, labels, contract), {})
        summary = html[html.index('class="stack wide summary"') :]
        summary = summary[: summary.index("</table>")]
        head, *rows = summary.split("<tr")[1:]
        for row, under in zip(rows[::2], rows[1::2], strict=True):
            cells = row.count("<td") + row.count("<th scope")
            assert cells == head.count("<th scope")
            assert f'colspan="{cells}"' in under


def test_a_contract_without_the_optional_parts_has_none_of_their_headings() -> None:
    scored, labels, contract = corpus()
    page = page_of(build_report(scored, labels, contract)).squeezed
    for heading in (
        "How far people agree",
        "Learned scores",
        "Class probabilities",
        "Overall verdict",
        "Hold-out evaluation",
        "Cross-fitting",
        "Review / block",
        "Right / wrong",
        "Probabilities",
    ):
        assert heading not in page, heading
    assert "How the labelled images were chosen is not recorded" in page


def test_fingerprints_are_whole_and_the_page_can_be_made_again() -> None:
    report, contract = complete()
    command = "clipcal report --note 'a <b> & c' --output report.html"
    html = render(report, {}, origin=Origin("", "calibration.json", "9" * 64, command))
    (block,) = re.findall(r'<pre class="copy">\n(model .*?)</pre>', html, flags=re.DOTALL)
    lines = dict(line.split(None, 1) for line in Page(f"<p>{block}").text.splitlines() if line)
    text = Page(block).text
    for value in (
        *(getattr(contract.fingerprint, name) for name in type(contract.fingerprint).model_fields),
        contract.labels.sha256,
        contract.created,
        contract.target,
        str(contract.confidence),
        "9" * 64,
        "e" * 64,
        command,
    ):
        assert value in text, value
    assert "block at         precision=0.9\n" in text
    assert lines["seed"] == str(contract.seed)
    assert 'name = "try"' in Page(html).text


def test_every_picture_of_every_row_is_on_the_page() -> None:
    report, _ = complete()
    page = page_of(report)
    shown = [picture.uri for picture in report.shown()]
    titles = [title for title in page.values("title") if title.startswith("/photos/")]
    assert titles == shown
    assert {row.kind for _, part in report.cuts() for row in part.pictures} >= {
        "block",
        "review",
        "allow",
        "allowed_positives",
        "top",
        "above",
        "below",
        "missed",
        "false_flags",
        "unlabelled_top",
    }


def test_many_categories_fold_and_stay_small() -> None:
    scored, labels, contract = corpus(levels=LADDER)
    names = tuple(f"category {i}" for i in range(40))
    wide = CorpusScores(
        scored.uris, scored.sha256s, scored.rows, names, np.tile(scored.scores[:, :1], (1, 40))
    )
    contract = contract.model_copy(
        update={"categories": dict.fromkeys(names, contract.categories["alcohol"])}
    )
    labels = {uri: dict.fromkeys(names, given["alcohol"]) for uri, given in labels.items()}
    html = render(build_report(wide, labels, contract), {})
    assert len(html) < 3_000_000
    page = Page(html)
    assert page.tags.count("details") > 100
    assert page.values("open") == []
    assert page.values("href").count("#category-40") >= 2
    few = page_of(complete()[0])
    assert len(few.values("open")) >= few.tags.count("summary") - 1  # the prompt set stays folded


def test_probabilities_are_shown_without_the_labels_that_they_were_fitted_to() -> None:
    scored, _, contract = corpus()
    page = page_of(build_report(scored, {}, full(contract)))
    assert page.squeezed.count("Reliability of the probabilities (platt), out of fold.") == 2
    assert "Recall and precision on" not in page.squeezed
    assert page.open == []
