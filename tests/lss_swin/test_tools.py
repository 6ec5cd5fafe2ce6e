"""tools/train.py, test.py and visualize.py as a person runs them."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")

from PIL import Image

from bev_ops.backend import TritonError
from lss_swin.command import guarded
from lss_swin.runtime import as_json, pick_device
from nuscenes_bev.errors import UsageError

pytestmark = pytest.mark.torch

ROOT = Path(__file__).parents[2]
TINY = "configs/baseline/lss_swin_tiny.py"
BASELINE = "configs/baseline/lss_swin_nuscenes.py"
SMALL = (
    "total_iters=4",
    "precision=fp32",
    "val.max_frames=2",
    "model.swin.dim=16",
    "model.swin.heads=(1,1,1,1)",
    "log_every=1",
)
NO_GPU = {"CUDA_VISIBLE_DEVICES": ""}

Tool = Callable[..., "subprocess.CompletedProcess[str]"]


def summary(folder: Path) -> dict:
    return json.loads((folder / "summary.json").read_text())


@pytest.fixture(scope="module")
def trained(tool: Tool, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "whole"
    options = (*SMALL, "val.every=3", "val.threshold=0.1")  # validated on the way, too, with another result
    run = tool("train", TINY, "--work-dir", folder, "--device", "cpu", "--cfg-options", *options)
    assert run.returncode == 0, run.stderr
    return folder


def test_the_tiny_run_trains_validates_and_says_so(tool: Tool, tmp_path: Path) -> None:
    run = tool("train", TINY, "--work-dir", tmp_path, "--device", "cpu")
    found = summary(tmp_path)

    assert run.returncode == 0, run.stderr
    assert found["schema"] == "lss_swin.summary/1"
    assert found["device"] == {"type": "cpu", "name": found["device"]["name"], "compute_capability": None}
    assert found["torch"]["version"] == torch.__version__
    assert {"python", "numpy", "triton"} <= found["versions"].keys()
    assert (found["splat"]["backend"], found["splat"]["why"]) == ("torch", "the device is cpu")
    assert found["splat"]["error_vs_reference"] < 1e-4
    assert found["data"]["source"] == "synthetic"
    assert Path(found["data"]["path"]).is_dir()
    assert (found["iterations"], len(found["losses"]), found["val_frames"]) == (10, 10, 4)
    assert sum(found["losses"][-3:]) < sum(found["losses"][:3])
    assert 0 <= found["val_iou"] <= 1
    assert found["samples_per_second"] > 0
    assert found["peak_memory_bytes"] > 2**20
    assert found["seconds"] > 0
    assert found["git_revision"] is None or len(found["git_revision"].removesuffix("-dirty")) == 40
    assert "SYNTHETIC" in run.stderr
    assert "Traceback" not in run.stderr


def test_the_same_seed_gives_the_same_losses_and_another_does_not(tool: Tool, trained: Path, tmp_path: Path) -> None:
    for name, seed in (("same", 0), ("other", 1)):
        words = ("--work-dir", tmp_path / name, "--device", "cpu", "--seed", seed, "--cfg-options", *SMALL)
        assert tool("train", TINY, *words).returncode == 0

    assert summary(tmp_path / "same")["losses"] == summary(trained)["losses"]
    assert summary(tmp_path / "other")["losses"] != summary(trained)["losses"]


def test_resumed_is_uninterrupted(tool: Tool, trained: Path, tmp_path: Path) -> None:
    """A checkpoint of the middle, and the rest from there in a process of its own."""
    words = ("--work-dir", tmp_path, "--device", "cpu", "--cfg-options", *SMALL, "checkpoint.every=2")
    assert tool("train", TINY, *words).returncode == 0
    (tmp_path / "iter_00000004.pth").unlink()

    run = tool("train", TINY, "--resume", *words)

    assert "at iteration 2" in run.stderr
    assert summary(tmp_path)["losses"] == summary(trained)["losses"]
    one, other = (torch.load(p / "iter_00000004.pth", weights_only=True)["model"] for p in (trained, tmp_path))
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_two_processes_are_one_with_twice_the_batch(tool: Tool, tmp_path: Path) -> None:
    """Up to the norm layers, which see half a batch each: so with group normalisation here."""
    options = (*SMALL, "model.norm=group", "model.swin.drop_path=0.0", "total_iters=3")
    with socket.create_server(("127.0.0.1", 0)) as free:  # a port that nobody else uses
        port = str(free.getsockname()[1])
    torchrun = ("-m", "torch.distributed.run", "--nproc-per-node", "2", "--master-port", port)
    two = ("--work-dir", tmp_path / "two", "--device", "cpu", "--cfg-options", *options, "data.batch_size=1")
    run = tool("train", TINY, *two, start=torchrun)
    assert run.returncode == 0, run.stderr
    one = ("--work-dir", tmp_path / "one", "--device", "cpu", "--cfg-options", *options, "data.batch_size=2")
    assert tool("train", TINY, *one).returncode == 0

    assert summary(tmp_path / "two")["world_size"] == 2
    assert summary(tmp_path / "two")["losses"] == pytest.approx(summary(tmp_path / "one")["losses"], rel=1e-4)
    assert summary(tmp_path / "two")["val_frames"] == summary(tmp_path / "one")["val_frames"] == 2


class TestWhatCannotBe:
    def test_a_gpu_that_is_not_there_is_no_silent_fall_back(self, tool: Tool, tmp_path: Path) -> None:
        run = tool(
            "train", BASELINE, "--work-dir", tmp_path, "--gpu-ids", 0, "--cfg-options", "total_iters=10", **NO_GPU
        )

        assert run.returncode == 4
        assert "GPU 0 cannot be used: torch" in run.stderr
        assert "--device cpu" in run.stderr
        assert "archfit" in run.stderr  # its diagnosis, or how to get it
        assert not (tmp_path / "summary.json").exists()

    def test_the_doctor_s_diagnosis_is_shown_where_there_is_one(self, tool: Tool, tmp_path: Path) -> None:
        doctor = tmp_path / "archfit"
        doctor.write_text('#!/bin/sh\necho "diagnosis of $2"; exit 4\n')
        doctor.chmod(0o755)

        run = tool("train", BASELINE, "--work-dir", tmp_path / "w", **NO_GPU, ARCHFIT_PROGRAM=str(doctor))

        assert run.returncode == 4
        assert f"diagnosis of {sys.executable}" in run.stderr

    @pytest.mark.parametrize(
        ("words", "says"),
        [
            (("--cfg-options", "totl_iters=10"), "unknown key 'totl_iters'"),
            (("--cfg-options", "total_iters=0"), "total_iters"),
            (("--cfg-options", "image_size=(100, 352)"), "multiples of 32"),
            (("--cfg-options", "grid.x=(-50.0, 50.0, 0.7)"), "whole number of cells"),
            (("--cfg-options", "grid.x=(-50.0, 50.0, 0.0)"), "whole number of cells"),
            (("--cfg-options", "depth=(1.0, 49.0, 0.0)"), "holds no bin"),
            (("--cfg-options", "model.swin.heads=(5, 6, 12, 24)"), "5 heads cannot share 48 channels"),
            (("--cfg-options", "data.workers=-1"), "data.workers is -1; it must be at least 0"),
            (("--cfg-options", "optimizer.lr_batch=0"), "optimizer.lr_batch is 0; it must be at least 1"),
            (("--cfg-options", "data.root=/nowhere"), "/nowhere holds no nuScenes tables"),
            (("--cfg-options", "splat_backend=cuda"), "splat_backend"),
            (("--cfg-options", "model.pretrained=/nowhere.pth"), "/nowhere.pth"),
            (("--seed", "-1"), "seed"),
            (("--resume",), "holds no checkpoint"),
            (("--resume", "/nowhere.pth"), "cannot read checkpoint /nowhere.pth: No such file or directory"),
            (("--resume", str(ROOT / TINY)), "lss_swin_tiny.py: damaged, or no checkpoint"),
        ],
    )
    def test_is_one_sentence_and_exit_code_2(
        self, tool: Tool, tmp_path: Path, words: tuple[str, ...], says: str
    ) -> None:
        run = tool("train", TINY, "--work-dir", tmp_path, "--device", "cpu", *words)

        assert run.returncode == 2
        assert says in run.stderr
        assert "Traceback" not in run.stderr

    def test_a_gpu_below_0_is_one_sentence(self) -> None:
        with pytest.raises(UsageError, match="numbered from 0"):
            pick_device([-1], None)

    def test_a_missing_image_is_named_by_a_worker_too(self, tool: Tool, synthetic_root: Path, tmp_path: Path) -> None:
        shutil.copytree(synthetic_root, tmp_path / "set")
        for image in (tmp_path / "set" / "samples" / "CAM_BACK").iterdir():
            image.unlink()
        options = (*SMALL, f"data.root={tmp_path / 'set'}", "data.workers=1")
        run = tool("train", TINY, "--work-dir", tmp_path / "w", "--device", "cpu", "--cfg-options", *options)

        assert run.returncode == 2
        assert re.search(
            r"^error: cannot read image \S+CAM_BACK\S+: .*is the data set complete\?$", run.stderr, re.MULTILINE
        )
        assert "Traceback" not in run.stderr

    def test_a_loss_that_is_not_a_number_ends_the_run(self, tool: Tool, tmp_path: Path) -> None:
        run = tool(
            "train", TINY, "--work-dir", tmp_path, "--device", "cpu", "--cfg-options", *SMALL, "pos_weight=1e999"
        )

        assert run.returncode == 1
        assert re.search(r"the loss is (nan|inf) at iteration 1\b", run.stderr)
        assert not (tmp_path / "summary.json").exists()


def test_triton_that_is_demanded_and_fails_is_one_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    @guarded
    def command(arguments: list[str] | None) -> None:
        raise TritonError("Triton was asked for, but it is not here")

    assert command([]) == 1
    assert capsys.readouterr().err == "error: Triton was asked for, but it is not here\n"


def test_what_json_has_no_number_for_is_null() -> None:
    assert json.loads(as_json({"a": [float("nan"), 1.5], "b": float("inf")})) == {"a": [None, 1.5], "b": None}


def test_ctrl_c_keeps_a_checkpoint_that_goes_on(tool: Tool, cache: Path, tmp_path: Path) -> None:
    script = str(ROOT / "tools" / "train.py")
    command = [
        sys.executable,
        script,
        TINY,
        "--work-dir",
        str(tmp_path),
        "--device",
        "cpu",
        "--cfg-options",
        *SMALL,
        "total_iters=500",
    ]
    env = {**os.environ, "XDG_CACHE_HOME": str(cache)}
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=env, cwd=ROOT) as process:
        assert process.stderr is not None
        for line in process.stderr:
            if line.startswith("iter 2/"):
                process.send_signal(signal.SIGINT)
                break
        rest = process.stderr.read()
        assert process.wait(timeout=60) == 130
    kept = sorted(tmp_path.glob("iter_*.pth"))

    assert "--resume" in rest
    assert "Traceback" not in rest
    assert len(kept) == 1
    assert torch.load(kept[0], weights_only=True)["step"] >= 2


class TestAfterwards:
    def test_the_evaluation_of_a_checkpoint_is_that_of_its_training(self, tool: Tool, trained: Path) -> None:
        run = tool("test", trained, "--device", "cpu")
        found = json.loads(run.stdout)

        assert (found["source"], found["split"], found["frames"]) == ("synthetic", "val", 2)
        assert found["iou"] == summary(trained)["val_iou"] > 0

    def test_pictures_are_drawn(self, tool: Tool, trained: Path, tmp_path: Path) -> None:
        run = tool("visualize", trained, "--out", tmp_path, "--frames", 2, "--device", "cpu")
        paths = [Path(line) for line in run.stdout.split()]

        assert len(paths) == 2
        for path in paths:
            image = Image.open(path).convert("RGB")
            assert image.width == 1440
            assert len(image.getcolors(2**24)) > 1000

    def test_options_without_sense_are_one_sentence_here_too(self, tool: Tool, trained: Path) -> None:
        run = tool("test", trained, "--device", "cpu", "--cfg-options", "data.batch_size=0")

        assert (run.returncode, run.stderr) == (2, "error: data.batch_size is 0; it must be at least 1\n")

    @pytest.mark.parametrize("name", ["test", "visualize"])
    def test_a_file_that_is_no_checkpoint_is_named(self, tool: Tool, tmp_path: Path, name: str) -> None:
        (tmp_path / "x.pth").write_bytes(b"no checkpoint")
        run = tool(name, tmp_path / "x.pth", "--device", "cpu", *(("--out", tmp_path) if name == "visualize" else ()))

        assert run.returncode == 2
        assert "x.pth" in run.stderr
        assert "Traceback" not in run.stderr


@pytest.mark.parametrize(
    "start", [("-m", "lss_swin", "train"), ("-m", "lss_swin.train"), (str(ROOT / "src" / "lss_swin"), "train")]
)
def test_other_ways_to_start(start: tuple[str, ...]) -> None:
    env = {**os.environ, "PYTHONPATH": "" if "/" in start[0] else str(ROOT / "src")}
    run = subprocess.run(
        [sys.executable, *start, "--help"], capture_output=True, text=True, env=env, check=False, cwd="/"
    )

    assert run.returncode == 0
    assert "--cfg-options" in run.stdout


@pytest.mark.parametrize(("own", "expected"), [({}, "passive"), ({"OMP_WAIT_POLICY": "active"}, "active")])
def test_threads_wait_asleep_unless_told_otherwise(own: dict[str, str], expected: str) -> None:
    asked = "import lss_swin, os, sys; print(os.environ['OMP_WAIT_POLICY'], 'torch' in sys.modules)"
    env = {k: v for k, v in os.environ.items() if k != "OMP_WAIT_POLICY"} | {"PYTHONPATH": str(ROOT / "src")} | own
    done = subprocess.run([sys.executable, "-c", asked], env=env, capture_output=True, text=True, check=True)
    assert done.stdout.split() == [expected, "False"]  # it is read when torch is loaded
