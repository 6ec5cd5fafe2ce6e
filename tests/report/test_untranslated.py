"""Nothing is half translated: what every command prints in Chinese has no English but names, terms and what was quoted."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest
from test_goldens import DRAWINGS, drawn

from archfit.cli import COMMANDS, app, run
from archfit.cli.manuals import command_paths
from archfit.report.messages import Messages

ROOT = Path(__file__).parents[2]
GOLDEN = Path(__file__).parent / "golden"

# Names, ids and terms that stay as they are in Chinese text: docs/terms.md, ids of JSON, names of products and files.
TERMS = frozenset(
    """
    torch torchvision torchaudio PyTorch Python CUDA GPU CPU NVIDIA AMD ROCm Triton GeForce Tesla Quadro SASS PTX
    ptxas nvcc cubin fatbin wheel wheels sdist conda pip uv pipx archfit doctor plan upgrade rollback history verify
    explain scan audit demo run matrix fleet merge diff clean schema completion native compatible jit partial none
    nightly rebuild driver cpu install static import kernels train nearest latest JSON Schema Markdown HTML SVG PNG
    SARIF bash zsh fish shell README TARGET STATE SUBJECTS LOG COMMAND NAME SHELL PACKAGES REPORTS OLD NEW FILE GPUS
    issue rank Ti RTX GTX Jetson Xid ECC NVML mmcv tensorflow flash attn Docker docker container locale stdout stderr
    kernel build error warning Blackwell Hopper RuntimeError ImportError ModuleNotFoundError PATH LANG MESSAGES NO
    COLOR VIRTUAL ENV PREFIX LC ALL
    """.split()  # noqa: SIM905
)
# What the tests put in or the system says, quoted as it is; and names of several words.
_QUOTES = (
    "no kernel image is available for execution on the device", "undefined symbol", "no module", "no code", "git lfs pull",
    "CUDA driver version is insufficient", "Fabric Manager", "Docker Desktop", "Secure Boot", "container toolkit",
    "state dict", "git clone", "pip freeze", "cd pytorch", "No module named", "TMA exists from Hopper on",
)  # fmt: skip
_QUOTED = re.compile(r"'[^'\n]*'|\"[^\"\n]*\"|“[^”\n]*”|`[^`\n]*`|\([^()\n]*\)")
_COMMAND = re.compile(r"^ *\$ .*$|(?<=下一步：).*$|archfit [a-z]+ .*$|^.*(?:\{| \| ).*$", re.MULTILINE)
_RUN = re.compile(r"(?<![\w./=+-])[A-Za-z][a-z]+(?: [A-Za-z][a-z]+)+(?![\w./=+-])")


def english(text: str) -> Iterator[str]:
    """Runs of two or more English words that no list excuses; a sentence may go over several lines, in a box, too."""
    text = re.sub(r"(?s)```.*?```", "；", text)
    text = re.sub(r"\s*│?\n│?\s*", " ", _QUOTED.sub("；", _COMMAND.sub("；", text)))
    text = re.sub("|".join(map(re.escape, _QUOTES)), "；", text)
    for match in _RUN.finditer(text):
        if not set(match[0].split()) <= TERMS:
            yield match[0]


def test_the_search_finds_what_is_left_in_english() -> None:
    assert list(english("环境：Nothing was changed here。archfit doctor")) == ["Nothing was changed here"]
    assert list(english("$ pip install that thing\n下一步：archfit plan some where")) == []


@pytest.mark.parametrize("name", DRAWINGS)
@pytest.mark.parametrize("width", [60, 200])
def test_screens(name: str, width: int) -> None:
    assert set(english(drawn(DRAWINGS[name], "zh", width))) == set()


@pytest.mark.parametrize("name", sorted(p.name for p in GOLDEN.glob("*.zh.*") if p.suffix in (".txt", ".md")))
def test_golden_files(name: str) -> None:
    assert set(english((GOLDEN / name).read_text("utf-8"))) == set()


def test_man_page() -> None:
    page = re.sub(r"(?m)^\.(?:B|SS|RS|TH|TP).*$|^\\fB.*$", "", (ROOT / "man/zh_CN/archfit.1").read_text("utf-8"))
    assert set(english(page)) == set()


@pytest.mark.parametrize("path", tuple(command_paths(app, COMMANDS)))
def test_help(path: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run([*path.split(), "--help", "--lang", "zh"]) == 0
    page = re.sub(r"(?m)^用法.*$|^  (?:--|[A-Z])\S*(?: \S+)?  ", "", capsys.readouterr().out)
    assert set(english(page)) == set()


LOG = "RuntimeError: CUDA error: no kernel image is available for execution on the device\n"


@pytest.mark.parametrize(
    "line",
    [
        "doctor {env} --gpu sm_120 --driver 580.65.06 -v",
        "doctor {env} --gpu sm_120 --driver 550.54.14",
        "doctor {env} --gpu 'RTX 4090' --driver 580.65.06",
        "doctor {env}",
        "doctor /nothing",
        "doctor {env} --gpu 'RTX 9999'",
        "doctor {env} --gpu sm_120 --share -o a.md",
        "plan {env} --gpu sm_120 --driver 580.65.06 --offline",
        "plan {env} --gpu sm_120 --driver 550.54.14 --offline",
        "plan {env} --gpu V100 --gpu sm_120 --offline",
        "verify {env} --gpu sm_120 --level static",
        "verify {env} --gpu 'RTX 4090' --level import",
        "history {env}",
        "rollback {env}",
        "clean {env}",
        "scan {data}/libpartial.so {data}/libzstd.so -v",
        "scan {data}/nothing.so",
        "audit {data}/libpartial.so --require 12.0",
        "audit {data}/libpartial.so",
        "explain {log} -v",
        "explain {log} {env}",
        "explain /nothing.log",
        "schema nothing",
        "matrix torch --gpu sm_120",
        "matrix --gpu V100",
        "fleet merge {env}",
        "completion tcsh",
        "upgrade {env} --gpu 'RTX 4090' --driver 580.65.06 --yes",
    ],
)
def test_commands(
    line: str, old_env: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from worlds import DATA

    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LANG", "zh_CN.UTF-8")
    log = tmp_path / "train.log"
    log.write_text(LOG)
    run(shlex.split(line.format(env=old_env, data=DATA, log=log)))
    out, err = capsys.readouterr()
    assert set(english((out + err).replace(LOG.strip(), ""))) == set()


@pytest.mark.parametrize("id_", sorted(Messages("zh")._table["cause"]))
def test_causes(id_: str) -> None:
    messages = Messages("zh")
    assert set(english("\n".join(messages.cause(id_, part) for part in ("title", "means", "fix")))) == set()
