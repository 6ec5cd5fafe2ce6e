"""Each change is found where it is needed, and nowhere else: one row has code that must be found and code that must not."""

from __future__ import annotations

import ast

import pytest

from archfit.catalog.changes import changes_between, load_changes
from archfit.sources.match import match_module

CASES: dict[str, tuple[list[str], list[str]]] = {
    "torch-load": (
        ["import torch\ntorch.load(f)", "from torch import load as read\nread(f, map_location='cpu')", "import torch as T\nT.load(f)"],
        [
            "import torch\ntorch.load(f, weights_only=False)",
            "import torch\ntorch.load(f, **options)",
            "import json\njson.load(f)",
            "import torch\n# torch.load(f)\n'torch.load(f)'",
            "import torch\nself.torch.load(f)",
            "torch.load(f)",  # a name that nobody imported
            "import torch\nload = torch.load",  # not called here
        ],
    ),
    "torch-cuda-amp": (
        ["from torch.cuda.amp import autocast", "import torch\nwith torch.cuda.amp.autocast():\n    pass", "from torch.cuda import amp\namp.GradScaler()"],
        ["from torch.amp import autocast", "import torch\ntorch.autocast('cuda')", "import torch\ntorch.cuda.amp"],
    ),
    "torch-six": (["from torch._six import string_classes", "import torch._six", "from torch import _six"], ["import six"]),
    "torch-symeig": (["import torch\ntorch.symeig(a)"], ["import torch\ntorch.linalg.eigh(a)"]),
    "torch-linalg-removed": (["import torch\ntorch.solve(b, a)"], ["import torch\ntorch.linalg.solve(a, b)"]),
    "torch-local-rank": (
        ["import argparse\np.add_argument('--local_rank', type=int)"],
        ["p.add_argument('--local-rank', '--local_rank')", "print('--local_rank')", "p.add_argument('--rank')"],
    ),
    "torch-scheduler-verbose": (
        ["from torch.optim.lr_scheduler import StepLR\nStepLR(o, 1, verbose=True)", "from torch.optim import lr_scheduler\nlr_scheduler.StepLR(o, 1, verbose=False)"],
        ["from torch.optim.lr_scheduler import StepLR\nStepLR(o, 1)", "print(verbose=True)"],
    ),
    "torch-checkpoint-reentrant": (
        ["from torch.utils.checkpoint import checkpoint\ncheckpoint(f, x)", "import torch.utils.checkpoint as cp\ncp.checkpoint(f, x)"],
        ["from torch.utils.checkpoint import checkpoint\ncheckpoint(f, x, use_reentrant=False)"],
    ),
    "torch-onnx-dynamo": (["import torch\ntorch.onnx.export(m, a, f)"], ["import torch\ntorch.onnx.export(m, a, f, dynamo=False)"]),
    "torch-jit": (["import torch\n@torch.jit.script\ndef f(x):\n    return x"], ["import torch\ntorch.jit.load(f)"]),
    "torch-tf32": (["import torch\ntorch.backends.cuda.matmul.allow_tf32 = True"], ["import torch\ntorch.backends.cudnn.benchmark = True"]),
    "torch-weight-norm": (["from torch.nn.utils import weight_norm"], ["from torch.nn.utils.parametrizations import weight_norm"]),
    "torch-default-tensor-type": (["import torch\ntorch.set_default_tensor_type(t)"], ["import torch\ntorch.set_default_dtype(t)"]),
    "torch-sdp-kernel": (["import torch\nwith torch.backends.cuda.sdp_kernel():\n    pass"], ["from torch.nn.attention import sdpa_kernel"]),
    "torch-meshgrid": (["import torch\ntorch.meshgrid(a, b)"], ["import torch\ntorch.meshgrid(a, b, indexing='ij')", "import numpy as np\nnp.meshgrid(a)"]),
    "torch-pipeline": (["from torch.distributed.pipeline.sync import Pipe"], ["import torch.distributed.pipelining"]),
    "torch-testing-legacy": (["from torch.testing._legacy import x"], ["from torch.testing import assert_close"]),
    "cxx17": (["flags = ['-std=c++14']", "args = {'nvcc': ['-O3', '-std=c++11']}"], ["flags = ['-std=c++17']", "'''docs of -std=c++14'''", "# -std=c++14"]),
    "cxx20": (["flags = ['-std=c++17']"], ["flags = ['-std=c++20']"]),
    "torchvision-functional-tensor": (
        ["from torchvision.transforms.functional_tensor import rgb_to_grayscale"],
        ["from torchvision.transforms.functional import rgb_to_grayscale"],
    ),
    "torchaudio-removed": (["import torchaudio\ntorchaudio.info(f)", "from torchaudio.io import StreamReader"], ["import torchaudio\ntorchaudio.load(f)"]),
    "torchaudio-torchcodec": (["import torchaudio\ntorchaudio.load(f)"], ["import torchaudio\ntorchaudio.transforms.Resample()"]),
    "numpy-aliases": (["import numpy as np\nx = np.int", "import numpy\nnumpy.float(1)"], ["import numpy as np\nnp.int64\nint(1)\nnp.float32"]),
    "numpy-2-names": (["import numpy as np\nnp.float_(1)\n", "from numpy import NaN"], ["import numpy as np\nnp.nan\nnp.float64"]),
    "pkg-resources": (["import pkg_resources", "from pkg_resources import parse_version"], ["import importlib.resources"]),
}  # fmt: skip


def found(change_id: str, code: str) -> list[int]:
    change = next(row for row in load_changes() if row.id == change_id)
    return sorted({line for _, line in match_module(ast.parse(code), [change])})


def test_every_change_has_both_kinds_of_code() -> None:
    assert CASES.keys() == {row.id for row in load_changes()}


@pytest.mark.parametrize("change", CASES)
def test_code_that_needs_it_is_found(change: str) -> None:
    assert [code for code in CASES[change][0] if not found(change, code)] == []


@pytest.mark.parametrize("change", CASES)
def test_code_that_does_not_need_it_is_left_alone(change: str) -> None:
    assert [code for code in CASES[change][1] if found(change, code)] == []


def test_the_line_is_that_of_the_use() -> None:
    code = "import torch\n\n\nmodel = build(\n    torch.load(path),\n)\n"
    assert found("torch-load", code) == [5]


def test_a_dotted_name_counts_once() -> None:
    change = next(row for row in load_changes() if row.id == "torch-tf32")
    tree = ast.parse("import torch\ntorch.backends.cudnn.allow_tf32 = True")
    assert len(list(match_module(tree, [change]))) == 1


class TestLaws:
    @pytest.mark.parametrize("row", load_changes(), ids=lambda row: row.id)
    def test_a_row_is_whole(self, row: object) -> None:
        change = row
        assert change.source and change.read.startswith("20")  # type: ignore[attr-defined]
        assert bool(change.pattern) == (change.kind == "text")  # type: ignore[attr-defined]
        assert bool(change.names) == (change.kind != "text")  # type: ignore[attr-defined]

    def test_ids_are_unique(self) -> None:
        ids = [row.id for row in load_changes()]
        assert len(ids) == len(set(ids))


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        ("2.4.1", "2.5.1", False),
        ("2.4.1", "2.6.0", True),
        ("2.5.1", "2.8.0", True),
        ("2.6.0", "2.8.0", False),
        ("2.8.0", "2.4.1", False),
        (None, "2.8.0", True),
        (None, "2.5.1", False),
        ("2.6.0.dev20241112", "2.8.0", False),
    ],
)
def test_a_jump_brings_what_lies_between(before: str | None, after: str, expected: bool) -> None:
    ids = {row.id for row in changes_between({"torch": (before, after)})}
    assert ("torch-load" in ids) is expected
