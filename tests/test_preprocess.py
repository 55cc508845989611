"""The pixels equal the reference's, every mode becomes RGB, and no file gets past ImageError."""

from __future__ import annotations

import contextlib
import struct
import warnings
import zlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from io import BytesIO
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image, features

from clipcal.errors import ImageError
from clipcal.models import decode, preprocess
from clipcal.models.bundle import Preprocessing
from clipcal.models.preprocess import load_pixels, open_rgb, to_pixels

EXTREME = [(1, 1), (1, 5000), (5000, 1), (3000, 2), (2, 3000), (3, 1009)]


def preprocessing(height: int = 32, width: int = 32, **fields: Any) -> Preprocessing:
    return Preprocessing(height=height, width=width, mean=(0, 0, 0), std=(1, 1, 1), **fields)


def noise(width: int, height: int, seed: int = 0) -> Image.Image:
    values = np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)
    return Image.fromarray(values)


def saved(image: Image.Image, format: str, **options: Any) -> bytes:
    stream = BytesIO()
    image.save(stream, format, **options)
    return stream.getvalue()


# --- parity with open_clip -------------------------------------------------------------------


@pytest.fixture(scope="session")
def reference() -> Callable[[Image.Image, Preprocessing], NDArray[np.uint8]]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what torch and its companions deprecate is theirs
        open_clip = pytest.importorskip("open_clip.transform", reason="needs clipcal[export]")

    def pixels(image: Image.Image, p: Preprocessing) -> NDArray[np.uint8]:
        size = p.height if p.height == p.width else (p.height, p.width)
        steps = open_clip.image_transform(
            size,
            is_train=False,
            resize_mode=p.resize_mode,
            interpolation=p.interpolation,
            fill_color=p.fill,
        ).transforms
        for step in steps[:-2]:  # all but to-tensor and normalise, which live in the graph
            image = step(image)
        return np.array(image)

    return pixels


@pytest.mark.parametrize("interpolation", ["bicubic", "bilinear"])
@pytest.mark.parametrize("mode", ["shortest", "longest", "squash"])
@pytest.mark.parametrize("size", [64, 96, 224, 256])
def test_pixels_equal_the_reference_at_every_residue_of_the_crop(
    reference: Any, size: int, mode: str, interpolation: str
) -> None:
    settings = preprocessing(size, size, resize_mode=mode, interpolation=interpolation, fill=7)
    # The crop's offset is rounded to even, so that four neighbouring lengths take every branch.
    for width, height in [(s, 4 * size // 3 + d) for s in (size // 2, size) for d in range(4)]:
        for image in (noise(width, height), noise(height, width)):
            np.testing.assert_array_equal(
                to_pixels(image, settings), reference(image, settings), str(image.size)
            )


@settings(deadline=None, max_examples=60)
@given(
    size=st.tuples(st.integers(1, 300), st.integers(1, 300)),
    target=st.tuples(st.sampled_from([32, 48, 64]), st.sampled_from([32, 48, 64])),
    mode=st.sampled_from(["shortest", "longest", "squash"]),
    interpolation=st.sampled_from(["bicubic", "bilinear"]),
)
def test_pixels_equal_the_reference_at_any_size(
    reference: Any, size: tuple[int, int], target: tuple[int, int], mode: str, interpolation: str
) -> None:
    wanted = preprocessing(*target, resize_mode=mode, interpolation=interpolation)
    image = noise(*size)
    try:
        expected = reference(image, wanted)
    except ValueError:  # the reference cannot make a side of zero pixels; here it is one
        assert mode == "longest"
        assert to_pixels(image, wanted).shape == (*target, 3)
        return
    np.testing.assert_array_equal(to_pixels(image, wanted), expected)


@pytest.mark.parametrize("interpolation", ["bicubic", "bilinear"])
@pytest.mark.parametrize("size", EXTREME)
@pytest.mark.parametrize("limit", [preprocess._WHOLE_LIMIT, 0])
def test_long_images_equal_the_reference_whether_made_whole_or_not(
    reference: Any,
    monkeypatch: pytest.MonkeyPatch,
    limit: int,
    size: tuple[int, int],
    interpolation: str,
) -> None:
    monkeypatch.setattr(preprocess, "_WHOLE_LIMIT", limit)
    for target in [(64, 64), (64, 48), (48, 64)]:
        wanted = preprocessing(*target, interpolation=interpolation)
        image = noise(*size)
        np.testing.assert_array_equal(to_pixels(image, wanted), reference(image, wanted))


@pytest.mark.parametrize("size", [(1, 60_000), (60_000, 1)])
def test_a_line_of_any_length_takes_no_more_memory_than_its_result(size: tuple[int, int]) -> None:
    # Made whole before the crop, this one would be 256 × 15,360,000 pixels: 16 GB.
    assert to_pixels(noise(*size), preprocessing(256, 256)).shape == (256, 256, 3)


def test_grey_images_equal_the_reference(reference: Any) -> None:
    grey = noise(50, 70).convert("L")
    wanted = preprocessing()
    pixels = load_pixels(saved(grey, "PNG"), wanted, exact=True)
    np.testing.assert_array_equal(
        pixels, np.array(Image.fromarray(reference(grey, wanted)).convert("RGB"))
    )


# --- every mode becomes RGB ------------------------------------------------------------------


def only(data: bytes) -> tuple[int, ...]:
    """Read the colour of the first pixel."""
    colour = open_rgb(data).getpixel((0, 0))
    assert isinstance(colour, tuple)
    return colour


COLOURS = {
    "PNG": ["P", "RGB", "RGBA"],
    "TIFF": ["P", "PA", "RGB", "RGBA", "CMYK"],
    "JPEG": ["RGB", "CMYK"],
    "GIF": ["P", "RGB", "RGBA"],
    "WEBP": ["RGB", "RGBA"],
    "BMP": ["P", "RGB", "RGBA"],
}


@pytest.mark.parametrize(
    ("format", "mode"), [(format, mode) for format, modes in COLOURS.items() for mode in modes]
)
def test_a_colour_survives_every_format_and_mode(format: str, mode: str) -> None:
    image = Image.new("RGB", (16, 16), (255, 0, 0))
    image = image.convert("P").convert("PA") if mode == "PA" else image.convert(mode)
    assert np.abs(np.array(only(saved(image, format))) - (255, 0, 0)).max() <= 3


@pytest.mark.parametrize("mode", ["1", "L", "LA"])
@pytest.mark.parametrize("format", ["PNG", "TIFF"])
def test_a_grey_survives_every_format_and_mode(format: str, mode: str) -> None:
    assert only(saved(Image.new("L", (4, 4), 255).convert(mode), format)) == (255, 255, 255)
    if mode != "1":
        assert only(saved(Image.new("L", (4, 4), 90).convert(mode), format)) == (90, 90, 90)


@pytest.mark.parametrize("mode", ["YCbCr", "LAB", "HSV", "RGBa", "La", "RGBX"])
def test_modes_that_only_some_files_hold_become_rgb(mode: str) -> None:
    rgb = Image.new("RGB", (4, 4), (200, 200, 200))
    if mode == "La":
        source = rgb.convert("LA").convert("La")
    elif mode == "RGBa":
        source = rgb.convert("RGBA").convert("RGBa")
    else:
        source = rgb.convert(mode)
    converted = decode._to_rgb(source)
    assert converted.mode == "RGB"
    assert np.abs(np.asarray(converted).astype(int) - 200).max() <= 2


@pytest.mark.parametrize(
    ("value", "expected"), [(0, 0), (255, 1), (256, 1), (32768, 128), (65535, 255)]
)
@pytest.mark.parametrize("format", ["PNG", "TIFF", "PPM"])
def test_16_bit_greys_are_scaled_not_clipped(format: str, value: int, expected: int) -> None:
    grey = Image.fromarray(np.full((4, 4), value, np.uint16))
    assert only(saved(grey, format)) == (expected,) * 3


@pytest.mark.parametrize("order", ["<u2", ">u2"])
def test_16_bit_greys_of_either_byte_order_agree(order: str) -> None:
    values = np.full((2, 2), 32768).astype(order)
    mode = "I;16" if order == "<u2" else "I;16B"
    image = Image.frombytes(mode, (2, 2), values.tobytes())
    assert decode._to_rgb(image).getpixel((0, 0)) == (128, 128, 128)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (np.array([[0, 65535]], np.int32), [0, 255]),
        (np.array([[-100, 100]], np.int32), [0, 255]),
        (np.array([[0, 1_500_000, 2_000_000]], np.int32), [0, 191, 255]),
        (np.array([[0.0, 0.5, 1.0]], np.float32), [0, 128, 255]),
        (np.array([[0.0, 100.0, 200.0]], np.float32), [0, 100, 200]),
        (np.array([[0.0, 65535.0]], np.float32), [0, 255]),
        (np.array([[np.nan, np.inf, 1.0]], np.float32), [0, 0, 255]),
        (np.array([[7.0, 7.0]], np.float32), [7, 7]),
        (np.array([[-7.0, -7.0]], np.float32), [0, 0]),
    ],
)
def test_integers_and_floats_are_scaled_by_the_range_of_their_kind(
    values: NDArray[Any], expected: list[int]
) -> None:
    pixels = np.asarray(open_rgb(saved(Image.fromarray(values), "TIFF")))
    assert pixels[0, :, 0].tolist() == expected


def test_transparency_is_laid_on_white() -> None:
    clear = Image.new("RGBA", (4, 4), (255, 0, 0, 0))
    half = Image.new("RGBA", (4, 4), (255, 0, 0, 128))
    assert only(saved(clear, "PNG")) == (255, 255, 255)
    assert only(saved(half, "PNG")) == (255, 127, 127)
    assert only(saved(clear, "WEBP", lossless=True)) == (255, 255, 255)
    assert only(saved(Image.new("LA", (4, 4), (0, 0)), "PNG")) == (255, 255, 255)


def test_opaque_alpha_leaves_the_reference_s_pixels() -> None:
    image = noise(9, 7)
    solid = image.convert("RGBA")
    np.testing.assert_array_equal(np.asarray(open_rgb(saved(solid, "PNG"))), np.asarray(image))


@pytest.mark.parametrize("transparency", [0, b"\x00\xff"])
@pytest.mark.parametrize("format", ["PNG", "GIF"])
def test_palettes_with_transparency_are_laid_on_white(
    format: str, transparency: int | bytes
) -> None:
    image = Image.new("P", (4, 4), 0)
    image.putpalette([255, 0, 0, 0, 0, 255])
    image.putpixel((1, 1), 1)
    if format == "GIF" and isinstance(transparency, bytes):
        transparency = 0
    rgb = open_rgb(saved(image, format, transparency=transparency))
    assert rgb.getpixel((0, 0)) == (255, 255, 255)
    assert rgb.getpixel((1, 1)) == (0, 0, 255)


@pytest.mark.parametrize("mode", ["1", "L", "RGB"])
def test_a_transparent_colour_of_an_image_without_alpha_is_white(mode: str) -> None:
    key: Any = (0, 0, 0) if mode == "RGB" else 0
    assert only(saved(Image.new(mode, (4, 4)), "PNG", transparency=key)) == (255, 255, 255)


@pytest.mark.parametrize("format", ["GIF", "PNG", "WEBP", "TIFF"])
def test_the_first_frame_counts(format: str) -> None:
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("red", "lime", "blue")]
    data = saved(frames[0], format, save_all=True, append_images=frames[1:])
    assert np.abs(np.array(only(data)) - (255, 0, 0)).max() <= 3


@pytest.mark.skipif(not features.check("avif"), reason="this Pillow has no AVIF")
def test_avif_is_read_where_pillow_reads_it() -> None:
    assert open_rgb(saved(noise(16, 12), "AVIF")).size == (16, 12)


# --- EXIF ------------------------------------------------------------------------------------


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("format", ["PNG", "TIFF", "WEBP"])
def test_exif_orientation_turns_the_image_upright(format: str, orientation: int) -> None:
    upright = noise(8, 5)
    undo = {6: 8, 8: 6}.get(orientation, orientation)
    method = decode._TRANSPOSITIONS.get(undo)
    turned = upright if method is None else upright.transpose(method)
    exif = Image.Exif()
    exif[decode._ORIENTATION] = orientation
    options = {"lossless": True} if format == "WEBP" else {}
    data = saved(turned, format, exif=exif, **options)
    np.testing.assert_array_equal(np.asarray(open_rgb(data)), np.asarray(upright))


@pytest.mark.parametrize(
    "exif",
    [
        b"Exif\x00\x00MM\x00*\x00\x00\x00\x08\x00\x09",
        b"Exif\x00\x00II*\x00\xff\xff\xff\x7f",
        b"Exif\x00\x00" + bytes(range(64)),
        b"Exif\x00\x00MM\x00*\x00\x00\x00\x08\x00\x01\x01\x12\x00\x02\x00\x00\x00\x04six\x00",
    ],
)
@pytest.mark.parametrize("action", ["error", "always"])
def test_a_damaged_exif_block_neither_warns_nor_loses_the_image(exif: bytes, action: Any) -> None:
    data = saved(noise(8, 5), "JPEG", exif=exif)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter(action)
        assert open_rgb(data).size == (8, 5)
    assert caught == []


# --- what cannot be read ---------------------------------------------------------------------


def png_header(width: int, height: int) -> bytes:
    """Make a PNG that claims a size and holds one empty line."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        checksum = zlib.crc32(kind + body)
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", checksum)

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    body = chunk(b"IDAT", zlib.compress(b"\x00" * 16))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + body + chunk(b"IEND", b"")


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "zero bytes"),
        (b"hello, world", "not an image"),
        (b"\x00" * 4000, "not an image"),
        (b"<!doctype html><title>404</title>", "HTML"),
        (b"\xff\xd8\xff\xe0", "JPEG"),
        (saved(noise(64, 64), "JPEG")[:1500], "truncated JPEG"),
        (saved(noise(64, 64), "PNG")[:1500], "truncated PNG"),
        (saved(noise(64, 64), "GIF")[:1500], "truncated GIF"),
        (saved(noise(64, 64), "BMP")[:1500], "truncated BMP"),
        (saved(noise(64, 64), "WEBP")[:1500], "WEBP"),
        (saved(noise(64, 64), "TIFF")[:1500], "TIFF"),
    ],
)
def test_a_bad_file_is_refused_with_a_reason_that_says_what_it_is(data: bytes, reason: str) -> None:
    with pytest.raises(ImageError, match=reason):
        open_rgb(data)


def test_too_many_pixels_are_refused_from_the_header_alone() -> None:
    with pytest.raises(ImageError) as caught:
        open_rgb(png_header(20_000, 20_000))
    expected = "20000×20000 is 400 megapixels, over the limit of 100; raise it with --max-pixels"
    assert str(caught.value) == expected


def test_the_limit_is_the_last_size_that_passes() -> None:
    data = saved(noise(10, 10), "PNG")
    assert open_rgb(data, max_pixels=100).size == (10, 10)
    with pytest.raises(ImageError, match="over the limit"):
        open_rgb(data, max_pixels=99)


def test_a_raised_limit_overrules_pillow_s_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10)
    assert open_rgb(saved(noise(10, 10), "PNG")).size == (10, 10)


def test_pillow_s_own_limit_does_not_leak(monkeypatch: pytest.MonkeyPatch) -> None:
    data = saved(noise(10, 10), "GIF")
    grown = data.replace(b",\x00\x00\x00\x00\x0a\x00\x0a", b",\x00\x00\x00\x00\xff\x00\xff")
    assert grown != data
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10)
    with pytest.raises(ImageError, match="megapixels, over the limit"):
        open_rgb(grown)


FORMATS: list[tuple[str, dict[str, Any]]] = [
    ("JPEG", {"exif": b"Exif\x00\x00MM\x00*\x00\x00\x00\x08\x00\x00"}),
    ("JPEG", {"progressive": True}),
    ("PNG", {}),
    ("GIF", {}),
    ("WEBP", {}),
    ("WEBP", {"lossless": True}),
    ("TIFF", {}),
    ("TIFF", {"compression": "tiff_lzw"}),
    ("BMP", {}),
    ("ICO", {}),
    ("PPM", {}),
]


@pytest.mark.parametrize(("format", "options"), FORMATS)
def test_any_damage_gives_an_image_error_or_an_array(format: str, options: dict[str, Any]) -> None:
    data = saved(noise(24, 17), format, **options)
    rng = np.random.default_rng(len(data))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for position in rng.integers(0, len(data), 150).tolist() + list(range(60)):
            flipped = bytearray(data)
            flipped[position % len(data)] ^= int(rng.integers(1, 256))
            for damaged in (data[:position], bytes(flipped)):
                with contextlib.suppress(ImageError):
                    pixels = load_pixels(damaged, preprocessing(), max_pixels=1_000_000)
                    assert pixels.shape == (32, 32, 3)
                    assert pixels.dtype == np.uint8
    assert caught == []


def test_threads_give_the_pixels_that_one_thread_gives() -> None:
    files = [saved(noise(40 + n, 30, n), "JPEG") for n in range(40)]
    load = partial(load_pixels, preprocessing=preprocessing())
    with ThreadPoolExecutor(8) as pool:
        for pixels, expected in zip(pool.map(load, files), map(load, files), strict=True):
            np.testing.assert_array_equal(pixels, expected)


def test_pixels_are_a_writable_array_in_c_order() -> None:
    pixels = load_pixels(saved(noise(40, 30), "PNG"), preprocessing(16, 24))
    assert pixels.shape == (16, 24, 3)
    assert pixels.flags.c_contiguous
    assert pixels.flags.writeable
