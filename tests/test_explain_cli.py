"""`archfit explain` and the hook: exit codes, JSON, files, redaction, the environment beside the log, the short way."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import archfit
from archfit import logs, quick
from archfit.cli import run
from worlds import TORCH_2_4_1, Package, build_environment

LOG = """\
Traceback (most recent call last):
  File "/home/liwei/bev/train.py", line 12, in <module>
    x = torch.zeros(3).cuda() + 1
RuntimeError: CUDA error: no kernel image is available for execution on the device
NVIDIA GeForce RTX 5090, torch 2.4.1+cu124
"""
TORCH_NEW = Package("torch", "2.9.0", libraries={"torch/lib/libtorch_cuda.so": "libserver.so"}, top_level="torch")
MMCV = Package("mmcv", "2.2.0", libraries={"mmcv/_ext.so": "libsm_80.so"}, top_level="mmcv")
OOM = "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB\n"
CAUSE = {
    "id": str, "confidence": float, "environment": bool, "title": str, "detail": str, "evidence": list, "culprit": dict,
    "fix": str, "advice": str, "commands": list, "signature": (str, type(None)), "findings": list,
}  # fmt: skip


@pytest.fixture
def log(tmp_path: Path) -> Path:
    path = tmp_path / "train.log"
    path.write_text(LOG, "utf-8")
    return path


def process(*words: str | Path, stdin: str = "") -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "archfit", *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, input=stdin, timeout=60, check=False)


def document(capsys: pytest.CaptureFixture[str], *words: str | Path) -> Any:
    run([str(word) for word in words])
    return json.loads(capsys.readouterr().out)


@pytest.mark.parametrize(
    ("text", "code"),
    [(LOG, 4), (OOM, 0), ("Engine core initialization failed. See root cause above.\n", 3), ("KeyError: 'x'\n", 3)],
)
def test_exit_codes(tmp_path: Path, text: str, code: int) -> None:
    path = tmp_path / "a.log"
    path.write_text(text, "utf-8")
    assert run(["explain", str(path)]) == code


def test_the_document(capsys: pytest.CaptureFixture[str], log: Path) -> None:
    found = document(capsys, "explain", log, "--json")
    assert found["schema"] == "archfit.explain/1"
    assert found["facts"] == {"gpu": "GeForce RTX 5090", "compute_capability": "12.0", "torch": "2.4.1", "cuda": "12.4"}
    assert found["causes"][0]["id"] == "arch-missing-torch"
    assert found["causes"][0]["evidence"][0] == {"line": 4, "text": LOG.splitlines()[3]}
    assert found["causes"][0]["culprit"] == {"package": "torch", "library": None}
    for cause in found["causes"]:
        assert cause.keys() == CAUSE.keys()
        assert all(isinstance(cause[name], kind) for name, kind in CAUSE.items())


def test_ids_are_the_same_in_every_language(capsys: pytest.CaptureFixture[str], log: Path) -> None:
    en, zh = (document(capsys, "explain", log, "--json", "--lang", lang) for lang in ("en", "zh"))
    assert [c["id"] for c in en["causes"]] == [c["id"] for c in zh["causes"]]
    assert en["causes"][0]["title"] != zh["causes"][0]["title"]


@pytest.mark.parametrize("suffix", ["md", "json"])
def test_files_are_redacted_unless_told_otherwise(tmp_path: Path, suffix: str) -> None:
    path, saved = tmp_path / "a.log", tmp_path / f"why.{suffix}"
    path.write_text(
        "ImportError: /home/liwei/v/lib/python3.11/site-packages/flash_attn_2_cuda.so: undefined symbol: _ZN3c1\n"
    )
    run(["explain", str(path), "-o", str(saved)])
    assert "/home/<user>/v/" in saved.read_text("utf-8")
    run(["explain", str(path), "-o", str(saved), "--no-redact"])
    assert "/home/liwei/v/" in saved.read_text("utf-8")


def test_the_screen_is_redacted_on_request(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    path = tmp_path / "a.log"
    path.write_text(
        "ImportError: /home/liwei/v/lib/python3.11/site-packages/flash_attn_2_cuda.so: undefined symbol: _ZN3c1\n"
    )
    run(["explain", str(path)])
    assert "liwei" in capsys.readouterr().out
    run(["explain", str(path), "--redact"])
    assert "liwei" not in capsys.readouterr().out


@pytest.mark.parametrize(
    "words", [("explain", "/no/such.log"), ("explain", "/"), ("explain", "a", "b", "c"), ("explain", "--nonsense")]
)
def test_errors_of_usage_are_one_sentence(words: tuple[str, ...]) -> None:
    ended = process(*words)
    assert (ended.returncode in (1, 2), "Traceback" in ended.stderr, bool(ended.stderr)) == (True, False, True)


def test_an_empty_log_is_said_to_be_empty(tmp_path: Path) -> None:
    (tmp_path / "a.log").write_text("")
    for ended in (process("explain", tmp_path / "a.log"), process("explain", "-"), process("explain")):
        assert (ended.returncode, "Traceback" in ended.stderr) == (2, False)


@pytest.mark.parametrize("words", [("-",), (), ("--lang", "zh"), ("--json",), ("-v",)])
def test_a_pipe_is_read_to_its_end(words: tuple[str, ...]) -> None:
    ended = process("explain", *words, stdin=LOG)
    assert ended.returncode == 4
    assert "arch-missing-torch" in ended.stdout


# --- the short way ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "parsed"),
    [
        ("a.log", quick.Words(Path("a.log"))),
        ("- env", quick.Words(None, "env")),
        ("a.log --json -v --lang zh", quick.Words(Path("a.log"), as_json=True, verbose=True, lang="zh")),
        ("a.log --redact --no-color", quick.Words(Path("a.log"), redact=True)),
        ("a.log --no-redact", quick.Words(Path("a.log"), redact=False)),
        ("", quick.Words()),
        ("a.log -o x.md", None),
        ("--help", None),
        ("a.log --lang fr", None),
        ("a b c", None),
    ],
)
def test_plain_words_are_understood_and_all_others_left(line: str, parsed: quick.Words | None) -> None:
    assert quick.parse(line.split()) == parsed


@pytest.mark.parametrize("words", [("--json",), ("--json", "--lang", "zh"), ("--json", "--redact")])
def test_the_short_way_and_the_full_one_say_the_same(
    capsys: pytest.CaptureFixture[str], log: Path, words: tuple[str, ...]
) -> None:
    codes = quick.explain([str(log), *words]), run(["explain", str(log), *words])
    assert codes == (4, 4)
    out = capsys.readouterr().out
    assert out[: len(out) // 2] == out[len(out) // 2 :]


# --- the environment beside the log ----------------------------------------------------------------------------------


def test_the_bytes_clear_torch_and_name_the_extension_with_its_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], log: Path
) -> None:
    """The log names neither package nor library; the bytes of the environment do."""
    log.write_text(log.read_text("utf-8").replace(", torch 2.4.1+cu124", ""), "utf-8")
    root = build_environment(tmp_path / "env", TORCH_NEW, MMCV)
    found = document(capsys, "explain", log, root, "--json")
    assert (found["target"], found["cleared"]) == (str(root), ["torch"])
    first = found["causes"][0]
    assert (first["id"], first["confidence"]) == ("arch-missing-extension", 0.97)
    assert first["culprit"] == {"package": "mmcv", "library": "mmcv/_ext.so"}
    assert [finding["id"] for finding in first["findings"]] == ["arch-missing-extension"]


def test_the_bytes_prove_that_it_is_torch(tmp_path: Path, capsys: pytest.CaptureFixture[str], log: Path) -> None:
    root = build_environment(tmp_path / "env", TORCH_2_4_1, MMCV)
    first = document(capsys, "explain", log, root, "--json")["causes"][0]
    assert (first["id"], first["confidence"], first["culprit"]["package"]) == ("arch-missing-torch", 0.97, "torch")
    assert first["commands"][0].startswith("archfit upgrade ")


def test_an_environment_that_is_not_there_is_an_error_if_it_was_named(log: Path) -> None:
    assert run(["explain", str(log), "/no/such/env"]) == 2


def test_the_active_environment_is_taken_only_if_the_log_speaks_of_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    root = tmp_path / "env"
    build_environment(root)
    monkeypatch.setenv("VIRTUAL_ENV", str(root))
    inside = f'  File "{root}/lib/python3.11/site-packages/torch/nn/functional.py", line 3, in f\n' + LOG
    assert logs.join_environment(logs.explain(inside), None).joined == root
    assert logs.join_environment(logs.explain(LOG), None).joined is None


# --- as a library ----------------------------------------------------------------------------------------------------


def test_the_library_explains() -> None:
    assert archfit.explain(LOG).first.id == "arch-missing-torch"


def test_importing_costs_nothing() -> None:
    heavy = ("re2", "rich", "archfit.logs", "archfit.model")
    program = (
        f"import sys, archfit.excepthook; archfit.excepthook.install(); print([m for m in sys.modules if m in {heavy}])"
    )
    assert subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout == "[]\n"


@pytest.mark.parametrize(
    ("program", "said"),
    [
        ("raise RuntimeError('CUDA error: no kernel image is available for execution on the device')", True),
        ("raise KeyError('x')", False),
        ("raise SystemExit(3)", False),
        ("raise KeyboardInterrupt", False),
        ("print('fine')", False),
    ],
)
def test_the_hook_explains_below_the_traceback(program: str, said: bool) -> None:
    source = f"import archfit.excepthook\n{2 * 'archfit.excepthook.install();'}\n{program}\n"
    ended = subprocess.run([sys.executable, "-c", source], capture_output=True, text=True, check=False)
    assert ended.stderr.count("arch-missing-torch") == said
    assert ended.stderr.count("Traceback") == (ended.returncode == 1 or "KeyboardInterrupt" in program)


def test_the_hook_can_be_taken_off() -> None:
    from archfit import excepthook

    before = sys.excepthook
    excepthook.install()
    assert sys.excepthook is not before
    excepthook.uninstall()
    assert sys.excepthook is before


def test_a_dash_is_the_pipe_on_the_full_command_line_too(tmp_path: Path) -> None:
    path = tmp_path / "why.json"
    command = [sys.executable, "-m", "archfit", "explain", "-", "-o", str(path)]
    done = subprocess.run(command, input=LOG, capture_output=True, text=True, check=False)
    assert (done.returncode, json.loads(path.read_text("utf-8"))["causes"][0]["id"]) == (4, "arch-missing-torch")


def test_commands_name_the_environment_that_was_looked_at(tmp_path: Path, old_env: Path) -> None:
    """Nothing says which GPU it is, so nothing is proven; the plan that is offered is still one for that environment."""
    log = tmp_path / "log.txt"
    log.write_text("RuntimeError: CUDA error: no kernel image is available for execution on the device\n")
    found = logs.join_environment(logs.explain_file(log), str(old_env))
    ours = [line for cause in found.causes for line in cause.commands if line.startswith("archfit plan")]
    assert ours
    assert all(line.startswith(f"archfit plan {old_env}") for line in ours)
