"""Parse, call one function of the api, print, exit: one module per command, loaded when it is called."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec
from itertools import pairwise
from typing import TYPE_CHECKING

from cyclopts import App, CycloptsError, Parameter

from archfit import __version__
from archfit.errors import ExitCode, UsageError

if TYPE_CHECKING:
    from archfit.session import Session

app = App(
    name="archfit",
    help_flags=(),  # `run` answers for them, in the reader's language
    version=f"archfit {__version__}",
    default_parameter=Parameter(negative=()),
    result_action="return_value",
)

# Where each command lives; imported only when it is called.
COMMANDS = {
    "doctor": "doctor:doctor",
    "scan": "scan:scan",
    "audit": "audit:audit",
    "plan": "plan:plan",
    "upgrade": "upgrade:upgrade",
    "rollback": "history:rollback",
    "history": "history:history",
    "clean": "history:clean",
    "verify": "verify:verify",
    "matrix": "matrix:matrix",
    "demo": "demo:demo",
    "explain": "logs:explain",
    "run": "logs:run_",
    "fleet": "fleet:fleet",
    "schema": "schema:schema",
    "completion": "completion:completion",
}
# What needs packages with compiled parts (msgspec, re2, uv): an archfit that was carried to a node as one file has none.
_WITH_COMPILED = ("scan", "audit", "plan", "upgrade", "demo", "explain", "run", "fleet")
if find_spec("msgspec") is None:
    COMMANDS = {name: place for name, place in COMMANDS.items() if name not in _WITH_COMPILED}
for _name, _place in COMMANDS.items():
    app.command(f"archfit.cli.{_place}", name=_name)


def run(arguments: Sequence[str]) -> int:
    """Run one command line; returns the exit code."""
    words = list(arguments)
    if words[:1] == ["explain"]:
        words = ["./-" if word == "-" else word for word in words]  # the same path, and no option to cyclopts
    if words and words[0] in _WITH_COMPILED and words[0] not in COMMANDS:
        _session(words).screen.error(UsageError("not-carried", command=words[0]))
        return int(ExitCode.USAGE)
    if _asks_for_help(words) or _names_a_group(words):
        return _help(words)
    try:
        code = app(words, exit_on_error=False, print_error=False)
    except CycloptsError as error:
        from archfit.cli.usage import usage_error

        failure = usage_error(error, words, COMMANDS)
        _session(words).screen.error(failure)
        return int(failure.exit_code)
    except SystemExit as end:
        code = end.code
    return int(code) if isinstance(code, int) else int(ExitCode.OK)


def _asks_for_help(words: Sequence[str]) -> bool:
    own = words[: words.index("--")] if "--" in words else words
    return not words or words[0] == "help" or "--help" in own or "-h" in own


def _names_a_group(words: Sequence[str]) -> bool:
    """``archfit fleet`` with nothing behind it but options."""
    if words[0] not in COMMANDS or any(not word.startswith("-") for word in words[1:2]):
        return False
    return app[words[0]].default_command is None


def _help(words: Sequence[str]) -> int:
    """The manual of the command that is named, or of all."""
    from archfit.cli.manuals import show_help

    paths = [f"{name} {below}" for name, below in pairwise(words) if name in COMMANDS and _is_below(name, below)]
    named = next(iter(paths), next((word for word in words if word in COMMANDS), None))
    session = _session(words)
    try:
        show_help(app, session.screen, COMMANDS, named)
        session.flush()
    except BrokenPipeError:
        session.let_go()
    return int(ExitCode.OK)


def _is_below(name: str, word: str) -> bool:
    command = app[name]
    return command.default_command is None and not word.startswith("-") and word in command


def _session(words: Sequence[str]) -> Session:
    """The session of a command line that is not parsed, or cannot be: its language and its colours."""
    from archfit.session import Session

    following = dict(pairwise(words))
    joined = next((word.removeprefix("--lang=") for word in words if word.startswith("--lang=")), None)
    return Session(joined or following.get("--lang"), color="--no-color" not in words, as_json=False)
