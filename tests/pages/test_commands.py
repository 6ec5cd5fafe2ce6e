"""``-o page.html`` of every command."""

from __future__ import annotations

from pathlib import Path

import pytest

from archfit.cli import run
from archfit.errors import ExitCode

MACHINE = ("--gpu", "RTX 5090", "--driver", "580.65.06")


@pytest.mark.parametrize(
    ("words", "code", "title"),
    [
        (("doctor", "{env}", *MACHINE), ExitCode.PROBLEMS, "Diagnosis of {env}"),
        (("plan", "{env}", "--offline", *MACHINE), ExitCode.OK, "Ways out for {env}"),
        (("verify", "{env}", "--level", "static", *MACHINE), ExitCode.VERIFY_FAILED, "Proof for {env}"),
        (("scan", "{env}/lib", "--gpu", "RTX 5090"), ExitCode.OK, "GPU code in {env}/lib"),
        (("explain", "{log}"), ExitCode.PROBLEMS, "What the log means"),
    ],
    ids=lambda value: value[0] if isinstance(value, tuple) else None,
)
def test_a_command_writes_its_page(
    old_env: Path, tmp_path: Path, words: tuple[str, ...], code: ExitCode, title: str
) -> None:
    log = tmp_path / "train.log"
    log.write_text("RuntimeError: CUDA error: no kernel image is available for execution on the device\n")
    written = tmp_path / "report.html"
    named = {"env": old_env, "log": log}
    assert run([*(word.format(**named) for word in words), "-o", str(written)]) == code
    text = written.read_text("utf-8")
    assert f"<title>{title.format(**named)}</title>" in text
    assert text.rstrip().endswith("</html>")


def test_the_page_speaks_the_language_of_the_run(old_env: Path, tmp_path: Path) -> None:
    written = tmp_path / "report.HTML"
    run(["doctor", str(old_env), *MACHINE, "--lang", "zh", "-o", str(written)])
    assert '<html lang="zh-Hans" data-language="zh">' in written.read_text("utf-8")
