"""Child: run probes one after the other. Prints one line of JSON per probe.

The only argument is an order, as JSON: {"device": "cuda:0", "fork": true, "probes": [{"name": …, "entry": "module:function",
"seconds": 60}]}. With "fork", torch is imported once, without touching CUDA, and each probe runs in a fork of that process: a
crash, a hang or a poisoned CUDA context ends that fork alone. Without it, the probes run in this very process.
"""

import contextlib
import ctypes
import faulthandler
import importlib
import json
import os
import select
import signal
import sys
import tempfile
import time
import traceback

HERE = os.path.dirname(os.path.abspath(__file__))
TAIL_BYTES = 4000


def main():
    order = json.loads(sys.argv[1])
    answer = os.dup(1)  # ours alone: what packages print goes to stderr
    os.dup2(2, 1)
    sys.path[:] = [p for p in sys.path if os.path.abspath(p or ".") != HERE]
    sys.path.append(HERE)  # last: what the target calls by the same name is found first
    if order["fork"]:
        with contextlib.suppress(BaseException):  # a probe that needs torch says what is wrong with it
            importlib.import_module("torch")
    for row in order["probes"]:
        told = forked(row, order) if order["fork"] else attempt(row, order)
        told["name"] = row["name"]
        os.write(answer, (json.dumps(told) + "\n").encode())
    os._exit(0)  # without the farewells of libraries: the answers are out


def attempt(row, order):
    """Run one probe here; what it found, why it was skipped, or how it failed."""
    started = time.time()
    told = {"comparisons": [], "figures": {}, "facts": {}, "skip": None, "error": None}
    kit_module = importlib.import_module("probe_kit")
    kit = kit_module.Kit(row.get("device") or order["device"])
    try:
        module, _, function = row["entry"].partition(":")
        getattr(importlib.import_module(module), function)(kit)
        kit.synchronize() if "torch" in sys.modules else None
    except kit_module.Skip as skip:
        told["skip"] = {"key": skip.key, "values": skip.values_}
    except BaseException as error:  # SystemExit and friends are failures here too
        told["error"] = words(error)
        told["trace"] = traceback.format_exc()[-TAIL_BYTES:]
    told["comparisons"], told["figures"], told["facts"] = kit.comparisons, kit.figures, kit.facts
    told["seconds"] = round(time.time() - started, 3)
    return told


def words(error):
    """The first lines of an error that say something; torch repeats the same advice below every CUDA error."""
    advice = (
        "CUDA kernel errors might be",
        "For debugging consider",
        "Compile with `TORCH_USE_CUDA_DSA`",
        "Search for `",
    )
    lines = [line.strip() for line in str(error).splitlines()]
    lines = [line for line in lines if line and not line.startswith(advice)]
    return "%s: %s" % (type(error).__name__, " ".join(lines[:6])[:600])


def forked(row, order):
    """Run one probe in a fork of this process; how the fork ended is part of what is told."""
    started = time.time()
    read_end, write_end = os.pipe()
    with tempfile.TemporaryFile() as talk:
        pid = os.fork()
        if pid == 0:
            _be_the_probe(row, order, write_end, talk)
        os.close(write_end)
        line, ended = _listen(pid, read_end, started + row["seconds"])
        os.close(read_end)
        said = _tail(talk)
    told = _decode(line)
    if told is None:
        told = {"comparisons": [], "figures": {}, "facts": {}, "skip": None, "error": None}
        told["ended"] = dict(ended, said=said)
    told["seconds"] = round(time.time() - started, 3)
    return told


def _be_the_probe(row, order, write_end, talk):
    with contextlib.suppress(Exception):
        os.setsid()
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # end with the parent: PR_SET_PDEATHSIG
    os.dup2(talk.fileno(), 1)
    os.dup2(talk.fileno(), 2)
    faulthandler.enable(sys.__stderr__)
    told = attempt(row, order)
    os.write(write_end, (json.dumps(told) + "\n").encode())
    os._exit(0)


def _listen(pid, read_end, deadline):
    """The answer of a fork, and how it ended: a whole line, the end of the process, or the deadline."""
    text, status, open_ = b"", None, True
    while b"\n" not in text and time.time() < deadline:
        if open_ and select.select([read_end], [], [], 0.05)[0]:
            chunk = os.read(read_end, 65536)
            text, open_ = text + chunk, bool(chunk)
            continue
        gone, how = os.waitpid(pid, os.WNOHANG)  # it may be, though something that it started still holds the pipe
        if gone:
            status = how
            break
        if not open_:
            time.sleep(0.02)
    _end(pid, status)
    if status is None:
        return text, {"hung": True}
    if os.WIFSIGNALED(status):
        return text, {"signal": os.WTERMSIG(status)}
    return text, {"code": os.WEXITSTATUS(status)}


def _end(pid, status):
    """End the fork and whatever it started, and let it go."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, signal.SIGKILL)
    if status is None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
        with contextlib.suppress(ChildProcessError):
            os.waitpid(pid, 0)


def _decode(text):
    try:
        told = json.loads(text.decode("utf-8", "replace"))
    except ValueError:
        return None
    return told if isinstance(told, dict) and "comparisons" in told else None


def _tail(talk):
    """What the fork said last: where it crashed, mostly."""
    end = talk.seek(0, os.SEEK_END)
    talk.seek(max(0, end - TAIL_BYTES))
    return talk.read().decode("utf-8", "replace").strip()


if __name__ == "__main__":
    main()
