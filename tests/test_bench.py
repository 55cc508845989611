"""Laws of ``clipcal bench``: products, profiles, stages, and advice that the figures support."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from clipcal.cli import app
from clipcal.commands import bench
from clipcal.errors import ProviderError, SourceError
from clipcal.index import measure as stages_of
from clipcal.index.advice import Figures, advise
from clipcal.index.embed import EmbedOptions, embed
from clipcal.index.measure import StageTimes, copies_that_fit, different_copies, measure_stages
from clipcal.index.sources import discover
from clipcal.index.store import Corpus
from clipcal.models import measure
from clipcal.models.bundle import Preprocessing
from clipcal.models.ceiling import Ceiling, Product, ceilings, product_graph
from clipcal.models.identity import ModelIdentity
from clipcal.models.measure import (
    Rate,
    RunTime,
    encoder_rate,
    profile,
    rate,
    run_times,
    some_pixels,
)
from clipcal.models.registry import find_bundle
from clipcal.models.runtimes import onnx_runtime
from clipcal.models.session import open_image_encoder

SHAPE = Preprocessing(height=32, width=32, mean=(0, 0, 0), std=(1, 1, 1))


# --- matrix products --------------------------------------------------------------------------


def run_graph(weights: np.ndarray, rows: np.ndarray) -> np.ndarray:
    session = onnxruntime.InferenceSession(
        product_graph(weights), providers=["CPUExecutionProvider"]
    )
    product: np.ndarray = session.run(None, {"left": rows})[0]
    return product


def test_the_float_graph_is_the_product() -> None:
    rng = np.random.default_rng(0)
    rows, weights = rng.normal(size=(5, 200)), rng.normal(size=(200, 7))
    found = run_graph(weights.astype(np.float32), rows.astype(np.float32))
    np.testing.assert_allclose(found, rows @ weights, atol=1e-4)


def test_the_int8_graph_multiplies_integers_with_their_scales() -> None:
    rng = np.random.default_rng(0)
    rows = rng.integers(0, 256, (5, 64), np.uint8)
    weights = rng.integers(-127, 128, (64, 7), np.int8)
    expected = 0.02 * (rows.astype(float) - 128) @ (0.01 * weights)
    np.testing.assert_allclose(run_graph(weights, rows), expected, rtol=1e-4, atol=1e-4)


def test_a_product_graph_is_sound_onnx() -> None:
    onnx = pytest.importorskip("onnx")
    for dtype in (np.float32, np.int8):
        onnx.checker.check_model(onnx.load_from_string(product_graph(np.ones((3, 300), dtype))))


def test_ceilings_count_every_product_as_often_as_it_comes() -> None:
    once = Product(16, 32, 48)
    assert once.flop == 2 * 16 * 32 * 48
    for each in ceilings([once] * 3, seconds=0.01):
        assert each.flop_per_second == pytest.approx(3 * once.flop / each.seconds)


def test_int8_is_measured_where_int8_can_be_multiplied() -> None:
    found = {(each.kind, each.library) for each in ceilings([Product(4, 8, 8)], seconds=0.01)}
    assert {("float32", "numpy"), ("float32", "onnxruntime"), ("int8", "onnxruntime")} <= found
    assert ("int8", "numpy") not in found


# --- profiles and rates -----------------------------------------------------------------------


def test_a_profile_finds_the_products_with_weights_and_all_of_the_time() -> None:
    bundle = find_bundle(None)
    preprocessing = bundle.manifest.preprocessing
    found, twice = (profile(bundle.visual, some_pixels(preprocessing, size)) for size in (2, 4))
    assert sum(found.shares.values()) == pytest.approx(1)
    assert list(found.shares.values()) == sorted(found.shares.values(), reverse=True)
    assert found.products
    flop = [sum(each.flop for each in one.products) for one in (found, twice)]
    assert flop[1] == pytest.approx(2 * flop[0], rel=0.01)


def test_a_float16_graph_is_profiled_at_the_level_that_it_runs_at(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    levels, real = [], onnx_runtime.new_session

    def spy(file: Path, options: onnxruntime.SessionOptions, providers: list[str]) -> object:
        levels.append(options.graph_optimization_level)
        return real(file, options, providers)

    monkeypatch.setattr(onnx_runtime, "new_session", spy)
    bundle = find_bundle(None)
    found = profile(bundle.visual, some_pixels(bundle.manifest.preprocessing, 1), half=True)
    assert levels == [onnxruntime.GraphOptimizationLevel.ORT_ENABLE_EXTENDED]
    assert found.products


def test_what_is_open_already_is_measured_without_being_opened_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def full(*_: object, **__: object) -> None:
        raise ProviderError("out of memory. Next: wait.")

    bundle = find_bundle(None)
    encoder = open_image_encoder(bundle, device="cpu", batch_sizes=(1,))
    monkeypatch.setattr(measure, "open_image_encoder", full)
    here, gone = run_times(
        bundle, seconds=0, devices=("auto", "cpu", "cuda"), opened={"cpu": encoder}
    )
    assert bench._speed_of("cpu", [here, gone]) > 0
    with pytest.raises(ProviderError, match="out of memory"):
        bench._speed_of("cuda", [here, gone])


def test_a_rate_is_of_the_runs_after_the_first() -> None:
    calls: list[int] = []
    found = rate(lambda: calls.append(0), 8, seconds=0)
    assert len(calls) == 1 + found.runs == 4
    assert 0 < found.low <= found.median <= found.high


def test_an_encoder_is_measured_in_all_its_streams() -> None:
    class Counting:
        dim, provider, batch_sizes, streams = 4, "Tiny", (2,), 3
        seen = 0

        def encode(self, pixels: np.ndarray) -> np.ndarray:
            self.seen += len(pixels)
            return np.zeros((len(pixels), 4), np.float32)

    counting = Counting()
    found = encoder_rate(counting, SHAPE, seconds=0)  # type: ignore[arg-type]  # a stand-in
    assert counting.seen == (1 + found.runs) * 2 * 3


# --- files ------------------------------------------------------------------------------------


def test_copies_differ_in_content_and_show_the_same_pictures(
    pictures: Callable[..., Path], tmp_path: Path
) -> None:
    paths = sorted(pictures(2).iterdir())
    copies = different_copies(paths, 5, tmp_path / "copies")
    corpus = Corpus.create(tmp_path / "corpus", ModelIdentity.of_bundle(find_bundle(None)))
    bundle = find_bundle(None)
    report = embed(
        corpus,
        discover([str(each) for each in copies]),
        lambda: open_image_encoder(bundle, device="cpu", batch_sizes=(1,)),
        bundle.manifest.preprocessing,
        EmbedOptions(),
    )
    vectors = corpus.shards.take(np.arange(5))
    corpus.close()
    assert report.embedded == 5
    np.testing.assert_array_equal(vectors[0], vectors[2])
    assert not np.array_equal(vectors[0], vectors[1])


def test_stages_pass_over_what_is_no_image(pictures: Callable[..., Path]) -> None:
    folder = pictures(3)
    (folder / "00_broken.png").write_bytes(b"no picture")
    found = measure_stages(sorted(folder.iterdir()), SHAPE, dim=16, seconds=60)
    assert found.files == 3
    assert found.read > 0 < found.decode_scaled
    assert found.write > 0


def test_files_of_which_none_decodes_say_why(tmp_path: Path) -> None:
    (tmp_path / "broken.png").write_bytes(b"no picture")
    with pytest.raises(SourceError, match=r"broken\.png: .*Name a folder.*clipcal bench photos/"):
        measure_stages([tmp_path / "broken.png"], SHAPE, dim=16, seconds=1)


def test_copies_end_where_the_disk_could_fill(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    paths = [tmp_path / "small.jpg", tmp_path / "large.jpg"]
    for path, size in zip(paths, (100, 300), strict=True):
        path.write_bytes(b"x" * size)
    assert copies_that_fit(paths, 10, 2**30) == 10
    assert copies_that_fit(paths, 10, 899) == 4
    assert copies_that_fit(paths, 10, 900) == 5
    assert copies_that_fit(paths, 10, 50) == 1
    assert bench._count(paths, 10, quiet=False) == 10
    assert capsys.readouterr().err == ""
    monkeypatch.setattr(stages_of, "COPIES_BYTES", 900)
    assert bench._count(paths, 10, quiet=False) == 5
    assert "Embedding 5 images, not 10" in capsys.readouterr().err


# --- advice -----------------------------------------------------------------------------------


def runs_at(device: str, speed: float | None, missing: str | None = None) -> RunTime:
    found = None if speed is None else Rate(speed, speed, speed, 3)
    return RunTime(device, None if speed is None else device, found, missing)


FIGURES = Figures(
    model="ViT-B-32::openai",
    precision="fp32",
    builtin=False,
    cores=2,
    flags=("avx512f",),
    run_times=(runs_at("cpu", 20), runs_at("openvino", 20), runs_at("cuda", None, "no driver")),
    chosen="cpu",
    ceilings=(Ceiling("float32", "numpy", 0.1, 1e11), Ceiling("int8", "onnxruntime", 0.09, 1e11)),
    batch=8,
    stages=StageTimes(9, 0.1, 3.0, 1.0, 4.0, 2.5, 0.2),
    whole=18.0,
    images=100,
    peak_memory=2**28,
)


def test_figures_that_point_nowhere_give_no_advice() -> None:
    found = advise(FIGURES)
    assert len(found) == 1
    assert found[0].startswith("Nothing to change")


def test_int8_is_advised_where_its_products_are_faster_and_it_is_not_used() -> None:
    fast = replace(
        FIGURES,
        flags=("avx512f", "avx512_vnni"),
        ceilings=(FIGURES.ceilings[0], Ceiling("int8", "onnxruntime", 0.04, 3e11)),
    )
    (advice,) = advise(fast)
    assert "2.5 times" in advice
    assert "avx512_vnni" in advice
    assert "clipcal export ViT-B-32::openai --precision int8 --verify photos/" in advice
    assert not any("--precision int8" in line for line in advise(replace(fast, precision="int8")))
    assert not any("--precision int8" in line for line in advise(replace(fast, chosen="cuda")))


def test_a_faster_device_is_advised_only_where_it_was_measured() -> None:
    faster = replace(FIGURES, run_times=(runs_at("cpu", 20), runs_at("openvino", 40)))
    assert advise(faster)[0].startswith("--device openvino runs this model 2.0 times as fast")
    close = replace(FIGURES, run_times=(runs_at("cpu", 20), runs_at("openvino", 21)))
    assert not any("--device" in line for line in advise(close))


def test_openvino_is_suggested_where_it_is_absent_and_there_is_room() -> None:
    absent = replace(FIGURES, run_times=(runs_at("cpu", 20), runs_at("openvino", None, "absent")))
    assert any("pip install 'clipcal[openvino]'" in line for line in advise(absent))
    full = replace(absent, run_times=(runs_at("cpu", 79), runs_at("openvino", None, "absent")))
    assert not any("clipcal[openvino]" in line for line in advise(full))


def test_decoding_is_named_where_it_takes_most_of_the_cores() -> None:
    slow = replace(FIGURES, stages=replace(FIGURES.stages, decode_scaled=300.0))
    assert any(line.startswith("Reading and decoding takes 75%") for line in advise(slow))


def test_a_gpu_that_waits_for_the_cores_is_named() -> None:
    waiting = replace(FIGURES, run_times=(runs_at("cuda", 4000),), chosen="cuda", cores=16)
    (advice,) = advise(waiting)
    assert "16 cores prepare at most 6154" not in advice  # they keep up
    hungry = replace(waiting, run_times=(runs_at("cuda", 9000),))
    (advice,) = advise(hungry)
    assert "16 cores prepare at most 6154" in advice
    assert "--workers" not in advice  # embed takes them all by itself


def test_a_share_that_cannot_be_is_told_as_noise() -> None:
    noisy = replace(FIGURES, run_times=(runs_at("cpu", 120),))
    assert any("Measure again when the machine is quiet" in line for line in advise(noisy))
    near = replace(FIGURES, run_times=(runs_at("cpu", 60),))
    assert any(line.startswith("The model runs at 75%") for line in advise(near))


def test_slow_files_are_named_with_more_workers() -> None:
    remote = replace(FIGURES, stages=replace(FIGURES.stages, read=40.0))
    for cores in (2, 16):  # embed takes a thread a core by itself
        found = advise(replace(remote, cores=cores))
        assert any(f"--workers {4 * cores}" in line for line in found)


@given(
    speed=st.floats(1, 1e5),
    seconds=st.floats(1e-4, 10),
    read=st.floats(0.01, 1000),
    decode=st.floats(0.01, 1000),
    precision=st.sampled_from(["fp32", "fp16", "int8"]),
    chosen=st.sampled_from(["cpu", "openvino", "cuda"]),
    builtin=st.booleans(),
)
def test_there_is_always_something_to_say_and_never_a_broken_number(
    speed: float,
    seconds: float,
    read: float,
    decode: float,
    precision: str,
    chosen: str,
    builtin: bool,
) -> None:
    figures = replace(
        FIGURES,
        precision=precision,
        builtin=builtin,
        chosen=chosen,
        run_times=(runs_at(chosen, speed),),
        ceilings=(Ceiling("float32", "numpy", seconds, 1.0), Ceiling("int8", "x", 0.01, 1.0)),
        stages=replace(FIGURES.stages, read=read, decode_scaled=decode),
    )
    found = advise(figures)
    assert found
    assert not any(word in line for line in found for word in ("nan", "inf ", "None"))


# --- the command ------------------------------------------------------------------------------


def test_the_command_measures_a_folder_and_prints_one_object(
    pictures: Callable[..., Path],
) -> None:
    done = CliRunner().invoke(app, ["bench", str(pictures(3)), "--seconds", "1", "--json"])
    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout)
    assert found["builtin"]
    assert found["whole"] > 0
    assert {"cpu", "openvino", "cuda"} == {each["device"] for each in found["run_times"]}
    assert found["chosen"] in {each["device"] for each in found["run_times"] if each["rate"]}
    assert found["stages"]["files"] == 3
    assert found["advice"]


def test_the_command_shows_a_table_and_its_advice() -> None:
    done = CliRunner().invoke(app, ["bench", "--seconds", "1", "--device", "cpu"])
    assert done.exit_code == 0, done.output
    for words in ("model on cpu", "decode and resize, scaled", "write, 32 in", "file to stored"):
        assert words in done.stdout
    assert "--model BUNDLE" in done.stdout
    assert "Drawing" in done.stderr


def test_a_folder_without_images_is_an_error(tmp_path: Path) -> None:
    done = CliRunner().invoke(app, ["bench", str(tmp_path)])
    assert done.exit_code != 0
    assert "no image" in str(done.exception)
