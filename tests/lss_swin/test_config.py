"""Configurations and options; nothing here needs torch."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from lss_swin.config import load_config
from nuscenes_bev.errors import UsageError

ROOT = Path(__file__).parents[2]
BASELINE = "configs/baseline/lss_swin_nuscenes.py"
TINY = "configs/baseline/lss_swin_tiny.py"


def test_an_option_changes_a_value() -> None:
    config = load_config(
        BASELINE, ["total_iters=10", "data.batch_size=2", "model.swin.window=8", "data.root=/data/nuscenes"]
    )

    assert (config["total_iters"], config["data"]["batch_size"], config["model"]["swin"]["window"]) == (10, 2, 8)
    assert config["data"]["root"] == "/data/nuscenes"


def test_a_base_is_changed_only_where_the_file_says_so() -> None:
    base, tiny = load_config(BASELINE), load_config(TINY)

    assert tiny["model"]["swin"]["dim"] == 48
    assert tiny["model"]["swin"]["heads"] == base["model"]["swin"]["heads"]
    assert tiny["grid"]["z"] == base["grid"]["z"]


@pytest.mark.parametrize(
    ("option", "words"),
    [
        ("totl_iters=10", ("unknown key 'totl_iters'", "known:", "total_iters")),
        ("data.batchsize=2", ("unknown key 'data.batchsize'", "data.batch_size")),
        ("dat.batch_size=2", ("unknown key 'dat.batch_size'", "data.batch_size")),
        ("seed.x=2", ("unknown key 'seed.x'", "known:")),
        ("data={'batchsize': 2}", ("unknown key 'data'", "data.batch_size")),
        ("total_iters", ("KEY=VALUE",)),
        ("seed=ten", ("seed is 0", "type int")),
        ("compile=1", ("compile is False", "type bool")),
        ("total_iters=ten", ("total_iters is None", "type int")),
        ("data.root=5", ("data.root is None", "type str")),
        ("data.batch_size=None", ("data.batch_size is 8", "type int")),
        ("image_size=None", ("image_size is (256, 704)", "type tuple")),
        ("image_size=(256,)", ("image_size is (256, 704)", "2 values")),
        ("grid.x=(-50, 'far', 0.5)", ("grid.x is 50.0", "type float")),
    ],
)
def test_a_wrong_option_is_one_sentence(option: str, words: tuple[str, ...]) -> None:
    with pytest.raises(UsageError) as caught:
        load_config(BASELINE, [option])

    assert all(word in str(caught.value) for word in words)
    assert "\n" not in str(caught.value)


def test_whole_numbers_do_for_fractions_and_lists_for_tuples() -> None:
    config = load_config(BASELINE, ["pos_weight=2", "image_size=[128, 352]", "deterministic=true"])

    assert config["pos_weight"] == 2.0
    assert config["image_size"] == (128, 352)
    assert config["deterministic"] is True


def test_only_what_may_be_none_becomes_none_again() -> None:
    config = load_config(TINY, ["total_iters=None", "data.workers=none", "data.root=/data", "data.root=None"])

    assert (config["total_iters"], config["data"]["workers"], config["data"]["root"]) == (None, None, None)


@pytest.mark.parametrize(("name", "word"), [("nowhere.py", "lss_swin_nuscenes.py"), ("broken.py", "SyntaxError")])
def test_a_file_that_cannot_be_read_is_one_sentence(tmp_path: Path, name: str, word: str) -> None:
    (tmp_path / "broken.py").write_text("total_iters = = 3")

    with pytest.raises(UsageError, match=word):
        load_config(str(tmp_path / name))


def test_the_baseline_is_found_from_any_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)

    assert load_config(BASELINE)["epochs"] == 24


FILES = [
    path for name in ("lss_swin", "bev_ops", "nuscenes_bev") for path in sorted((ROOT / "src" / name).rglob("*.py"))
]


@pytest.mark.parametrize("path", FILES, ids=lambda p: p.name)
def test_every_file_has_the_syntax_of_python_3_9(path: Path) -> None:
    assert isinstance(ast.parse(path.read_text("utf-8"), feature_version=(3, 9)), ast.Module)
