"""The generated set: valid tables, boxes on what was drawn, the same bytes for the same seed, all or nothing."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

np = pytest.importorskip("numpy")
pytest.importorskip("PIL")

from PIL import Image

from nuscenes_bev import synthetic
from nuscenes_bev.errors import UsageError
from nuscenes_bev.frames import VALIDATION, Frames, load_frames
from nuscenes_bev.geometry import project

pytestmark = pytest.mark.torch

Table = Callable[[str], list[dict]]


@pytest.fixture(scope="module")
def frames(synthetic_root: Path) -> Frames:
    return load_frames(synthetic_root)


def test_every_key_leads_to_a_row(synthetic_root: Path, table: Table) -> None:
    names = [p.stem for p in (synthetic_root / "v1.0-mini").glob("*.json")]
    tokens = {name: {row["token"] for row in table(name)} for name in names}
    for name in names:
        for row in table(name):
            for key, value in row.items():
                target = key.removesuffix("_token").removeprefix("first_").removeprefix("last_")
                target = {"annotation": "sample_annotation"}.get(target, target)
                if key.endswith("_token") and target in tokens:
                    assert value in tokens[target], (name, key)


@pytest.mark.parametrize("name", ["sample", "sample_data", "sample_annotation"])
def test_chains_agree(table: Table, name: str) -> None:
    rows = {row["token"]: row for row in table(name)}
    for token, row in rows.items():
        assert not row["next"] or rows[row["next"]]["prev"] == token
        assert not row["prev"] or rows[row["prev"]]["next"] == token


def test_visibility_is_between_hidden_and_seen(frames: Frames) -> None:
    assert {1, 4} <= set(frames.visibility.tolist()) <= {1, 2, 3, 4}


def test_boxes_lie_on_what_was_drawn(frames: Frames) -> None:
    """Inside the outline of a well visible car near by, the picture is one of the two or three shades of its sides."""
    checked = 0
    for number in range(len(frames.tokens)):
        mine = slice(*frames.offsets[number : number + 2])
        for box, visibility in zip(frames.boxes[mine], frames.visibility[mine], strict=True):
            for camera in range(6):
                pixel, depth = project(box[:3], frames.ego_T_cam[number, camera], frames.intrinsics[number, camera])
                if visibility == 4 and 4 < depth < 15 and 20 < pixel[0] < 330 and 20 < pixel[1] < 180:
                    image = np.asarray(Image.open(frames.root / frames.files[number, camera]), float)
                    x, y = pixel.astype(int)
                    around = image[y - 2 : y + 3, x - 2 : x + 3].reshape(-1, 3)
                    assert around.std(0).max() < 40
                    checked += 1
    assert checked > 5


def test_the_same_seed_gives_the_same_bytes(tmp_path: Path) -> None:
    options = synthetic.Options(1, 1, 64, 36, seed=3)
    for name in ("a", "b"):
        synthetic.generate(tmp_path / name, options, workers=1)
    files = [p.relative_to(tmp_path / "a") for p in sorted((tmp_path / "a").rglob("*")) if p.is_file()]

    assert len(files) == 7 + 13 + 2
    assert all((tmp_path / "a" / f).read_bytes() == (tmp_path / "b" / f).read_bytes() for f in files)


def test_more_than_ten_scenes_are_named_as_in_trainval() -> None:
    options = synthetic.Options(scenes=20)
    names = options.scene_names()
    held_out = VALIDATION["v1.0-trainval"]

    assert (options.version, len(set(names))) == ("v1.0-trainval", 20)
    assert [name in held_out for name in names] == [i % 5 == 4 for i in range(20)]


@pytest.mark.parametrize("options", [{"scenes": 0}, {"frames": 0}, {"width": 8}, {"scenes": 701}])
def test_what_cannot_be_generated_is_refused(tmp_path: Path, options: dict[str, int]) -> None:
    with pytest.raises(UsageError):
        synthetic.generate(tmp_path / "x", synthetic.Options(**options))
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_is_there_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    with pytest.raises(UsageError, match="is there already"):
        synthetic.generate(tmp_path / "mine", synthetic.Options())


def test_a_crash_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nuscenes_bev.synthetic.dataset.render_scene", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        synthetic.generate(tmp_path / "set", synthetic.Options(1, 1, 64, 36), workers=1)
    assert list(tmp_path.iterdir()) == []
