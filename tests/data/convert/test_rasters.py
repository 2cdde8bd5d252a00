"""Reading of TIFF and WebP files, compared with the arrays that tifffile and Pillow wrote."""

import io
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tfseg.data import Data, Folder, TfRecord
from tfseg.data.convert import to_tfrecord
from tfseg.data.convert.rasters import with_rasters
from tfseg.errors import DataError, RunError
from tfseg.images import ImageValues
from tfseg.images.raster import _check_segments, as_npy, is_tiff, read_tiff
from tfseg.inference import read_image
from tfseg.labels import Labels

LABELS = Labels(names=("a", "b"))


def test_webp_is_converted_to_an_array(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (6, 5, 3), np.uint8)
    Image.fromarray(pixels).save(tmp_path / "a.webp", lossless=True)
    np.testing.assert_array_equal(np.load(io.BytesIO(as_npy(tmp_path / "a.webp", 3))), pixels)
    assert np.load(io.BytesIO(as_npy(tmp_path / "a.webp", 1))).shape == (6, 5, 1)
    (tmp_path / "b.webp").write_bytes((tmp_path / "a.webp").read_bytes()[:40])
    assert as_npy(tmp_path / "b.webp", 3) == b""
    (tmp_path / "c.png").write_bytes(b"other")
    assert as_npy(tmp_path / "c.png", 3) == b"other"


def masks(folder: Path, *names: str) -> None:
    (folder / "train/masks").mkdir(parents=True, exist_ok=True)
    (folder / "train/images").mkdir(exist_ok=True)
    for name in names:
        Image.fromarray(np.eye(6, 5, dtype=np.uint8)).save(folder / f"train/masks/{name}.png")


def test_webp_in_a_folder_is_converted_to_records(tmp_path: Path) -> None:
    masks(tmp_path / "in", "é a", "b")
    pixels = np.random.default_rng(0).integers(0, 256, (6, 5, 3), np.uint8)
    Image.fromarray(pixels).save(tmp_path / "in/train/images/é a.webp", lossless=True)
    Image.fromarray(pixels[::-1]).save(tmp_path / "in/train/images/b.png")
    data = Data(source=Folder(), root=tmp_path / "in").open(LABELS)
    assert data.names("train") == ("b",)
    spec = to_tfrecord(with_rasters(data), tmp_path / "out")
    (first, _), (second, _) = spec.open(LABELS).evaluation("train").as_numpy_iterator()
    np.testing.assert_array_equal(first[0], pixels[::-1])
    np.testing.assert_array_equal(second[0], pixels)


@pytest.mark.parametrize("missing", ["imagecodecs", "tifffile"])
def test_tiff_needs_the_extra(missing: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("imagecodecs", "tifffile"):
        monkeypatch.setitem(sys.modules, name, None if name == missing else ModuleType(name))
    masks(tmp_path, "a")
    Image.fromarray(np.zeros((6, 5), np.uint16)).save(tmp_path / "train/images/a.tif")
    data = Data(source=Folder(channels=1), root=tmp_path, value_range=(0, 1)).open(LABELS)
    for read in (
        lambda: with_rasters(data),
        lambda: read_image(tmp_path / "train/images/a.tif", 1, ImageValues("uint16", (0, 1))),
    ):
        with pytest.raises(RunError) as error:
            read()
        assert str(error.value).startswith(f"TIFF files need the Python module {missing}, which cannot be imported (")
        assert str(error.value).endswith("). Install the extra `raster`: pip install 'tfseg[raster]'")


@pytest.mark.extra
@pytest.mark.parametrize(
    ("dtype", "bands", "options"),
    [
        ("uint8", 3, {"photometric": "rgb"}),
        ("uint16", 1, {}),
        ("uint16", 4, {"planarconfig": "contig", "compression": "deflate"}),
        ("int16", 7, {"planarconfig": "separate", "compression": "lzw", "tile": (16, 16)}),
        ("float32", 2, {"planarconfig": "contig", "bigtiff": True}),
        ("float64", 5, {"planarconfig": "separate", "byteorder": ">"}),
    ],
)
def test_tiff_of_any_dtype_and_number_of_bands(dtype: str, bands: int, options: dict[str, Any], tmp_path: Path) -> None:
    tifffile = pytest.importorskip("tifffile")
    values = (np.random.default_rng(0).normal(size=(6, 5, bands)) * 50).astype(np.float16)
    values = (np.abs(values) if dtype.startswith("u") else values).astype(dtype)
    stored = values[..., 0] if bands == 1 else values
    if options.get("planarconfig") == "separate":
        stored = np.moveaxis(stored, 2, 0)
    tifffile.imwrite(tmp_path / "a.tif", stored, **{"photometric": "minisblack", **options})
    data = (tmp_path / "a.tif").read_bytes()
    found = read_tiff(data)
    assert is_tiff(data) and found.dtype == np.dtype(dtype)
    np.testing.assert_array_equal(found, values)
    np.testing.assert_array_equal(read_image(tmp_path / "a.tif", bands, ImageValues(dtype, (0, 100))), values)


@pytest.mark.extra
def test_folder_of_tiff_becomes_records(tmp_path: Path) -> None:
    tifffile = pytest.importorskip("tifffile")
    masks(tmp_path / "in", "a", "b")
    values = np.random.default_rng(0).integers(0, 65536, (2, 6, 5, 7), np.uint16)
    for name, each in zip("ab", values, strict=True):
        tifffile.imwrite(
            tmp_path / f"in/train/images/{name}.tif", each, photometric="minisblack", planarconfig="contig"
        )
    data = Data(source=Folder(channels=7), root=tmp_path / "in", value_range=(0, 65535)).open(LABELS)
    spec = to_tfrecord(with_rasters(data), tmp_path / "out")
    again = spec.open(LABELS)
    assert (spec.source, again.values) == (TfRecord(channels=7), ImageValues("uint16", (0, 65535)))
    for (image, _), each in zip(again.native("train").as_numpy_iterator(), values, strict=True):
        np.testing.assert_array_equal(image[0], each)
    file = tmp_path / "in/train/images/b.tif"
    file.write_bytes(file.read_bytes()[:200])
    with pytest.raises(DataError, match=r"b.tif: cannot be decoded \(200 bytes\)"):
        to_tfrecord(with_rasters(data), tmp_path / "other")


@pytest.mark.extra
def test_tiff_files_that_are_refused(tmp_path: Path) -> None:
    tifffile = pytest.importorskip("tifffile")
    Image.fromarray(np.zeros((6, 5), np.uint8)).convert("P").save(tmp_path / "palette.tif")
    Image.fromarray(np.zeros((6, 5), np.uint16)).save(tmp_path / "short.tif")
    (tmp_path / "short.tif").write_bytes((tmp_path / "short.tif").read_bytes()[:60])
    tifffile.imwrite(tmp_path / "axes.tif", np.zeros((2, 3, 6, 5), np.uint16), photometric="minisblack")
    tifffile.imwrite(tmp_path / "end.tif", np.arange(30, dtype=np.uint16).reshape(6, 5), compression="lzw")
    (tmp_path / "end.tif").write_bytes((tmp_path / "end.tif").read_bytes()[:-1])
    for name, words in (
        ("end.tif", "a TIFF whose end is missing"),
        ("palette.tif", "a TIFF of kind PALETTE and orientation 1, not MINISBLACK or RGB of orientation 1"),
        ("axes.tif", "a TIFF of the axes QQYX, not of height, width and bands"),
        ("short.tif", "cannot be read"),
    ):
        with pytest.raises(DataError) as error:
            read_image(tmp_path / name, 1, ImageValues("uint16", (0, 1)))
        assert str(error.value).startswith(f"{tmp_path / name}: cannot be read as an image (")
        assert words in str(error.value)


def with_tags(path: Path, **tags: Any) -> bytes:
    """Returns the content of a TIFF with other values of its tags."""
    tifffile = pytest.importorskip("tifffile")
    with tifffile.TiffFile(path, mode="r+b") as file:
        for name, value in tags.items():
            file.pages[0].tags[name].overwrite(value)
    return path.read_bytes()


STRIPS = {"rowsperstrip": 10}
TILES = {"tile": (16, 16), "compression": "lzw"}
PLANES = {"rowsperstrip": 20, "planarconfig": "separate"}


@pytest.mark.extra
@pytest.mark.parametrize(
    ("options", "tags", "message"),
    [
        (STRIPS, {"ImageLength": 400}, "a TIFF of 40 strips or tiles, of which 4 are stored"),
        (STRIPS, {"RowsPerStrip": 1}, "a TIFF of 40 strips or tiles, of which 4 are stored"),
        (STRIPS, {"ImageLength": 2**31}, "a TIFF of 214748365 strips or tiles, of which 4 are stored"),
        (TILES, {"ImageWidth": 4000}, "a TIFF of 750 strips or tiles, of which 9 are stored"),
        (PLANES, {"SamplesPerPixel": 3}, "a TIFF of 6 strips or tiles, of which 4 are stored"),
        (STRIPS, {"StripByteCounts": (1920, 0, 1920, 1920)}, "a TIFF with empty strips or tiles"),
        (STRIPS, {"StripOffsets": (256, 2176, 0, 6016)}, "a TIFF with empty strips or tiles"),
        (STRIPS, {"StripOffsets": (256, 2176, 4096, 9999)}, "a TIFF whose end is missing"),
        (STRIPS, {"StripByteCounts": (1920, 1920, 19, 1920)}, "corrupted strip"),
        ({"compression": "deflate"}, {"ImageWidth": 2**26, "RowsPerStrip": 40}, "bytes, compressed to "),
        (TILES, {"TileWidth": 2**20, "TileLength": 2**20}, "strips or tiles, of which 9 are stored"),
    ],
)
def test_tiff_without_all_of_its_segments(
    options: dict[str, Any],
    tags: dict[str, Any],
    message: str,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Checks that no missing values are made up, no memory is taken for them, and only the error is reported."""
    tifffile = pytest.importorskip("tifffile")
    values = np.random.default_rng(0).integers(0, 65536, (40, 48, 2), np.uint16)
    stored = np.moveaxis(values, 2, 0) if options is PLANES else values
    kind = {"planarconfig": "contig", "photometric": "minisblack", "metadata": None}
    tifffile.imwrite(tmp_path / "a.tif", stored, **{**kind, **options})
    np.testing.assert_array_equal(read_tiff((tmp_path / "a.tif").read_bytes()), values)
    data = with_tags(tmp_path / "a.tif", **tags)
    caplog.clear()
    with pytest.raises(Exception, match=message):
        read_tiff(data)
    assert not caplog.records


@pytest.mark.extra
def test_small_constant_tiff_may_be_compressed_to_any_size(tmp_path: Path) -> None:
    tifffile = pytest.importorskip("tifffile")
    tifffile.imwrite(tmp_path / "a.tif", np.full((4000, 5000), 7, np.uint16), compression="zstd", rowsperstrip=4000)
    assert (tmp_path / "a.tif").stat().st_size < 40_000_000 // 4096
    assert (read_tiff((tmp_path / "a.tif").read_bytes()) == 7).all()


@pytest.mark.extra
def test_log_of_tifffile_is_hidden_during_own_calls_only(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    tifffile = pytest.importorskip("tifffile")
    tifffile.imwrite(tmp_path / "a.tif", np.zeros((40, 48), np.uint16), rowsperstrip=10, metadata=None)
    data = with_tags(tmp_path / "a.tif", ImageLength=400)
    caplog.clear()
    with pytest.raises(ValueError, match="of which 4 are stored"):
        read_tiff(data)
    assert not caplog.records
    with tifffile.TiffFile(io.BytesIO(data)) as file:
        assert file.pages[0].shape == (400, 48)
    assert "incorrect StripOffsets count" in caplog.text


def test_series_with_a_missing_page() -> None:
    with pytest.raises(ValueError, match="a TIFF with a missing page"):
        _check_segments(SimpleNamespace(pages=[None], nbytes=0), 0)
