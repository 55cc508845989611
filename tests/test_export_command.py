"""Laws of export's precisions: what is quantised, compared, chosen, refused and kept."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result
from planted_contract import planted_contract, prompt_set

pytest.importorskip("torch")
pytest.importorskip("open_clip")

from clipcal.calibrate.decision_parity import Side, compare_decisions
from clipcal.cli import app
from clipcal.errors import FingerprintMismatch, ParityFailure
from clipcal.export import pictures, trials
from clipcal.export.bundle_writer import default_folder, export_bundle
from clipcal.export.candidates import Job
from clipcal.export.pictures import choose_pictures, draw_pictures, pixels_of
from clipcal.export.trials import Trial, judge
from clipcal.models.bundle import Bundle, Precision, fingerprint_of
from clipcal.models.identity import ModelIdentity
from clipcal.models.registry import find_bundle
from clipcal.models.session import open_image_encoder, open_text_encoder
from clipcal.prompts.matrix import build
from clipcal.prompts.vectors import TextVectors

VIT = {
    "embed_dim": 24,
    "vision_cfg": {"image_size": 32, "layers": 2, "width": 64, "patch_size": 8},
    "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 1},
}
PICTURES = 24
SET = prompt_set(
    '[category.fire]\nprompts = ["a fire"]\n[category.water]\nprompts = ["the sea", "a lake"]\n'
)


@pytest.fixture(scope="module")
def workshop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A configuration and a folder of pictures, one of which cannot be read."""
    folder = tmp_path_factory.mktemp("precision")
    (folder / "vit.json").write_text(json.dumps(VIT))
    (folder / "photos").mkdir()
    for number, picture in enumerate(draw_pictures(PICTURES, seed=9)):
        picture.save(folder / "photos" / f"{number:02d}.png")
    (folder / "photos" / "broken.jpg").write_bytes(b"no picture")
    return folder


@pytest.fixture(scope="module")
def name(workshop: Path) -> str:
    return f"{workshop / 'vit.json'}::random"


def export(name: str, *arguments: object, expect: int = 0) -> Result:
    done = CliRunner().invoke(app, ["export", name, *map(str, arguments)])
    assert done.exit_code == expect, done.output
    return done


@pytest.fixture(scope="module")
def full(workshop: Path, name: str) -> Bundle:
    return export_bundle(name, workshop / "full")


@pytest.fixture(scope="module")
def printed(workshop: Path, name: str, full: Bundle) -> dict[str, Any]:
    """What an int8 export of the same model says of itself."""
    done = export(
        name,
        "--precision",
        "int8",
        "--verify",
        workshop / "photos",
        "-o",
        workshop / "int8",
        "--json",
    )
    assert "broken.jpg" in done.stderr
    result: dict[str, Any] = json.loads(done.stdout)
    return result


@pytest.fixture(scope="module")
def int8(workshop: Path, printed: dict[str, Any]) -> Bundle:
    return Bundle.load(workshop / "int8")


@pytest.fixture
def ready(full: Bundle, int8: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    """Candidates are those that were made already, of the same pictures."""

    def copied(job: Job, precision: Precision) -> Bundle:
        folder = job.folder / precision
        if not folder.exists():
            shutil.copytree({"fp32": full, "int8": int8}[precision].path, folder)
        return Bundle.load(folder)

    monkeypatch.setattr(trials, "make", copied)


@pytest.fixture(scope="module")
def held(workshop: Path) -> tuple[Path, ...]:
    """The pictures that an int8 export measures on."""
    files = sorted((workshop / "photos").iterdir())
    return choose_pictures(files, ranges=True, say=lambda _: None).files


def side(bundle: Bundle, pictures: tuple[Path, ...]) -> Side:
    vectors = open_text_encoder(bundle, device="cpu").encode(SET.sentences)
    pixels = pixels_of(pictures, bundle.manifest.preprocessing)
    embeddings = open_image_encoder(bundle, device="cpu").encode(pixels)
    return Side(embeddings, build(SET, TextVectors(SET.sentences, vectors)))


@pytest.fixture(scope="module")
def calibration(workshop: Path, full: Bundle, int8: Bundle, held: tuple[Path, ...]) -> Path:
    """One whose threshold for fire lies where int8 moves a picture across it."""
    identity = ModelIdentity.of_bundle(full)
    one, other = (side(bundle, held) for bundle in (full, int8))
    scores = [(each.embeddings @ each.prompts.matrix[0]).astype(float) for each in (one, other)]
    moved = int(np.argmax(np.abs(scores[0] - scores[1])))
    contract = planted_contract(
        SET,
        {
            "fire": {"positive": float(scores[0][moved] + scores[1][moved]) / 2},
            "water": {"positive": -1.0},
        },
        model=identity.fingerprint,
        preprocessing=identity.preprocessing,
    )
    images = [str(each) for each in held]
    assert compare_decisions(images, one, other, contract).worst.flips > 0
    contract.save(workshop / "calibration.json")
    return workshop / "calibration.json"


@pytest.fixture
def verify(workshop: Path, calibration: Path) -> list[object]:
    return ["--verify", workshop / "photos", "--calibration", calibration]


# --- int8 -------------------------------------------------------------------------------------


def test_int8_says_what_was_done_and_how_near_it_comes(
    printed: dict[str, Any], int8: Bundle
) -> None:
    manifest = int8.manifest
    assert printed["precision"] == manifest.precision == "int8"
    assert manifest.quantisation is not None
    assert printed["quantisation"] == manifest.quantisation.model_dump(mode="json")
    assert manifest.quantisation.layers > 0
    assert manifest.parity.visual.min_cosine >= 0.99
    assert manifest.parity.visual.max_abs_error > 1e-5  # it is no copy of fp32
    assert manifest.graphs == {"visual.onnx": "clean", "textual.onnx": "clean"}
    int8.verify()


def test_parity_is_measured_on_other_pictures_than_ranges(int8: Bundle) -> None:
    assert int8.manifest.parity.visual.inputs.startswith(f"{PICTURES // 2} given pictures by")
    assert int8.manifest.quantisation is not None
    assert int8.manifest.quantisation.pictures.startswith(f"{PICTURES // 2} given pictures and")


def test_the_text_tower_of_int8_is_that_of_fp32_to_the_byte(full: Bundle, int8: Bundle) -> None:
    assert int8.textual.read_bytes() == full.textual.read_bytes()
    assert int8.manifest.parity.textual == full.manifest.parity.textual
    assert int8.visual.stat().st_size < full.visual.stat().st_size


def test_a_corpus_is_embedded_with_int8(workshop: Path, int8: Bundle, tmp_path: Path) -> None:
    arguments = ["embed", workshop / "photos", "--model", int8.path, "--corpus", tmp_path / "c"]
    done = CliRunner().invoke(app, [*map(str, arguments), "--json"])
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["embedded"] == PICTURES


def test_ranges_are_part_of_the_fingerprint_of_int8(full: Bundle, int8: Bundle) -> None:
    again = int8.manifest.quantisation
    assert again is not None
    other = int8.manifest.model_copy(
        update={"quantisation": again.model_copy(update={"digest": "0" * 64})}
    )
    fingerprints = {fingerprint_of(each) for each in (full.manifest, int8.manifest, other)}
    assert len(fingerprints) == 3


# --- decisions --------------------------------------------------------------------------------


@pytest.mark.usefixtures("ready")
@pytest.mark.parametrize("as_json", [False, True])
def test_a_precision_that_flips_too_many_decisions_is_refused_and_nothing_is_left(
    name: str, verify: list[object], tmp_path: Path, as_json: bool
) -> None:
    out = tmp_path / "bundles" / "out"
    more = ["--json"] if as_json else []
    done = export(name, "--precision", "int8", *verify, "-o", out, *more, expect=1)
    assert isinstance(done.exception, ParityFailure)
    assert "images otherwise than fp32 in 'fire'" in str(done.exception)
    assert "--max-flips" in str(done.exception)
    told = done.stderr if as_json else done.stdout
    assert "Decisions of int8 against fp32" in told
    assert "flips" in told
    assert bool(done.stdout) != as_json
    assert list(out.parent.iterdir()) == []


@pytest.mark.usefixtures("ready")
def test_flips_that_are_allowed_are_kept_in_the_manifest_without_names_of_pictures(
    name: str, full: Bundle, verify: list[object], held: tuple[Path, ...], tmp_path: Path
) -> None:
    out = tmp_path / "out"
    options = ("--precision", "int8", "--max-flips", 1, "-o", out, "--json")
    told = json.loads(export(name, *verify, *options).stdout)
    record = Bundle.load(out).manifest.decisions
    assert record is not None
    assert record.reference == full.fingerprint
    assert (record.images, record.max_flips) == (len(held), 1)
    assert record.categories["fire"].flips >= 1
    assert record.categories["water"].flips == 0
    fire = record.categories["fire"].share
    assert 0 < fire.low < fire.value < fire.high < 1
    assert ".png" not in (out / "manifest.json").read_text("utf-8")
    (near, *_) = told["compared"]["int8"]["categories"][0]["cuts"][0]["nearest"]
    assert near["flipped"]
    assert Path(near["image"]) in held


def test_a_calibration_of_other_weights_is_refused(
    name: str, verify: list[object], tmp_path: Path
) -> None:
    out = tmp_path / "bundles" / "out"
    done = export(name, "--seed", 1, "--precision", "int8", *verify, "-o", out, expect=1)
    assert isinstance(done.exception, FingerprintMismatch)
    assert "the model differs" in str(done.exception)
    assert list(out.parent.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--calibration", "c.json"], "--verify"),
        (["--max-flips", "0.1"], "--calibration"),
        (["--max-flips", "0.1", "--verify", "photos"], "--calibration"),
        (["--max-flips", "2", "--verify", "photos", "--calibration", "c.json"], "0<=x<=1"),
    ],
)
def test_what_would_have_no_effect_is_a_wrong_call(arguments: list[str], said: str) -> None:
    assert said in export("ViT-B-32::random", *arguments, expect=2).stderr


# --- auto -------------------------------------------------------------------------------------


def test_auto_takes_the_fastest_and_puts_it_where_its_precision_belongs(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CLIPCAL_HOME", str(tmp_path))
    told = json.loads(export(name, "--precision", "auto", "--json").stdout)
    tried = {each["precision"]: each for each in told["trials"]}
    assert {"fp32", "int8"} <= set(tried)
    (taken,) = (each for each in tried.values() if each["taken"])
    rates = [each["images_per_second"] for each in tried.values() if each["passed"]]
    assert trials.WORTHWHILE * taken["images_per_second"] > max(rates) > 0
    assert taken["precision"] == told["precision"]
    assert Path(told["bundle"]) == default_folder(name, None, told["precision"])
    assert find_bundle("vit::random").fingerprint == told["fingerprint"]
    again = export(name, "--precision", "auto", expect=1)
    assert "--force" in str(again.exception)
    assert "Loading" not in again.stderr


@pytest.mark.usefixtures("ready")
def test_auto_never_takes_what_flips_too_much(
    name: str, verify: list[object], tmp_path: Path
) -> None:
    done = export(name, "--precision", "auto", *verify, "-o", tmp_path / "out", "--json")
    tried = {each["precision"]: each for each in json.loads(done.stdout)["trials"]}
    assert not tried["int8"]["passed"]
    assert tried["int8"]["flips"] > 0.01
    assert "int8 decides" in tried["int8"]["verdict"]
    assert tried["fp32"]["taken"]
    assert tried["fp32"]["flips"] == 0
    assert Bundle.load(tmp_path / "out").manifest.precision == "fp32"


def trial(precision: Precision, rate: float | None) -> Trial:
    return Trial(precision, rate is not None, False, "as found", images_per_second=rate)


@pytest.mark.parametrize(
    ("rates", "taken"),
    [
        ((10, 30, 20), "int8"),
        ((10, None, 20), "fp16"),
        ((10, None, None), "fp32"),
        ((9, 8, 7), "fp32"),
        ((10, 10.9, None), "fp32"),  # what less precision gains must be beyond a timing's noise
        ((10, 21, 20), "fp16"),
        ((10, 11.5, 10.9), "int8"),
    ],
)
def test_the_fastest_that_passes_is_taken_and_only_that(
    rates: tuple[float | None, ...], taken: str
) -> None:
    precisions: tuple[Precision, ...] = ("fp32", "int8", "fp16")
    found = judge([trial(*each) for each in zip(precisions, rates, strict=True)])
    assert [each.precision for each in found if each.taken] == [taken]
    assert [each.precision for each in found] == list(precisions)
    for each in found:
        assert (each.verdict == "as found") == (each.images_per_second is None)


# --- pictures ---------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [1, 2, 3, 31, 32, 255, 256, 257, 1000])
def test_ranges_take_at_most_half_of_the_pictures_and_no_more_than_needed(
    count: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("clipcal.export.pictures._readable", lambda images, say: list(images))
    files = [Path(f"{number}.png") for number in range(count)]
    lines: list[str] = []
    found = choose_pictures(files, ranges=True, say=lines.append)
    mine = [each for each in found.ranges if isinstance(each, Path)]
    assert len(mine) == min(128, count // 2)
    assert sorted([*mine, *found.files]) == sorted(files)
    assert len(found.ranges) >= 16
    assert bool(lines) == (count < 32)
    if len(mine) > 1:  # from one end of the list to the other
        assert {files.index(mine[0]), files.index(mine[-1])} == {0, count - 1}


def test_a_picture_that_is_there_twice_counts_once(tmp_path: Path) -> None:
    files = [tmp_path / f"{number}.png" for number in range(4)]
    for file, picture in zip(files, draw_pictures(4), strict=True):
        picture.save(file)
    copy = Path(shutil.copy(files[3], tmp_path / "copy.png"))
    lines: list[str] = []
    found = choose_pictures([*files, files[0], copy], ranges=True, say=lines.append)
    mine = [each for each in found.ranges if isinstance(each, Path)]
    assert sorted([*mine, *found.files]) == files
    assert any("2 of the pictures are there twice" in line for line in lines)


def test_of_very_many_pictures_some_serve_from_one_end_to_the_other(
    workshop: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pictures, "MOST_PICTURES", 5)
    files = sorted((workshop / "photos").glob("*.png"))
    lines: list[str] = []
    found = choose_pictures(files, ranges=False, say=lines.append)
    assert len(found.files) == 5
    assert (found.files[0], found.files[-1]) == (files[0], files[-1])
    assert f"5 of the {len(files)} pictures serve" in lines[0]


def test_pictures_are_drawn_alike_every_time_and_no_two_are_alike() -> None:
    drawn, again = draw_pictures(24), draw_pictures(30)
    assert [each.tobytes() for each in drawn] == [each.tobytes() for each in again[:24]]
    assert len({each.tobytes() for each in again}) == 30
    assert draw_pictures(1, seed=1)[0].tobytes() != drawn[0].tobytes()


def test_without_pictures_it_is_said_that_real_ones_are_better() -> None:
    lines: list[str] = []
    found = choose_pictures([], ranges=True, say=lines.append)
    assert len(found.ranges) >= 64
    assert "--verify photos/" in " ".join(lines)
    shown = [each.tobytes() for each in (*found.ranges, *found.measured)]
    assert len(set(shown)) == len(shown)
