"""Child: run one script of this folder, then others, each in a fork of this process.

The only argument is an order, as JSON: {"side_by_side": 2, "scripts": [["import_names.py", "torch"], …]}; the first is run in
this very process. Prints one line of JSON per script as it ends: its number, its exit code (negative: the signal), what it
printed, and the last of what it said on stderr. To import torch takes seconds, to fork milliseconds; a script that crashes
ends its own fork alone.
"""

import json
import os
import runpy
import sys
import tempfile
import traceback

HERE = os.path.dirname(os.path.abspath(__file__))
TAIL_BYTES = 4000


def main():
    order = json.loads(sys.argv[1])
    answer = os.dup(1)  # ours alone: what packages print goes elsewhere

    def tell(number, code, printed, said):
        told = {"number": number, "code": code, "printed": tail(printed), "said": tail(said)}
        os.write(answer, (json.dumps(told) + "\n").encode())

    files = outputs()
    tell(0, run(order["scripts"][0], *files), *files)
    waiting, running = list(enumerate(order["scripts"]))[1:], {}
    while waiting or running:
        while waiting and len(running) < order["side_by_side"]:
            number, words = waiting.pop(0)
            files = outputs()
            pid = os.fork()
            if pid == 0:
                os._exit(run(words, *files))
            running[pid] = number, files
        pid, status = os.wait()
        if pid in running:  # and not a process that an import started
            number, files = running.pop(pid)
            code = -os.WTERMSIG(status) if os.WIFSIGNALED(status) else os.WEXITSTATUS(status)
            tell(number, code, *files)
    os._exit(0)  # without the farewells of libraries: the answers are out


def outputs():
    """Where a script may print and talk."""
    return tempfile.TemporaryFile(), tempfile.TemporaryFile()


def run(words, printed, said):
    """Run one script as if this were its own process; its exit code."""
    os.dup2(printed.fileno(), 1)
    os.dup2(said.fileno(), 2)
    sys.argv = words
    try:
        runpy.run_path(os.path.join(HERE, words[0]), run_name="__main__")
    except BaseException:
        traceback.print_exc()
        return 1
    return 0


def tail(file):
    """The last of what was written."""
    with file:
        file.seek(max(0, file.seek(0, os.SEEK_END) - TAIL_BYTES))
        return file.read().decode("utf-8", "replace")


if __name__ == "__main__":
    main()
