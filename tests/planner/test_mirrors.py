"""Commands by way of a mirror: only what is documented, and never the wrong layout."""

from __future__ import annotations

import re

import pytest

from archfit import api
from archfit.catalog.mirrors import load_mirrors
from archfit.errors import UsageError
from archfit.model import Option, Plan, Text
from archfit.planner.mirrors import mirrored
from worlds import plan_of, torch, vision, world

ENV = world(torch(), vision(), release="580.65.06")
MIRRORS = load_mirrors()
INDEX = "https://download.pytorch.org/whl/cu128"


def commands(mirror: str, pip: str, uv: str, kind: str = "upgrade") -> tuple[str, str]:
    option = Option(kind, Text("none"), pip=(pip,), uv=(uv,))  # type: ignore[arg-type]
    found = mirrored(Plan(ENV, (option,), (), ()), MIRRORS[mirror]).options[0]
    return found.pip[0], found.uv[0]


FROM_INDEX = (
    f"/env/bin/python -m pip install torch==2.7.1 torchvision==0.22.1 --index-url {INDEX}",
    f"uv pip install --python /env/bin/python torch==2.7.1 torchvision==0.22.1 --index-url {INDEX}",
)
FROM_PYPI = ("/env/bin/python -m pip install torch==2.8.0", "uv pip install --python /env/bin/python torch==2.8.0")


@pytest.mark.parametrize(
    ("mirror", "pip", "uv"),
    [
        (
            "aliyun",
            "-f https://mirrors.aliyun.com/pytorch-wheels/cu128/ --index-url https://mirrors.aliyun.com/pypi/simple/",
            "--find-links https://mirrors.aliyun.com/pytorch-wheels/cu128/ --index-url https://mirrors.aliyun.com/pypi/simple/",
        ),
        (
            "nju",
            "--index-url https://mirrors.nju.edu.cn/pytorch/whl/cu128 --extra-index-url https://mirror.nju.edu.cn/pypi/web/simple",
            "--index https://mirrors.nju.edu.cn/pytorch/whl/cu128 --default-index https://mirror.nju.edu.cn/pypi/web/simple",
        ),
        (
            "sjtu",
            "--index-url https://mirror.sjtu.edu.cn/pytorch-wheels/cu128 "
            "--extra-index-url https://mirror.sjtu.edu.cn/pypi/web/simple",
            "--index https://mirror.sjtu.edu.cn/pytorch-wheels/cu128 --default-index https://mirror.sjtu.edu.cn/pypi/web/simple",
        ),
        (
            "pytorch-r2",
            "--index-url https://download-r2.pytorch.org/whl/cu128",
            "--index https://download-r2.pytorch.org/whl/cu128",
        ),
    ],
)
def test_builds_of_the_pytorch_index(mirror: str, pip: str, uv: str) -> None:
    specs = "torch==2.7.1+cu128 torchvision==0.22.1+cu128"
    assert commands(mirror, *FROM_INDEX) == (
        f"/env/bin/python -m pip install {specs} {pip}",
        f"uv pip install --python /env/bin/python {specs} {uv}",
    )


def test_a_flat_folder_is_never_passed_as_an_index() -> None:
    for row in (row for row in MIRRORS.values() if row.layout == "links"):
        for command in commands(row.name, *FROM_INDEX):
            assert re.search(rf"--(index-url|index|extra-index-url) {re.escape(row.torch)}", command) is None


def test_builds_of_pypi_come_from_the_mirror_of_pypi() -> None:
    pip, uv = commands("tuna", *FROM_PYPI)
    assert pip == f"{FROM_PYPI[0]} --index-url https://pypi.tuna.tsinghua.edu.cn/simple"
    assert uv == f"{FROM_PYPI[1]} --index-url https://pypi.tuna.tsinghua.edu.cn/simple"


@pytest.mark.parametrize(("mirror", "same"), [("tuna", FROM_INDEX), ("pytorch-r2", FROM_PYPI)])
def test_what_a_mirror_does_not_have_stays_official(mirror: str, same: tuple[str, str]) -> None:
    assert commands(mirror, *same) == same


def test_nightlies_stay_official() -> None:
    assert commands("nju", *FROM_INDEX, kind="nightly") == FROM_INDEX


def test_a_plan_says_that_nobody_tried_the_mirror() -> None:
    keys = [text.key for text in api.through_mirror(plan_of(ENV), "aliyun").notices]
    assert keys[-2:] == ["mirror-untried", "mirror-archfit"]


def test_every_row_has_a_source_and_something_to_offer() -> None:
    for row in MIRRORS.values():
        assert row.source
        assert row.pypi or row.torch
        assert bool(row.torch) == bool(row.layout)


def test_an_unknown_mirror_is_said() -> None:
    with pytest.raises(UsageError, match="mirror-unknown"):
        api.through_mirror(plan_of(ENV), "nobody")
