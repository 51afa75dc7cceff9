"""Odd files: what is read rightly, and what is refused by name before or while it is decoded."""

from __future__ import annotations

import struct
import zlib

import cv2
import numpy as np
import pytest
import tifffile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from int_bench.data.decoding import read_header
from int_bench.data.images import read_image, read_map, read_mask
from int_bench.data.remarks import heard
from int_bench.errors import SampleError

MASK = np.zeros((12, 18), bool)
MASK[3:8, 4:12] = True
LEVELS = np.where(MASK, 255, 0).astype(np.uint8)
COLOUR = np.stack([LEVELS, LEVELS // 2, 255 - LEVELS], -1)
DEEP = COLOUR.astype(np.uint16) * 257


CONTIGUOUS = {"photometric": "minisblack", "planarconfig": "contig"}


def tiff(array, **options):
    return lambda path: tifffile.imwrite(path, array, **options)


MASKS = {
    "three samples, black is zero": tiff(np.stack([LEVELS] * 3, -1), **CONTIGUOUS),
    "planes": tiff(np.stack([LEVELS] * 3), photometric="rgb", planarconfig="separate"),
    "16 bits, RGB": tiff(np.stack([LEVELS] * 3, -1).astype(np.uint16) * 257, photometric="rgb"),
    "float16": tiff(MASK.astype(np.float16)),
    "float64": tiff(MASK.astype(np.float64)),
    "float, three samples": tiff(np.stack([MASK] * 3, -1).astype(np.float32), photometric="rgb"),
    "32 bits": tiff(LEVELS.astype(np.uint32) * 257),
    "deflated floats": tiff(MASK.astype(np.float32), compression="zlib"),
    "white is zero": tiff(255 - LEVELS, photometric="miniswhite"),
    "big-endian": tiff(LEVELS.astype(">u2") * 257, byteorder=">"),
    "grey and alpha": tiff(np.stack([LEVELS, np.full_like(LEVELS, 255)], -1), **CONTIGUOUS),
}


@pytest.mark.parametrize("name", MASKS)
def test_odd_tiffs_give_the_same_mask(tmp_path, name):
    path = tmp_path / "m.tif"
    MASKS[name](path)
    assert np.array_equal(read_mask(path), MASK)
    assert np.array_equal(np.asarray(read_map(path), float) > 0.5, MASK)
    assert read_header(path).size == MASK.shape


@pytest.mark.parametrize("suffix", ["webp", "gif", "WebP"])
def test_webp_and_gif_are_read(tmp_path, suffix):
    path = tmp_path / f"m.{suffix}"
    Image.fromarray(LEVELS).save(path, **({"lossless": True} if suffix != "gif" else {}))
    assert np.array_equal(read_mask(path), MASK)
    assert read_image(path).shape == (12, 18, 3)


def test_colours_of_16_bits_keep_their_lower_bits(tmp_path):
    ramp = np.arange(12 * 18 * 3, dtype=np.uint16).reshape(12, 18, 3)  # 10 bits
    cv2.imwrite(str(tmp_path / "i.png"), ramp[..., ::-1])
    tifffile.imwrite(tmp_path / "i.tif", ramp, photometric="rgb")
    expected = np.rint(ramp * (255 / 1023)).astype(np.uint8)
    for name in ("i.png", "i.tif"):
        assert np.array_equal(read_image(tmp_path / name), expected), name
        assert read_header(tmp_path / name).deep


def alpha(colours, opacity):
    return lambda path: Image.fromarray(
        np.dstack([np.broadcast_to(np.atleast_3d(colours), (12, 18, 3)), opacity]).astype(np.uint8)
    ).save(path)


CUT_OUT = np.where(MASK[..., None], np.random.default_rng(0).integers(0, 255, (12, 18, 3)), 0)
ALPHAS = {
    "constant": (alpha(LEVELS, np.full_like(LEVELS, 7)), ""),
    "nearly opaque": (alpha(LEVELS, 255 - LEVELS // 100), ""),
    "the same": (alpha(LEVELS, LEVELS), ""),
    "alone": (alpha(np.full_like(LEVELS, 255), LEVELS), "its alpha is read as the mask"),
    "alone on black": (alpha(np.zeros_like(LEVELS), LEVELS), "its alpha is read as the mask"),
}


@pytest.mark.parametrize("name", ALPHAS)
def test_no_mask_in_alpha_is_lost(tmp_path, name):
    write, said = ALPHAS[name]
    write(tmp_path / "m.png")
    for read in (read_mask, read_map):
        with heard() as remarks:
            assert np.array_equal(np.asarray(read(tmp_path / "m.png")) > 0, MASK)
        assert [said in remark.text for remark in remarks] == ([True] if said else [])


@pytest.mark.parametrize("colours", [CUT_OUT, 255 - LEVELS], ids=["cut-out", "against it"])
def test_alpha_that_differs_from_the_colours_is_refused(tmp_path, colours):
    alpha(colours, LEVELS)(tmp_path / "m.png")
    for read in (read_mask, read_map):
        with pytest.raises(SampleError, match=r"m\.png has an alpha that differs from its colours"):
            read(tmp_path / "m.png")


def header_alone(width, height, depth=8):
    """A PNG whose header asks for a picture of any size and whose pixels are missing."""
    body = b"IHDR" + struct.pack(">IIBBBBB", width, height, depth, 0, 0, 0, 0)
    chunk = struct.pack(">I", 13) + body + struct.pack(">I", zlib.crc32(body))
    return b"\x89PNG\r\n\x1a\n" + chunk + struct.pack(">I", 100) + b"IDAT" + bytes(8)


def array_header(text):
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text.encode() + bytes(64)


SHAPE = "{'descr': '|u1', 'fortran_order': False, 'shape': %s}\n"
REFUSED = {
    "huge.png": (header_alone(20_000, 20_000), "20000x20000 pixels, 400.0 million; at most 100"),
    "wide.png": (header_alone(2**31 - 1, 2**31 - 1, 16), "at most 100 million are decoded"),
    "avif.png": (b"\0\0\0 ftypavif" + bytes(40), "it starts with '....ftypavif'; PNG, JPEG"),
    "dds.png": (b"DDS |" + bytes(200), "it starts with 'DDS |"),
    "damaged.npy": (array_header("{'descr': '|u1', 'shape': (3, 4\n"), "is not a plain .npy"),
    "hungry.npy": (array_header(SHAPE % "(9000000, 9000000)"), "is not a plain .npy|at most 100"),
    "objects.npy": (array_header("{'descr': '|O', 'shape': (2, 2)}\n"), "is not a plain .npy"),
    "zip.npy": (b"PK\x03\x04" + bytes(60), "is not a plain .npy"),
    "short.tif": (b"II*\0\x08\0\0\0\xff\xff", "damaged|not an image"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_read_fails_by_name(tmp_path, name):
    content, said = REFUSED[name]
    (tmp_path / name).write_bytes(content)
    for read in (read_map,) if name.endswith(".npy") else (read_map, read_mask, read_image):
        with pytest.raises(SampleError, match=said.replace("|'", "'")) as caught:
            read(tmp_path / name)
        assert name in str(caught.value) and "\n" not in str(caught.value)


def test_the_limit_of_pixels_is_the_data_sets(tmp_path):
    Image.fromarray(LEVELS).save(tmp_path / "m.png")
    np.save(tmp_path / "m.npy", LEVELS)
    for read in (read_map, read_mask, read_image):
        with pytest.raises(SampleError, match=r"18x12 pixels.*dataset\.max_pixels"):
            read(tmp_path / "m.png", max_pixels=215)
        assert read(tmp_path / "m.png", max_pixels=216).shape[:2] == (12, 18)
    with pytest.raises(SampleError, match=r"m\.npy has 18x12 pixels"):
        read_map(tmp_path / "m.npy", max_pixels=215)


@pytest.mark.parametrize("suffix", ["tif", "gif", "webp"])
def test_the_first_of_several_pictures_is_read_and_said(tmp_path, suffix):
    path, lossless = tmp_path / f"m.{suffix}", {"lossless": True} if suffix == "webp" else {}
    pages = [Image.fromarray(array) for array in (LEVELS, 255 - LEVELS)]
    pages[0].save(path, save_all=True, append_images=pages[1:], **lossless)
    with heard() as remarks:
        assert np.array_equal(read_mask(path), MASK)
    assert [remark.text for remark in remarks] == [
        f"m.{suffix} holds several pictures; its first is read"
    ]


def test_other_kinds_of_tiff_are_named(tmp_path):
    tifffile.imwrite(tmp_path / "lab.tif", COLOUR, photometric="cielab")
    tifffile.imwrite(tmp_path / "many.tif", np.zeros((12, 18, 6), np.uint8), **CONTIGUOUS)
    tifffile.imwrite(tmp_path / "white.tif", DEEP[..., 0], photometric="miniswhite")
    for name, said in (
        ("lab.tif", "TIFF of 3 samples a pixel, CIELAB; grey"),
        ("many.tif", "TIFF of 6 samples a pixel"),
        ("white.tif", "white as zero; save it with black as zero"),
    ):
        for read in (read_mask, read_image):
            with pytest.raises(SampleError, match=rf"{name}.*{said}"):
                read(tmp_path / name)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_numbers_that_are_not_finite_are_refused(tmp_path, value):
    array = MASK.astype(np.float32)
    array[0, 0] = value
    tifffile.imwrite(tmp_path / "m.tif", array)
    np.save(tmp_path / "m.npy", array)
    with pytest.raises(SampleError, match=r"m\.tif holds NaN or infinite values \(1 of 216\)"):
        read_mask(tmp_path / "m.tif")
    with pytest.raises(SampleError, match=r"m\.npy holds NaN"):
        read_map(tmp_path / "m.npy")


HEADS = (b"", b"\x89PNG\r\n\x1a\n", b"II*\0", b"MM\0*", b"\xff\xd8\xff", b"GIF89a", b"RIFF", b"BM")


@settings(
    max_examples=150, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck)
)
@given(head=st.sampled_from((*HEADS, b"\x93NUMPY\x01\0")), body=st.binary(max_size=200))
def test_any_bytes_are_read_or_refused_by_name(tmp_path, head, body):
    for suffix, reads in ((".tif", (read_image, read_mask)), (".npy", (read_map,))):
        path = tmp_path / f"any{suffix}"
        path.write_bytes(head + body)
        for read in reads:
            try:
                read(path)
            except SampleError as error:
                assert path.name in str(error)


@settings(max_examples=60, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(place=st.integers(0, 10_000), bit=st.integers(0, 7), kind=st.sampled_from(list(MASKS)))
def test_a_flipped_bit_of_a_tiff_never_escapes(tmp_path, place, bit, kind):
    path = tmp_path / "m.tif"
    MASKS[kind](path)
    content = bytearray(path.read_bytes())
    content[place % len(content)] ^= 1 << bit
    path.write_bytes(bytes(content))
    try:
        read_mask(path)
    except SampleError as error:
        assert "m.tif" in str(error)
