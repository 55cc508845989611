"""Laws of the drawn scenes and of the sentences about them."""

from __future__ import annotations

import shutil
import tomllib
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from clipcal.demo import rendering
from clipcal.demo.backgrounds import BACKGROUNDS
from clipcal.demo.batches import CELLS, Facts, Vocabulary, cell_labels, make_batch
from clipcal.demo.captions import (
    HELD_OUT_PATTERNS,
    PAIR_PATTERNS,
    PLACE_PATTERNS,
    TRAINING_PATTERNS,
    Caption,
    coloured_mention,
    draw_caption,
    facts,
    plain_mentions,
    random_caption,
)
from clipcal.demo.evaluation import draw_held_out, evaluate
from clipcal.demo.rendering import RenderedScene, fit_square, render_scenes
from clipcal.demo.scenes import CATEGORIES, OBJECTS, draw_scene

SMALL = (96, 72)
PROMPTS = Path(__file__).parent.parent / "prompts" / "sets" / "demo.toml"


def test_a_seed_gives_the_same_scene():
    first, second = (draw_scene(np.random.default_rng(7), size=SMALL) for _ in range(2))
    assert first.image.tobytes() == second.image.tobytes()
    assert (first.objects, first.colours, first.background) == (
        second.objects,
        second.colours,
        second.background,
    )


def test_seeds_give_different_scenes():
    pictures = {
        draw_scene(np.random.default_rng(seed), size=SMALL).image.tobytes() for seed in range(10)
    }
    assert len(pictures) == 10


@pytest.mark.parametrize("name", OBJECTS)
def test_every_kind_draws_something_and_reports_itself(name):
    with_it = draw_scene(np.random.default_rng(3), size=SMALL, kinds=[name])
    assert with_it.objects == (name,)
    assert with_it.categories == OBJECTS[name].categories
    assert with_it.image.size == SMALL
    assert with_it.image.mode == "RGB"
    ((x, y, radius),) = with_it.places
    assert 0 < x < SMALL[0]
    assert 0 < y < SMALL[1]
    assert 0.1 * SMALL[1] < radius < 0.55 * SMALL[1]
    empty = draw_scene(np.random.default_rng(3), size=SMALL, kinds=[])
    assert with_it.image.tobytes() != empty.image.tobytes()


def test_a_scene_without_kinds_has_no_objects():
    scene = draw_scene(np.random.default_rng(0), size=SMALL, kinds=[])
    assert scene.objects == ()
    assert scene.categories == frozenset()


def test_an_unknown_kind_is_refused():
    with pytest.raises(KeyError, match="unicorn"):
        draw_scene(np.random.default_rng(0), size=SMALL, kinds=["unicorn"])


def test_the_kinds_of_a_category_are_known_and_disjoint():
    members = [name for names in CATEGORIES.values() for name in names]
    assert len(members) == len(set(members))
    assert set(members) <= set(OBJECTS)
    assert all(CATEGORIES.values())
    assert len(OBJECTS) - len(members) > len(members)


def test_categories_come_about_as_often_as_asked_and_scenes_hold_one_to_four_objects():
    n, rate = 600, 0.13
    rng = np.random.default_rng(11)
    scenes = [draw_scene(rng, size=(48, 36), category_rate=rate) for _ in range(n)]
    assert {len(scene.objects) for scene in scenes} == {1, 2, 3, 4}
    assert {scene.background for scene in scenes} == set(BACKGROUNDS)
    present = Counter(category for scene in scenes for category in scene.categories)
    for category in CATEGORIES:
        assert 0.08 < present[category] / n < 0.18, category


def test_a_rate_of_zero_gives_everyday_scenes():
    rng = np.random.default_rng(5)
    scenes = [draw_scene(rng, size=(48, 36), category_rate=0.0) for _ in range(30)]
    assert all(not scene.categories for scene in scenes)


def test_captions_of_a_scene_mention_only_what_is_in_it():
    rng = np.random.default_rng(2)
    for _ in range(40):
        known = facts(draw_scene(rng, size=(48, 36)))
        for _ in range(20):
            caption = draw_caption(rng, known)
            assert caption.holds(known), caption.text
            assert "{}" not in caption.text


def test_a_caption_is_false_where_one_of_its_mentions_is():
    gun, cat = (next(m for m in plain_mentions() if m.text == text) for text in ("a gun", "a cat"))
    both = Caption("{} and {}", (gun, cat))
    assert both.holds(frozenset({"kind:gun", "kind:cat"}))
    assert not both.holds(frozenset({"kind:gun"}))


def test_a_coloured_mention_needs_the_colour():
    mention = coloured_mention(OBJECTS["car"], "a car", "orange")
    assert mention.text == "an orange car"
    assert Caption("{}", (mention,)).holds(frozenset({"kind:car", "orange car"}))
    assert not Caption("{}", (mention,)).holds(frozenset({"kind:car", "red car"}))


def test_category_words_cover_their_kinds():
    weapon = next(m for m in plain_mentions() if m.text == "a weapon")
    assert weapon.any_of == {f"kind:{name}" for name in CATEGORIES["weapons"]}


def test_held_out_patterns_are_not_trained():
    trained = {*TRAINING_PATTERNS, *PAIR_PATTERNS, *PLACE_PATTERNS}
    assert len(HELD_OUT_PATTERNS) >= 8
    assert trained.isdisjoint(HELD_OUT_PATTERNS)
    rng = np.random.default_rng(0)
    assert all(random_caption(rng).pattern not in HELD_OUT_PATTERNS for _ in range(200))


def test_patterns_have_as_many_places_as_their_use_needs():
    assert all(p.count("{}") == 1 for p in (*TRAINING_PATTERNS, *HELD_OUT_PATTERNS))
    assert all(p.count("{}") == 2 for p in (*PAIR_PATTERNS, *PLACE_PATTERNS))


def test_the_packaged_prompt_set_has_the_scenes_categories():
    prompt_set = tomllib.loads(PROMPTS.read_text(encoding="utf-8"))
    assert set(prompt_set["category"]) == set(CATEGORIES)


def test_rendering_does_not_depend_on_the_number_of_processes(tmp_path):
    one, two = (
        render_scenes(4, seed=1, side=32, folder=tmp_path / str(workers), workers=workers)
        for workers in (1, 2)
    )
    for first, second in zip(one, two, strict=True):
        assert first.pixels.shape == (32, 32, 3)
        np.testing.assert_array_equal(first.pixels, second.pixels)
        assert (first.facts, first.places) == (second.facts, second.places)


def test_rendered_scenes_are_kept(tmp_path):
    first = render_scenes(2, seed=1, side=32, folder=tmp_path, workers=1, single=True)
    files = {file: file.stat().st_mtime_ns for file in tmp_path.iterdir()}
    again = render_scenes(2, seed=1, side=32, folder=tmp_path, workers=1, single=True)
    np.testing.assert_array_equal(first[0].pixels, again[0].pixels)
    assert files == {file: file.stat().st_mtime_ns for file in tmp_path.iterdir()}
    assert all(len(scene.places) == 1 for scene in first)


def test_scenes_drawn_by_other_code_are_not_taken_for_these(tmp_path, monkeypatch):
    copied = tmp_path / "demo"
    shutil.copytree(rendering._FOLDER, copied, ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr(rendering, "_FOLDER", copied)
    versions = {rendering.drawing_version()}
    for name in ("scenes.py", "objects/tools.py", "captions.py"):
        with (copied / name).open("a") as stream:
            stream.write("\n")
        versions.add(rendering.drawing_version())
    assert len(versions) == 4
    render_scenes(1, seed=1, side=32, folder=tmp_path / "kept", workers=1)
    (copied / "drawing.py").write_text("")
    render_scenes(1, seed=1, side=32, folder=tmp_path / "kept", workers=1)
    assert len(list((tmp_path / "kept").glob("*.npy"))) == 2


def test_a_rendering_that_fails_leaves_no_file(tmp_path, monkeypatch):
    monkeypatch.setattr(rendering.json, "dumps", lambda _: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        render_scenes(1, seed=1, side=32, folder=tmp_path, workers=1)
    assert not list(tmp_path.glob("*.json*"))
    monkeypatch.undo()
    assert len(render_scenes(1, seed=1, side=32, folder=tmp_path, workers=1)) == 1


def _one_object(x: float, y: float, radius: float) -> RenderedScene:
    return RenderedScene(np.zeros((8, 8, 3), np.uint8), frozenset(), (("cat", x, y, radius),))


def test_cells_are_named_where_the_object_lies_after_the_move():
    scenes = [_one_object(0.25, 0.25, 0.2)] * 3
    still, mirrored, shifted = [0, 0, 1], [0, 0, -1], [0, 6, 1]
    labels = cell_labels(scenes, np.array([still, mirrored, shifted], np.float32), 2)
    cat = CELLS["cat"]
    np.testing.assert_array_equal(labels[0], [[cat, 0], [0, 0]])
    np.testing.assert_array_equal(labels[1], [[0, cat], [0, 0]])
    np.testing.assert_array_equal(labels[2], [[0, 0], [cat, 0]])


def test_an_object_between_the_centres_of_cells_still_has_one():
    labels = cell_labels([_one_object(0.5, 0.5, 0.2)], np.array([[0, 0, 1]], np.float32), 4)
    assert (labels == CELLS["cat"]).any()


def _split(text: str) -> list[int]:
    return [sum(map(ord, word)) for word in text.lower().split()]


def test_tokens_of_captions_start_and_end_as_clip_expects():
    end = 10_000
    vocab = Vocabulary(_split, start=9_999, end=end)
    rng = np.random.default_rng(0)
    for _ in range(50):
        numbers = vocab.caption(rng, random_caption(rng))
        assert numbers[0] == vocab.start
        assert numbers[-1] == vocab.end == max(numbers) == len(vocab) - 1


def test_unseen_tokens_share_the_fillers_row():
    vocab = Vocabulary(_split, start=9_999, end=10_000)
    rows = vocab.rows_of(10_001)
    assert rows[0] == 0
    assert [rows[token] for token in vocab.tokens] == list(range(2, len(vocab)))
    assert set(np.delete(rows, [0, *vocab.tokens])) == {Vocabulary.FILLER}


def test_a_batch_looks_for_what_its_captions_mention(tmp_path):
    scenes = render_scenes(4, seed=1, side=32, folder=tmp_path, workers=1)
    facts, vocab = Facts([s.facts for s in scenes]), Vocabulary(_split, start=9_999, end=10_000)
    batch = make_batch(scenes, facts, vocab, np.random.default_rng(0), 16)
    assert batch.tokens.shape[0] == 6
    assert batch.tokens.shape[1] <= 16
    true = (batch.known @ batch.sought[0].T > 0) & (batch.known @ batch.sought[1].T > 0)
    assert true[range(4), range(4)].all()


@pytest.mark.parametrize("size", [(60, 40), (40, 60), (50, 50)])
def test_a_picture_is_cut_to_its_central_square(size):
    image = draw_scene(np.random.default_rng(0), size=size).image
    assert fit_square(image, 32).size == (32, 32)


def test_an_all_knowing_model_is_evaluated_as_perfect():
    scenes = draw_held_out(40, seed=4)
    prompt_set = tomllib.loads(PROMPTS.read_text(encoding="utf-8"))["category"]
    names = sorted(prompt_set)
    known = {
        id(image): found for image, found in zip(scenes.images, scenes.categories, strict=True)
    }

    def encode_images(images):
        return np.array(
            [[*(name in known[id(image)] for name in names), False] for image in images], float
        )

    def encode_texts(texts):
        said = [
            [any(prompt in text for prompt in prompt_set[name]["prompts"]) for name in names]
            for text in texts
        ]
        return np.array([[*row, not any(row)] for row in said], float)

    result = evaluate(scenes, encode_images, encode_texts)
    assert result.mean("packaged") == pytest.approx(1.0)
    assert result.mean("held_out_patterns") == pytest.approx(1.0)
    assert "**mean**" in result.table()
    assert set(result.as_json()["categories"]) == set(CATEGORIES)
