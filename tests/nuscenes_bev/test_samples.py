"""Labels and decoded images. What is drawn from them and fed to a network: tests/lss_swin/test_data.py."""

from __future__ import annotations

from pathlib import Path

import pytest

np = pytest.importorskip("numpy")
pytest.importorskip("PIL")

from PIL import Image

from nuscenes_bev.errors import UsageError
from nuscenes_bev.frames import load_frames
from nuscenes_bev.samples import labels, load_image, raster

pytestmark = pytest.mark.torch

GRID = ((-50.0, 50.0, 0.5), (-50.0, 50.0, 0.5))


def test_a_box_covers_its_cells_and_their_edges() -> None:
    """Corners are rounded to cells and painted: 2 m x 1 m become 5 x 3 cells, as with OpenCV."""
    found = raster(np.array([[[0, 0], [2, 0], [2, 1], [0, 1.0]]]), GRID)

    assert found.sum() == 15
    assert found[100:105, 100:103].all()


def test_what_lies_outside_is_cut() -> None:
    assert raster(np.array([[[-60, -60], [-49, -60], [-49, -49], [-60, -49.0]]]), GRID).sum() == 9
    assert raster(np.zeros((0, 4, 2)), GRID).sum() == 0


def test_hidden_vehicles_are_labelled_and_not_valid(synthetic_root: Path) -> None:
    frames = load_frames(synthetic_root)
    number = next(i for i in range(20) if (frames.visibility[slice(*frames.offsets[i : i + 2])] == 1).any())
    label, valid = labels(frames, number, GRID, np.eye(4))

    assert label[valid == 0].all()
    assert 0 < (valid == 0).sum() < valid.size / 10


def test_large_images_are_shrunk_by_the_decoder(tmp_path: Path) -> None:
    Image.new("RGB", (1600, 900), (10, 200, 30)).save(tmp_path / "x.jpg")
    image, original = load_image(str(tmp_path / "x.jpg"), 704)

    assert (image.shape, original) == ((450, 800, 3), (900, 1600))


@pytest.mark.parametrize("content", [None, b"\xff\xd8\xff\xe0 no picture"])
def test_an_image_that_cannot_be_read_is_named(tmp_path: Path, content: bytes | None) -> None:
    if content:
        (tmp_path / "x.jpg").write_bytes(content)
    with pytest.raises(UsageError, match=r"x\.jpg"):
        load_image(str(tmp_path / "x.jpg"), 704)
