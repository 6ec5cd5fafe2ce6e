"""The door: exit codes, one document on stdout, talk on stderr, never a traceback."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from archfit import __version__, api, cli
from archfit.cli import run
from archfit.errors import ExitCode
from archfit.model import Interruption, Text
from archfit.planner import PlanWish, plan
from archfit.transaction.installer import Lock
from worlds import (
    CATALOG,
    CUBLAS_12_1,
    NEW,
    TORCH_2_4_1,
    VISION_0_19_1,
    Package,
    build_environment,
    diagnosis_of,
    extension,
    torch,
    vision,
    world,
)

Cli = Callable[..., tuple[int, str, str]]
ARCHFIT = [sys.executable, "-m", "archfit"]
FINE = ("--gpu", "H200", "--driver", "580.65.06")
OLD = ("--gpu", "RTX 5090", "--driver", "580.65.06")


@pytest.fixture
def archfit(capsys: pytest.CaptureFixture[str]) -> Cli:
    """Run one command line in this process: exit code, stdout, stderr."""

    def call(*arguments: str | Path) -> tuple[int, str, str]:
        code = run([str(a) for a in arguments])
        out, err = capsys.readouterr()
        return code, out, err

    return call


def process(*arguments: str | Path, **environ: str) -> subprocess.CompletedProcess[str]:
    """Run one command line in a process of its own."""
    command = [*ARCHFIT, *map(str, arguments)]
    return subprocess.run(
        command, capture_output=True, encoding="utf-8", env={**os.environ, **environ}, timeout=60, check=False
    )


# --- exit codes ------------------------------------------------------------------------------------------------------


def test_the_table_of_exit_codes() -> None:
    assert {code.name: code.value for code in ExitCode} == {
        "OK": 0,
        "INTERNAL": 1,
        "USAGE": 2,
        "UNDECIDED": 3,
        "PROBLEMS": 4,
        "APPLY_REVERTED": 5,
        "APPLY_INCOMPLETE": 6,
        "VERIFY_FAILED": 7,
        "INTERRUPTED": 130,
    }


CODES = [
    (("doctor", *FINE), 0),
    (("doctor", *OLD), 4),
    (("doctor", "--gpu", "sm_90", "--gpu", "sm_120"), 4),
    (("doctor",), 3),
    (("plan", "--offline", *FINE), 0),
    (("plan", "--offline", *OLD), 0),
    (("plan", "--offline", "--gpu", "GTX 1080 Ti", "--gpu", "RTX 5090", "--driver", "580.65.06"), 4),
    (("plan", "--offline"), 3),
    (("verify", "--level", "static", *FINE), 0),
    (("verify", "--level", "static", *OLD), 7),
    (("verify", "--level", "static"), 3),
    (("history",), 0),
]


@pytest.mark.parametrize(("words", "code"), CODES, ids=[" ".join(words) for words, _ in CODES])
def test_exit_codes(archfit: Cli, old_env: Path, words: tuple[str, ...], code: int) -> None:
    assert archfit(words[0], old_env, *words[1:])[0] == code


def test_a_broken_interpreter_is_a_problem_and_no_plan_can_be_made(archfit: Cli, tmp_path: Path) -> None:
    root = build_environment(tmp_path / "env", TORCH_2_4_1)
    (root / "bin" / "python").unlink()
    (root / "bin" / "python").symlink_to(tmp_path / "gone")
    assert archfit("doctor", root, *FINE)[0] == 4
    code, out, err = archfit("plan", root, "--offline", *FINE)
    assert (code, out) == (3, "")
    assert "does not start" in err


def test_nothing_to_upgrade(archfit: Cli, old_env: Path) -> None:
    code, out, err = archfit("upgrade", old_env, "--yes", *FINE)
    assert (code, err) == (0, "")
    assert out.startswith(f"Nothing to do for {old_env}")


def test_a_driver_that_comes_first_is_not_upgraded_around(archfit: Cli, old_env: Path) -> None:
    code, out, err = archfit("upgrade", old_env, "--yes", "--gpu", "RTX 5090", "--driver", "550.54.14")
    assert (code, out) == (4, "")
    assert "570.86.16 or newer is needed" in err
    assert "hint: sudo apt install nvidia-driver-580-open" in err


def test_a_driver_that_is_too_new_is_not_called_too_old(archfit: Cli, old_env: Path) -> None:
    code, _, err = archfit("upgrade", old_env, "--yes", "--gpu", "V100", "--driver", "590.44.01")
    assert code == 4
    assert "or newer is needed" not in err


# --- what cannot be meant --------------------------------------------------------------------------------------------


def folder(path: Path) -> Path:
    return path


def plain_file(path: Path) -> Path:
    (path / "notes.txt").write_text("no program\n")
    return path / "notes.txt"


def nothing(path: Path) -> Path:
    return path / "nothing"


@pytest.mark.parametrize("command", ["doctor", "plan", "upgrade", "rollback", "history", "verify"])
@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (nothing, "error: there is nothing at"),
        (folder, "but no Python environment: it has no bin/python"),
        (plain_file, "is a file, but no program: no Python interpreter"),
    ],
)
def test_targets_that_are_none(
    archfit: Cli, tmp_path: Path, command: str, make: Callable[[Path], Path], sentence: str
) -> None:
    code, out, err = archfit(command, make(tmp_path))
    assert (code, out) == (2, "")
    assert sentence in " ".join(err.split())
    assert "hint: name" in err


NONSENSE: list[tuple[tuple[str, ...], str, str]] = [
    (("--gpu", "RTX 9999"), 'no GPU is called "RTX 9999"', "hint: similar: "),
    (("--gpu", "12.9"), "12.9 is no compute capability of any GPU we know", "hint: known: 5.0, "),
    (("--gpu", "RTX 4000"), '"RTX 4000" is the name of several GPUs', "hint: say which"),
    (("--gpu", "sm_120:0"), 'no GPU is called "sm_120:0"', "hint: similar: sm_120:2"),
    (("--driver", "newest"), '"newest" is no driver release', "hint: as nvidia-smi prints it: --driver 570.86.16"),
    (("--driver", ""), '"" is no driver release', "hint: as nvidia-smi prints it: --driver 570.86.16"),
]


@pytest.mark.parametrize("command", ["doctor", "plan", "upgrade", "verify"])
@pytest.mark.parametrize(("words", "sentence", "hint"), NONSENSE, ids=[" ".join(row[0]) for row in NONSENSE])
def test_gpus_and_drivers_that_are_none(
    archfit: Cli, old_env: Path, command: str, words: tuple[str, ...], sentence: str, hint: str
) -> None:
    code, out, err = archfit(command, old_env, *words)
    assert (code, out) == (2, "")
    assert sentence in " ".join(err.split())
    assert hint in err


OPTIONS: list[tuple[tuple[str, ...], str]] = [
    (("verify", "--level", "magic"), 'there is no level "magic"'),
    (("upgrade", "--level", "magic"), 'there is no level "magic"'),
    (("verify", "--level", "static", "--only", "kernel:matmul"), 'no probe of level static is called "kernel:matmul"'),
    (("plan", "--python", "snake", *OLD), '"snake" is no Python version'),
    (("plan", "--platform", "beos", *OLD), '"beos" is no platform that archfit knows'),
    (("upgrade", "--plan", "/nothing/plan.json", *OLD), "/nothing/plan.json is not a plan of archfit: No such file"),
    (("upgrade", "--plan", __file__, *OLD), "test_cli.py is not a plan of archfit: Extra data"),
    (("upgrade", "--plan", "/", *OLD), "/ is not a plan of archfit: Is a directory"),
]


@pytest.mark.parametrize(("words", "sentence"), OPTIONS, ids=[" ".join(row[0]) for row in OPTIONS])
def test_options_that_cannot_be_meant(archfit: Cli, old_env: Path, words: tuple[str, ...], sentence: str) -> None:
    code, out, err = archfit(words[0], old_env, *words[1:])
    assert (code, out) == (2, "")
    assert sentence in " ".join(err.split())


PARSER = [
    (("doctr",), 'Did you mean "doctor"?'),
    (("--nope",), 'Unknown command "--nope"'),
    (("doctor", "--nope"), "Unknown option: --nope"),
    (("doctor", "a", "b"), "too much was given: b"),
    (("doctor", "--gpu"), "requires an argument"),
    (("plan", "--strategy", "bold"), 'Invalid value "bold" for --strategy'),
    (("doctor", "--lang", "fr"), 'Invalid value "fr" for --lang'),
]


@pytest.mark.parametrize(("words", "sentence"), PARSER, ids=[" ".join(row[0]) for row in PARSER])
def test_command_lines_that_cannot_be_parsed(archfit: Cli, words: tuple[str, ...], sentence: str) -> None:
    code, out, err = archfit(*words)
    assert (code, out) == (2, "")
    assert sentence in err


def test_nobody_to_ask(archfit: Cli, old_env: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = api.doctor(api.Wish(str(old_env), ("RTX 5090",), "580.65.06"))
    option = plan(found, CATALOG, PlanWish()).options[0]
    prepared = api.Prepared(found, option, Lock("", None, ()), ())
    monkeypatch.setattr(api, "prepare_upgrade", lambda *_, **__: prepared)
    code, _, err = archfit("upgrade", old_env, *OLD)
    assert code == 2
    assert "say --yes to go on" in " ".join(err.split())


# --- files -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", [".json", ".md", ".MD"])
@pytest.mark.parametrize("command", ["doctor", "plan"])
def test_output_goes_to_a_file_too(archfit: Cli, old_env: Path, tmp_path: Path, command: str, suffix: str) -> None:
    path = tmp_path / f"report{suffix}"
    words = ("--offline", *OLD) if command == "plan" else OLD
    code, _, err = archfit(command, old_env, *words, "-o", path)
    assert code == (0 if command == "plan" else 4)
    assert err == f"Written: {path}\n"
    text = path.read_text("utf-8")
    if suffix == ".json":
        assert json.loads(text)["schema"] == f"archfit.{command}/1"
    else:
        assert text.startswith("# ")


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("report.pdf", "this command writes .json, .md"),
        ("report", "this command writes .json, .md"),
        ("no/folder/report.json", "cannot write"),
    ],
)
def test_output_that_cannot_be_written(archfit: Cli, old_env: Path, tmp_path: Path, name: str, sentence: str) -> None:
    code, _, err = archfit("doctor", old_env, *OLD, "--output", tmp_path / name)
    assert code == 2
    assert sentence in " ".join(err.split())


def test_a_plan_file_is_applied_only_to_what_it_was_made_for(archfit: Cli, old_env: Path, tmp_path: Path) -> None:
    path = tmp_path / "plan.json"
    assert archfit("plan", old_env, "--offline", *OLD, "-o", path)[0] == 0
    other = build_environment(tmp_path / "other", Package("torch", "2.8.0"))
    code, out, err = archfit("upgrade", other, "--plan", path, *OLD)
    assert (code, out) == (2, "")
    assert "the plan was made for torch 2.4.1" in " ".join(err.split())
    assert f"hint: make a new one: archfit plan {other}" in err


# --- json ------------------------------------------------------------------------------------------------------------

JSON_COMMANDS = [
    ("doctor", *OLD),
    ("doctor", *FINE),
    ("doctor",),
    ("plan", "--offline", *OLD),
    ("verify", "--level", "static", *OLD),
    ("history",),
    ("upgrade", "--yes", *FINE),
]


@pytest.mark.parametrize("words", JSON_COMMANDS, ids=" ".join)
def test_json_is_one_document_and_nothing_else(archfit: Cli, old_env: Path, words: tuple[str, ...]) -> None:
    _, out, _ = archfit(words[0], old_env, *words[1:], "--json")
    assert json.loads(out)["schema"] == f"archfit.{words[0]}/1"


def test_json_has_no_talk_on_stderr(archfit: Cli, old_env: Path) -> None:
    for words in JSON_COMMANDS[:4]:
        assert archfit(words[0], old_env, *words[1:], "--json")[2] == ""


@pytest.mark.parametrize("words", [("doctor", "/nothing"), ("doctor", "--gpu", "RTX 9999"), ("plan", "/nothing")])
def test_an_error_leaves_stdout_clean(archfit: Cli, words: tuple[str, ...]) -> None:
    code, out, err = archfit(*words, "--json")
    assert (code, out) == (2, "")
    assert err.startswith("error: ")


# --- language, screen, pipe ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("environ", "words", "beginning"),
    [
        ({}, (), "Looked at"),
        ({"LANG": "zh_CN.UTF-8"}, (), "查看的环境："),
        ({"LANG": "zh_CN.UTF-8"}, ("--lang", "en"), "Looked at"),
        ({"LC_ALL": "zh_CN.UTF-8", "LANG": "en_US.UTF-8"}, (), "查看的环境："),
        ({}, ("--lang", "zh"), "查看的环境："),
    ],
)
def test_the_language(
    archfit: Cli,
    old_env: Path,
    monkeypatch: pytest.MonkeyPatch,
    environ: dict[str, str],
    words: tuple[str, ...],
    beginning: str,
) -> None:
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    assert archfit("doctor", old_env, *OLD, *words)[1].startswith(beginning)


def test_errors_are_chinese_too(archfit: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LANG", "zh_CN.UTF-8")
    assert archfit("doctor", "/nothing") == (
        2,
        "",
        "错误：/nothing 不存在\n提示：请给出 Python 解释器、虚拟环境或 conda 环境的路径\n",
    )


def test_the_active_environment_is_taken_and_said(archfit: Cli, old_env: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VIRTUAL_ENV", str(old_env))
    out = archfit("doctor", *OLD, "--json")[1]
    assert (json.loads(out)["target"], json.loads(out)["target_chosen"]) == (str(old_env), "VIRTUAL_ENV")
    assert "the active virtual environment" in " ".join(archfit("doctor", *OLD)[1].split())


def test_output_to_a_file_has_no_escape_codes(archfit: Cli, old_env: Path) -> None:
    assert "\x1b" not in archfit("doctor", old_env, *OLD)[1]


@pytest.mark.parametrize("folder_name", ["[red]a[/red]", "a[/b]c", ":smile: {x}", "with space", "中文"])
def test_odd_names_of_folders(archfit: Cli, tmp_path: Path, folder_name: str) -> None:
    root = build_environment(tmp_path / folder_name, TORCH_2_4_1, VISION_0_19_1)
    for words in (("doctor", root, *OLD), ("plan", root, "--offline", *OLD), ("history", root)):
        code, out, err = archfit(*words)
        assert (code, err) == (4 if words[0] == "doctor" else 0, "")
        assert "".join(folder_name.split()) in "".join(out.split())  # a terminal may wrap at the space


@pytest.mark.parametrize("words", [(), ("--json",), ("--lang", "zh"), ("--lang", "zh", "--json")])
def test_a_screen_that_knows_no_unicode_loses_no_answer(old_env: Path, words: tuple[str, ...]) -> None:
    done = process("doctor", old_env, *OLD, *words, PYTHONIOENCODING="ascii", PYTHONUTF8="0")
    assert (done.returncode, done.stderr) == (4, "")


def test_whoever_stops_reading_is_no_failure(old_env: Path) -> None:
    command = shlex.join([*ARCHFIT, "doctor", str(old_env), *OLD])
    for reader in ("head -1", "true"):
        script = f"set -o pipefail; ({command}; echo code $? >&2) | {reader} >/dev/null"
        done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, timeout=60, check=False)
        assert done.stderr in ("code 0\n", "code 4\n"), reader


# --- failures of archfit itself --------------------------------------------------------------------------------------


def test_a_failure_of_archfit_itself_leaves_a_log(archfit: Cli, old_env: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("boom")

    monkeypatch.setattr(api, "doctor", fail)
    code, out, err = archfit("doctor", old_env)
    log = Path(os.environ["XDG_STATE_HOME"], "archfit", "log", "failure.log")
    assert (code, out) == (1, "")
    assert err.startswith("error: archfit itself failed: RuntimeError: boom")
    assert f"hint: please report it with this log: {log}" in err
    assert "Traceback" not in err
    assert log.read_text("utf-8").rstrip().endswith("RuntimeError: boom")


@pytest.mark.parametrize(("stop", "said"), [(KeyboardInterrupt(), "error: interrupted"), (SystemExit(130), "")])
def test_an_interruption_says_so_and_nothing_more(
    archfit: Cli, old_env: Path, monkeypatch: pytest.MonkeyPatch, stop: BaseException, said: str
) -> None:
    def interrupt(*_: object) -> None:
        raise stop

    monkeypatch.setattr(api, "doctor", interrupt)
    code, out, err = archfit("doctor", old_env)
    assert (code, out, err.strip()) == (130, "", said)


# --- start -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("main", [ARCHFIT, [str(Path(sys.executable).parent / "archfit")]])
def test_the_version(main: list[str]) -> None:
    done = subprocess.run([*main, "--version"], capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, f"archfit {__version__}\n", "")


def test_the_version_imports_nothing_heavy() -> None:
    script = (
        "import sys; sys.argv = ['archfit', '--version']\n"
        "from archfit.__main__ import main\n"
        "main()\n"
        "print(sorted({m.split('.')[0] for m in sys.modules} & {'rich', 'cyclopts', 'packaging', 'pynvml', 'json'}))\n"
        "print(sorted(m for m in sys.modules if m.startswith('archfit')))\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout == f"archfit {__version__}\n[]\n['archfit', 'archfit.__main__']\n"


def test_help_names_every_command_and_exit_code(archfit: Cli) -> None:
    code, out, err = archfit("--help")
    words = out.split()
    assert (code, err) == (0, "")
    assert [c for c in ("doctor", "plan", "upgrade", "rollback", "history", "verify", "demo") if c not in words] == []
    assert [str(c.value) for c in ExitCode if str(c.value) not in words] == []


@pytest.mark.parametrize("command", ["doctor", "plan", "upgrade", "rollback", "history", "verify", "demo"])
def test_help_of_a_command_has_an_example(archfit: Cli, command: str) -> None:
    code, out, err = archfit(command, "--help")
    assert (code, err) == (0, "")
    assert f"archfit {command}" in " ".join(out.split())


# --- every command that archfit tells is one that it takes -----------------------------------------------------------

WORLDS = {
    "old": world(release="580.65.06"),
    "driver": world(release="550.54.14"),
    "interrupted": world(
        release="580.65.06",
        interrupted=Interruption(1, "upgrade", "2026-11-23T05:06:07+00:00", "torch 2.4.1", "torch 2.8.0", made=False),
    ),
    "extension": world(torch("2.9.0", NEW), extension(), cuda="12.8"),
    "family": world(torch(), vision("0.20.1", "torch==2.5.1"), on="H200"),
    "cpu": world(torch("2.8.0+cpu", None), cuda=None),
    "unreadable": world(unreadable=(("a.so", Text("plain", {"text": "no"})),)),
}


@pytest.mark.parametrize("name", WORLDS)
def test_every_fix_is_a_command_line_of_archfit(name: str) -> None:
    for finding in diagnosis_of(WORLDS[name]).findings:
        if finding.fix:
            words = shlex.split(finding.fix)
            assert words[0] == "archfit"
            cli.app.parse_args(words[1:], exit_on_error=False, print_error=False)


def test_the_fixture_holds_what_the_story_needs(old_env: Path) -> None:
    found = api.doctor(api.Wish(str(old_env), ("RTX 5090",)))
    names = [TORCH_2_4_1.name, VISION_0_19_1.name, CUBLAS_12_1.name]
    assert sorted(names) == [d.name for d in found.environment.distributions]
