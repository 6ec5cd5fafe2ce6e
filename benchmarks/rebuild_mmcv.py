#!/usr/bin/env python3
"""Rebuild mmcv 2.2.0 for an RTX 5090 through `archfit upgrade`, on any machine, and say what came of it.

usage: python benchmarks/rebuild_mmcv.py FOLDER [--python 3.11] [--torch 2.4.1] [--gpu "RTX 5090"] [--driver 580.95.05]
                                         [--toolkit pypi|machine]

FOLDER/env is made: torch 2.4.1, torchvision, mmcv 2.2.0 and what it needs, a package that is installed in place, a console
script. Its `mmcv._ext` is a stand-in that links torch, since PyPI has no mmcv for any torch, and no compiler for CUDA 12.1:
what counts is that archfit sees an extension of the old torch. Then `archfit upgrade` is run, with the compiler from PyPI
even where the machine has one, unless told otherwise. Afterwards the real `_ext` is scanned, some operators are run on the
CPU, and the script is run; then all of it is rolled back, and the script is run again. Takes as long as mmcv does: minutes on
many cores, an hour and more on two.
"""

from __future__ import annotations

import argparse
import base64
import hashlib
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

from uv import find_uv_bin

STAND_IN = Path(__file__).parents[1] / "tests/data/libextension.so"
NEEDED = (
    "numpy<2",
    "mmengine==0.10.7",
    "opencv-python-headless<4.12",
    "addict",
    "pyyaml",
    "yapf",
    "packaging",
    "pillow",
    "setuptools<82",
)
ASK = """
import json, inspect, torch, mmcv, mmcv.ops, mmcv._ext as ext
boxes = torch.tensor([[0., 0., 10., 10.], [1., 1., 11., 11.], [20., 20., 30., 30.]])
scores = torch.tensor([.9, .8, .7])
kept = mmcv.ops.nms(boxes, scores, .5)[1].tolist()
overlaps = mmcv.ops.box_iou_rotated(torch.tensor([[5., 5., 10., 10., 0.]]), torch.tensor([[5., 10., 10., 10., 0.]])).item()
print(json.dumps({"torch": torch.__version__, "mmcv": mmcv.__version__, "file": ext.__file__,
    "bound": len([n for n in dir(ext) if not n.startswith("_")]), "operators": len(mmcv.ops.__all__),
    "nms": kept, "box_iou_rotated": round(overlaps, 4)}))
"""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--python", default="3.11")
    parser.add_argument("--torch", default="2.4.1")
    parser.add_argument("--gpu", action="append")
    parser.add_argument("--toolkit", choices=("pypi", "machine"), default="pypi")
    parser.add_argument("--driver", default="580.95.05")
    wish = parser.parse_args()
    folder = wish.folder.resolve()
    env = folder / "env"
    make_environment(folder, env, wish.python, wish.torch)
    print("before:", run_script(env), flush=True)
    archfit = [sys.executable, "-m", "archfit"]
    began = time.monotonic()
    gpus = [word for gpu in wish.gpu or ["RTX 5090"] for word in ("--gpu", gpu)]
    command = [*archfit, "upgrade", str(env), *gpus, "--driver", wish.driver, "--yes", "--level", "import"]
    done = subprocess.run(command, check=False, env={**os.environ, "ARCHFIT_TOOLKIT": wish.toolkit})
    if done.returncode != 0:
        return done.returncode
    print(f"archfit upgrade: {time.monotonic() - began:.0f} s")
    said = json.loads(ask(env, ASK).splitlines()[-1])
    print("imported:", json.dumps(said))
    subprocess.run([*archfit, "scan", said["file"]], check=True)
    print("after:", run_script(env))
    subprocess.run([*archfit, "rollback", str(env)], check=True)
    print("rolled back:", run_script(env))
    return 0


def make_environment(folder: Path, env: Path, python: str, torch: str) -> None:
    uv("venv", "--quiet", "--python", python, str(env))
    pip = ("pip", "install", "--quiet", "--python", str(env / "bin/python"))
    uv(*pip, f"torch=={torch}", "torchvision", *NEEDED)
    bounds = folder / "bounds.txt"
    bounds.write_text("setuptools<82\n", "utf-8")
    uv(*pip, "--no-deps", "--build-constraints", str(bounds), "mmcv==2.2.0")  # without torch: without _ext
    own = folder / "own"
    own.mkdir(exist_ok=True)
    (own / "own.py").write_text(
        "import torch\n\ndef main():\n    print('own script, torch', torch.__version__)\n", "utf-8"
    )
    (own / "pyproject.toml").write_text(
        '[project]\nname = "own"\nversion = "1.0"\n[project.scripts]\nown = "own:main"\n'
        '[tool.setuptools]\npy-modules = ["own"]\n'
        '[build-system]\nrequires = ["setuptools"]\nbuild-backend = "setuptools.build_meta"\n',
        "utf-8",
    )
    uv(*pip, "--no-deps", "--editable", str(own))
    site = next((env / "lib").glob("python*/site-packages"))
    add_stand_in(site, "mmcv/_ext.so")


def add_stand_in(site: Path, name: str) -> None:
    """As if mmcv had been compiled for the old torch: the file, and its line in the list of files."""
    shutil.copyfile(STAND_IN, site / name)
    digest = base64.urlsafe_b64encode(hashlib.sha256(STAND_IN.read_bytes()).digest()).rstrip(b"=").decode()
    record = next(site.glob("mmcv-*.dist-info/RECORD"))
    text = record.read_text("utf-8") + f"{name},sha256={digest},{STAND_IN.stat().st_size}\n"
    record.unlink()  # a hard link into uv's cache: never written into
    record.write_text(text, "utf-8")


def ask(env: Path, code: str) -> str:
    return subprocess.run([env / "bin/python", "-c", code], check=True, capture_output=True, text=True).stdout


def run_script(env: Path) -> str:
    return subprocess.run([env / "bin/own"], check=True, capture_output=True, text=True).stdout.strip()


def uv(*words: str) -> None:
    subprocess.run([find_uv_bin(), *words], check=True)


if __name__ == "__main__":
    sys.exit(main())
