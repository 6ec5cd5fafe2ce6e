"""Where the process begins. Nothing heavy is imported before it is known that a command needs it."""

import sys


def main() -> int:
    """Run one command; returns the exit code of the process."""
    if sys.argv[1:] == ["--version"]:
        from archfit import __version__

        print(f"archfit {__version__}")
        return 0
    try:
        if sys.argv[1:2] in (["explain"], ["run"]):
            from archfit import quick

            answer = quick.explain if sys.argv[1] == "explain" else quick.run
            if (code := answer(sys.argv[2:])) is not None:
                return code
        from archfit.cli import run

        return run(sys.argv[1:])
    except KeyboardInterrupt:  # so early that no language is known yet
        return 130


if __name__ == "__main__":
    sys.exit(main())
