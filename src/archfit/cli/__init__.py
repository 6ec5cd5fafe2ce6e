"""Parse, call one function of the api, print, exit: one module per command, loaded when it is called."""

from __future__ import annotations

from cyclopts import App, Parameter

from archfit import __version__
from archfit.errors import ExitCode

EXIT_CODES = (
    "Exit codes: 0 nothing is wrong · 1 archfit itself failed · 2 usage · 3 could not observe enough to decide · "
    "4 problems found · 5 apply failed, everything put back · 6 apply failed, putting back incomplete, copies kept · "
    "7 verification failed · 130 interrupted"
)

app = App(
    name="archfit",
    help="Make a PyTorch environment run on the GPU you actually have.\n\nStart with: `archfit doctor`",
    help_epilogue=EXIT_CODES,
    help_format="markdown",
    version=f"archfit {__version__}",
    default_parameter=Parameter(negative=()),
    result_action="return_value",
)

# Where each command lives; imported only when it is called.
_COMMANDS = {
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
}
for _name, _place in _COMMANDS.items():
    app.command(f"archfit.cli.{_place}", name=_name)


def run(arguments: list[str]) -> int:
    """Run one command line; returns the exit code."""
    from rich.console import Console

    if not arguments or arguments[0].startswith("-"):
        for name in _COMMANDS:
            _ = app[name]  # the list of commands quotes the first line of each, so it has to be imported
    try:
        code = app(arguments, error_console=Console(stderr=True), exit_on_error=True)
    except SystemExit as end:
        code = end.code
    return int(code) if isinstance(code, int) else int(ExitCode.OK)
