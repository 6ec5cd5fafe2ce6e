"""The help: every command in both languages, whole, with examples that can be run; and errors of usage that speak."""

from __future__ import annotations

import ast
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from rich.cells import cell_len
from test_goldens import LANGUAGES, drawn

from archfit import __version__
from archfit.cli import COMMANDS, app, run
from archfit.cli.completion import Shell, completion_script
from archfit.cli.manuals import command_paths, general_options, manual_of, show_help
from archfit.report.manual import Example, parse_examples, render_man, render_manual
from archfit.report.messages import Language, Messages

Golden = Callable[[str, str], None]
PATHS = tuple(command_paths(app, COMMANDS))
ROOT = Path(__file__).parents[2]
CLI = ROOT / "src/archfit/cli"
MAN = {"en": ROOT / "man/archfit.1", "zh": ROOT / "man/zh_CN/archfit.1"}


def man_page(language: Language) -> str:
    messages = Messages(language)
    manuals = [manual_of(app, path, messages) for path in PATHS]
    return render_man(messages, __version__, manuals, general_options(messages))


# --- the words -------------------------------------------------------------------------------------------------------


def keys_of_parameters() -> set[str]:
    """Every key that a parameter carries."""
    calls = (
        node
        for path in CLI.glob("*.py")
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "Parameter"
    )
    return {
        k.value.value for call in calls for k in call.keywords if k.arg == "help" and isinstance(k.value, ast.Constant)
    }


def test_every_parameter_carries_a_key_and_every_key_is_used() -> None:
    keys = {f"option.{key}" for key in Messages("en")._table["option"]} - {"option.help", "option.version"}
    assert keys_of_parameters() == keys


def test_every_command_has_its_words() -> None:
    assert set(Messages("en")._table["command"]) == {path.replace(" ", "-") for path in PATHS}
    assert [path for path in PATHS if not manual_of(app, path, Messages("en")).examples] == []


def test_every_exit_code_is_explained() -> None:
    from archfit.errors import ExitCode

    assert [int(code) for code in Messages("en").exit_codes()] == [int(code) for code in ExitCode]


@pytest.mark.parametrize("name", PATHS)
def test_examples_are_the_same_commands_in_both_languages(name: str) -> None:
    english, chinese = (manual_of(app, name, Messages(language)).examples for language in LANGUAGES)
    assert [e.command for e in english] == [e.command for e in chinese]
    assert [e.command for e in (*english, *chinese) if not e.text] == []


def test_examples_are_command_lines_that_archfit_takes() -> None:
    every = [e for path in PATHS for e in manual_of(app, path, Messages("en")).examples]
    every += parse_examples(Messages("en").help("story"))
    for example in every:
        words = shlex.split(example.command.rpartition("archfit ")[2].rstrip(")"))
        app.parse_args([w if w != "-" else "./-" for w in words], exit_on_error=False, print_error=False)


def test_an_example_is_read_with_what_it_is_for() -> None:
    assert parse_examples("a b   # why\nc 'x # y'\n") == (Example("a b", "why"), Example("c 'x", "y'"))


# --- the page --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("language", LANGUAGES)
def test_help(golden: Golden, language: Language) -> None:
    golden(f"help.{language}.txt", drawn(lambda s: show_help(app, s, COMMANDS, None), language))
    golden(f"help-verify.{language}.txt", drawn(lambda s: show_help(app, s, COMMANDS, "verify"), language))


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("width", [60, 80, 200])
@pytest.mark.parametrize("name", [None, *PATHS])
def test_help_fits_the_screen(name: str | None, width: int, language: Language) -> None:
    lines = drawn(lambda s: show_help(app, s, COMMANDS, name), language, width).splitlines()
    assert [line for line in lines if cell_len(line) > width and not line.startswith("  $ ")] == []


@pytest.mark.parametrize("words", [[], ["--help"], ["-h"], ["help"], ["--lang", "zh", "--help"], ["--no-color", "-h"]])
def test_every_way_to_ask_for_help(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert run(words) == 0
    out, err = capsys.readouterr()
    assert (all(f"  {name}" in out for name in COMMANDS), err) == (True, "")
    assert ("退出码" in out) is ("zh" in words)


@pytest.mark.parametrize("words", [["doctor", "-h"], ["help", "doctor"], ["doctor", ".venv", "--gpu", "x", "--help"]])
def test_help_of_one_command(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert run(words) == 0
    assert capsys.readouterr().out.startswith("Usage: archfit doctor [TARGET]")


def test_help_of_the_command_that_is_run_is_its_own() -> None:
    command = [sys.executable, "-m", "archfit", "run", "--lang", "en", "--", sys.executable, "--help"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout.startswith("usage: ")) == (0, True)


# --- errors of usage -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "english", "chinese"),
    [
        ("doktor", 'Unknown command "doktor". Did you mean "doctor"?', "没有 doktor 这条命令；您是不是想输入 doctor？"),
        ("xyzzy", 'Unknown command "xyzzy"', "没有 xyzzy 这条命令"),
        (
            "doctor --gpuu x",
            "Unknown option: --gpuu. Did you mean --gpu?",
            "没有 --gpuu 这个选项；您是不是想输入 --gpu？",
        ),
        ("doctor --xyzzy", "Unknown option: --xyzzy", "没有 --xyzzy 这个选项"),
        ("doctor --gpu", "--gpu requires an argument", "--gpu 需要一个值"),
        ("doctor a b c", "too much was given: b c", "多出的内容：b c"),
        (
            "verify --device tpu",
            'Invalid value "tpu" for --device; it can be cuda, cpu',
            "--device 不能是 tpu，只能是 cuda, cpu",
        ),
        ("rollback a b", 'Invalid value "b" for STATE', "STATE 不能是 b"),
    ],
)
def test_errors_of_usage_speak_both_languages(
    line: str, english: str, chinese: str, capsys: pytest.CaptureFixture[str]
) -> None:
    named = line.split()[0]
    see = f"archfit {named} --help" if named in COMMANDS else "archfit --help"
    assert run([*line.split(), "--lang", "en"]) == 2
    assert capsys.readouterr().err == f"error: {english}\nhint: {see} says what there is\n"
    assert run([*line.split(), "--lang=zh"]) == 2
    assert capsys.readouterr().err == f"错误：{chinese}\n提示：{see} 列出了可用的内容\n"


# --- man page, Markdown, completion ----------------------------------------------------------------------------------


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_man_page_is_that_of_this_program(language: Language, request: pytest.FixtureRequest) -> None:
    if request.config.getoption("--update-golden"):
        MAN[language].parent.mkdir(parents=True, exist_ok=True)
        MAN[language].write_text(man_page(language), "utf-8")
    assert MAN[language].read_text("utf-8") == man_page(language), "pytest tests/report --update-golden"


@pytest.mark.parametrize("language", LANGUAGES)
def test_man_reads_the_page(language: Language) -> None:
    if shutil.which("groff") is None:
        pytest.skip("no groff here")
    command = ["groff", "-man", "-ww", "-Wbreak", "-k", "-Tutf8", str(MAN[language])]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.stderr == ""
    shown = re.sub(".\b", "", done.stdout)
    assert [name for name in COMMANDS if f"archfit {name}" not in shown] == []


def test_markdown_of_a_command(golden: Golden) -> None:
    golden("manual-rollback.zh.md", render_manual(Messages("zh"), manual_of(app, "rollback", Messages("zh"))))


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("shell", Shell)
def test_completion_is_a_script_of_its_shell(shell: Shell, language: Language, tmp_path: Path) -> None:
    script = completion_script(shell, Messages(language))
    assert not re.search(r"(?:option|command)\.[a-z]", script)
    assert all(name in script for name in COMMANDS)
    path = tmp_path / "script"
    path.write_text(script, "utf-8")
    if shutil.which(shell):
        flag = "--no-execute" if shell is Shell.FISH else "-n"
        done = subprocess.run([shell, flag, str(path)], capture_output=True, text=True, check=False)
        assert (done.returncode, done.stderr) == (0, "")


ASK = """
source {script}
COMP_WORDS=({words})
COMP_CWORD={last}
_archfit
printf '%s\\n' "${{COMPREPLY[@]}}"
"""


@pytest.mark.parametrize(
    ("typed", "offered"),
    [("archfit do", {"doctor"}), ("archfit doctor --dr", {"--driver"}), ("archfit verify --device c", {"cuda", "cpu"})],
)
def test_bash_completes(typed: str, offered: set[str], tmp_path: Path) -> None:
    script = tmp_path / "archfit"
    script.write_text(completion_script(Shell.BASH, Messages("en")), "utf-8")
    words = typed.split()
    text = ASK.format(script=script, words=" ".join(words), last=len(words) - 1)
    done = subprocess.run(["bash", "--norc", "-c", text], capture_output=True, text=True, check=True)
    assert {word.strip() for word in done.stdout.split()} == offered


def test_completion_goes_where_the_shell_looks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    monkeypatch.setenv("SHELL", "/bin/bash")
    assert run(["completion", "--install"]) == 0
    assert (tmp_path / "bash-completion/completions/archfit").read_text("utf-8").startswith("# Bash completion")
    assert str(tmp_path) in capsys.readouterr().err.replace("\n", "")


def test_a_shell_that_is_not_known_is_refused(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("SHELL", "/bin/tcsh")
    assert run(["completion"]) == 2
    assert "bash, zsh, fish" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "start"),
    [
        (["fleet"], "Usage: archfit fleet COMMAND"),
        (["fleet", "--help"], "Usage: archfit fleet COMMAND"),
        (["fleet", "merge", "--help"], "Usage: archfit fleet merge"),
        (["help", "fleet", "diff"], "Usage: archfit fleet diff"),
    ],
)
def test_help_of_commands_below_another(words: list[str], start: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(words) == 0
    assert capsys.readouterr().out.startswith(start)
