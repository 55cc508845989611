"""Decoding at a fraction of the size stays close to the reference, whatever kind of file it is."""

from __future__ import annotations

from contextlib import nullcontext
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from clipcal.errors import ImageError
from clipcal.models.bundle import Preprocessing
from clipcal.models.decode import ImageFile
from clipcal.models.preprocess import GAP, load_pixels, open_rgb, to_pixels
from clipcal.models.registry import find_bundle
from clipcal.models.session import open_image_encoder

MODES: list[dict[str, Any]] = [
    {},
    {"interpolation": "bilinear"},
    {"width": 40},
    {"resize_mode": "longest", "fill": 7},
    {"resize_mode": "squash", "height": 24},
]


def preprocessing(**fields: Any) -> Preprocessing:
    return Preprocessing(
        **{"height": 32, "width": 32, "mean": (0, 0, 0), "std": (1, 1, 1)} | fields
    )


def smooth(width: int, height: int, mode: str = "RGB") -> Image.Image:
    """A picture without fine detail, steep enough that a shift by a pixel shows."""
    values = np.random.default_rng(3).integers(0, 256, (6, 7, 3), np.uint8)
    whole = Image.fromarray(values).resize((width, height), Image.Resampling.BICUBIC)
    return whole.convert(mode)


def saved(image: Image.Image, kind: str = "JPEG", **options: Any) -> bytes:
    stream = BytesIO()
    image.save(stream, kind, **{"quality": 95} | options)
    return stream.getvalue()


def difference(data: bytes, wanted: Preprocessing) -> NDArray[np.int64]:
    scaled = load_pixels(data, wanted).astype(int)
    return np.abs(scaled - load_pixels(data, wanted, exact=True))


# --- parity -----------------------------------------------------------------------------------


@pytest.mark.parametrize(("data", "every"), [("coco128", 1), ("fire", 9)])
def test_the_built_in_model_sees_real_photographs_as_after_exact_decoding(
    shared_data: Path, data: str, every: int
) -> None:
    bundle = find_bundle("builtin")
    encoder = open_image_encoder(bundle, device="cpu")
    files = sorted((shared_data / data).rglob("*.jp*g"))[::every]
    assert len(files) > 50

    def embedded(exact: bool) -> NDArray[np.float32]:
        wanted = bundle.manifest.preprocessing
        return encoder.encode(
            np.stack([load_pixels(f.read_bytes(), wanted, exact=exact) for f in files])
        )

    cosines = (embedded(exact=False) * embedded(exact=True)).sum(axis=1)
    assert cosines.min() >= 0.999


def test_exact_is_the_reference_and_scaled_is_not_when_there_is_something_to_save() -> None:
    noise = np.random.default_rng(0).integers(0, 256, (300, 400, 3), np.uint8)
    data, wanted = saved(Image.fromarray(noise)), preprocessing()
    exact = load_pixels(data, wanted, exact=True)
    np.testing.assert_array_equal(exact, to_pixels(open_rgb(data), wanted))
    assert (load_pixels(data, wanted) != exact).any()


@pytest.mark.parametrize("fields", MODES)
@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("size", [(1001, 763), (763, 1001), (203, 197)])
def test_whichever_way_an_image_lies_its_pixels_stay_in_place(
    size: tuple[int, int], orientation: int, fields: dict[str, Any]
) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    found = difference(saved(smooth(*size), exif=exif), preprocessing(**fields))
    assert found.max() <= 3
    assert found.mean() < 0.5


@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
@pytest.mark.parametrize(
    "options", [{}, {"progressive": True}, {"subsampling": 2}, {"quality": 60}]
)
def test_every_kind_of_jpeg_keeps_its_colours(mode: str, options: dict[str, Any]) -> None:
    assert difference(saved(smooth(901, 703, mode), **options), preprocessing()).max() <= 4


def test_the_first_picture_of_several_in_a_jpeg_is_scaled_too() -> None:
    second = Image.new("RGB", (901, 703))
    data = saved(smooth(901, 703), "MPO", save_all=True, append_images=[second])
    assert difference(data, preprocessing()).max() <= 3


@pytest.mark.parametrize("kind", ["PNG", "WEBP", "BMP"])
def test_other_formats_are_reduced_by_blocks(kind: str) -> None:
    options = {"lossless": True} if kind == "WEBP" else {}
    assert difference(saved(smooth(901, 703), kind, **options), preprocessing()).max() <= 3


@pytest.mark.parametrize("size", [(1, 5000), (5000, 1), (8, 3000), (60, 45), (32, 32), (1, 1)])
@pytest.mark.parametrize("fields", MODES)
def test_images_of_any_shape_fit(size: tuple[int, int], fields: dict[str, Any]) -> None:
    found = difference(saved(smooth(*size), "PNG"), preprocessing(**fields))
    assert found.mean() < 0.5


# --- the rule ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("size", "fraction"),
    [
        *(((96, 96), 1), ((191, 400), 1), ((192, 192), 2), ((192, 5000), 2), ((383, 384), 2)),
        *(((384, 384), 4), ((767, 768), 4), ((768, 900), 8), ((4000, 3000), 8)),
    ],
)
def test_the_fraction_is_the_smallest_that_leaves_enough(
    size: tuple[int, int], fraction: int
) -> None:
    seen: list[int] = []

    def room(pixels: int) -> nullcontext[None]:
        seen.append(pixels)
        return nullcontext()

    load_pixels(saved(smooth(*size)), preprocessing(), room=room)
    assert seen == [-(-size[0] // fraction) * -(-size[1] // fraction)]
    assert fraction == 1 or min(size) / fraction >= GAP * 32


@pytest.mark.parametrize(("exact", "progressive"), [(False, True), (True, True), (True, False)])
def test_a_progressive_jpeg_takes_the_memory_of_the_whole_at_any_fraction(
    exact: bool, progressive: bool
) -> None:
    seen: list[int] = []

    def room(pixels: int) -> nullcontext[None]:
        seen.append(pixels)
        return nullcontext()

    data = saved(smooth(800, 600), progressive=progressive)
    load_pixels(data, preprocessing(), exact=exact, room=room)
    assert seen == [800 * 600]


def test_a_fraction_knows_what_it_stands_for() -> None:
    file = ImageFile(saved(smooth(1001, 763)))
    file.shrink(lambda size: (size[0] // 4, size[1] // 4))
    picture = file.decode()
    assert picture.size == (1001, 763)
    assert picture.image.size == (251, 191)
    assert picture.box == (0, 0, 1001 / 4, 763 / 4)


# --- what may not change ----------------------------------------------------------------------


def test_the_limit_holds_for_the_whole_image_not_for_its_fraction() -> None:
    data = saved(smooth(1000, 800))
    with pytest.raises(ImageError, match=r"0\.8 megapixels, over the limit"):
        load_pixels(data, preprocessing(), max_pixels=799_999)
    assert load_pixels(data, preprocessing(), max_pixels=800_000).shape == (32, 32, 3)


@pytest.mark.parametrize("options", [{}, {"progressive": True}])
def test_a_truncated_jpeg_is_refused_at_any_fraction(options: dict[str, Any]) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (800, 1000, 3), np.uint8)
    data = saved(Image.fromarray(noise), **options)
    with pytest.raises(ImageError, match="truncated JPEG"):
        load_pixels(data[: len(data) // 2], preprocessing())
