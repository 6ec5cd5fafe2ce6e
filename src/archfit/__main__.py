"""Where the process begins. Nothing heavy is imported before it is known that a command needs it."""

import sys


def main() -> int:
    """Run one command; returns the exit code of the process."""
    if sys.argv[1:] == ["--version"]:
        from archfit import __version__

        print(f"archfit {__version__}")
        return 0
    try:
        if sys.argv[1:2] == ["explain"]:
            from archfit.quick import explain

            if (code := explain(sys.argv[2:])) is not None:
                return code
        from archfit.cli import run

        return run(sys.argv[1:])
    except KeyboardInterrupt:  # so early that no language is known yet
        return 130


if __name__ == "__main__":
    sys.exit(main())
