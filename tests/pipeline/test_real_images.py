from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from neuropil.pipeline import real_images
from neuropil.pipeline.real_images import data_folders, download, find_real_images


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def published(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A server with one slice as it was published: colour images and soft masks; and its list of checksums."""
    rng = np.random.default_rng(5)
    grey = rng.integers(0, 256, (6, 8), dtype=np.uint8)
    site, assets = tmp_path / "site", tmp_path / "assets"
    bits = np.zeros((6, 8), np.uint8)
    (site / "slices").mkdir(parents=True)
    Image.fromarray(np.repeat(grey[..., None], 3, axis=-1)).save(site / "slices" / "training0089.png")
    for k, folder in enumerate(real_images._MASK_FOLDERS.values()):
        mask = rng.integers(0, 256, (6, 8), dtype=np.uint8)
        bits |= (mask >= 128).astype(np.uint8) << np.uint8(k)
        (site / folder).mkdir()
        Image.fromarray(mask).save(site / folder / "training0089.png")
    (assets / "real").mkdir(parents=True)
    sums = (hashlib.sha256(array.tobytes()).hexdigest() for array in (grey, bits))
    listing = f"slice,file,image_pixels_sha256,label_bits_sha256\n0089,training0089.png,{','.join(sums)}\n"
    (assets / "real" / "small.csv").write_text(listing)
    monkeypatch.setattr(real_images.resources, "files", lambda name: assets)
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(_Quiet, directory=str(site)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/"
    server.shutdown()


def test_download_gives_images_and_bit_fields(published: str, tmp_path: Path) -> None:
    download("small", tmp_path / "small", published)
    with Image.open(tmp_path / "small" / "labels" / "0089.png") as picture:
        bits = np.array(picture)
    for k, folder in enumerate(real_images._MASK_FOLDERS.values()):
        with Image.open(tmp_path / "site" / folder / "training0089.png") as picture:
            np.testing.assert_array_equal((bits >> k) & 1, np.array(picture) >= 128)


def test_changed_file_is_refused_and_nothing_is_left(published: str, tmp_path: Path) -> None:
    file = tmp_path / "site" / "slices" / "training0089.png"
    Image.fromarray(np.zeros((6, 8), np.uint8)).save(file)
    with pytest.raises(ValueError, match=r"training0089\.png.*image_pixels"):
        download("small", tmp_path / "small", published)
    assert not (tmp_path / "small").exists()


def test_unknown_data_set_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="'nonsense'"):
        download("nonsense", tmp_path / "nonsense", "http://127.0.0.1:9/")


def test_without_data_and_network_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NEUROPIL_DATA", str(tmp_path / "absent"))
    monkeypatch.setattr(real_images.pooch, "os_cache", lambda name: tmp_path / "cache")
    monkeypatch.setattr(real_images, "EPFL_URL", "http://127.0.0.1:9/")
    said: list[str] = []
    assert find_real_images("epfl_ca1", "0089", said.append) is None
    assert len(said) == 1
    assert str(tmp_path / "absent") in said[0]
    assert "network" in said[0]


def test_slices_from_a_name_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NEUROPIL_DATA", str(tmp_path))
    for kind in ("images", "labels"):
        (tmp_path / "some" / kind).mkdir(parents=True)
    for name in ("0010", "0020", "0030"):
        Image.fromarray(np.full((2, 2), int(name), np.uint8)).save(tmp_path / "some" / "images" / f"{name}.png")
    for name in ("0010", "0030"):  # 0020 has no labels
        Image.fromarray(np.full((2, 2), 5, np.uint8)).save(tmp_path / "some" / "labels" / f"{name}.png")
    found = find_real_images("some", "0015", pytest.fail)
    assert found is not None
    assert found.names == ("0030",)
    assert found.image("0030").tolist() == [[30, 30], [30, 30]]
    assert found.bits("0030").tolist() == [[5, 5], [5, 5]]


def test_published_checksums_are_those_of_the_data_at_hand(real_data: Path) -> None:
    listing = Path(real_images.__file__).parents[1] / "assets" / "real" / "epfl_ca1.csv"
    images = find_real_images("epfl_ca1", "0089", pytest.fail)
    assert images is not None
    rows = [row.split(",") for row in listing.read_text().splitlines()[1:]]
    assert [row[0] for row in rows] == list(images.names)
    for name, _, image_sum, label_sum in rows[:2]:
        assert hashlib.sha256(images.image(name).tobytes()).hexdigest() == image_sum
        assert hashlib.sha256(images.bits(name).tobytes()).hexdigest() == label_sum


def test_named_folder_is_the_only_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NEUROPIL_DATA", str(tmp_path))
    assert data_folders() == [tmp_path]
    monkeypatch.delenv("NEUROPIL_DATA")
    assert [folder.name for folder in data_folders()] == ["data"]
