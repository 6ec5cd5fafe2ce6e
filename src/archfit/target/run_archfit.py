"""Runs on a node, by whatever Python is there: unpack archfit, run it, answer with one line of JSON, leave nothing behind.

It comes as text (``python -c``) with a request and a zip of archfit on its standard input, or as the main program of that
zip (``python3 archfit.pyz doctor``); it uses the standard library and old syntax only. Ends with its parent; ends its child
with it.
"""

import contextlib
import ctypes
import io
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import zipfile

OLDEST = (3, 11)
# Run archfit from a folder without PYTHONPATH, which the environment that is looked at would inherit.
LAUNCH = "import sys; sys.path.insert(0, sys.argv.pop(1)); from archfit.__main__ import main; sys.exit(main())"
GRACE_SECONDS = 5.0
USED_BYTES = 1000000000  # what a driver keeps for itself on an idle GPU is less
BUSY_PERCENT = 5


class Stopped(Exception):
    """Somebody asked us to end."""


def main(stream):
    """Read a request and archfit, do what it asks, and return the answer."""
    request = json.loads(stream.readline().decode("utf-8"))
    python, found = find_python()
    if python is None:
        return {"state": "unfit", "python": ".".join(map(str, sys.version_info[:3])), "tried": found}
    folder = tempfile.mkdtemp(prefix="archfit-fleet-")
    try:
        zipfile.ZipFile(io.BytesIO(stream.read())).extractall(folder)
        return work(python, folder, request, time.time() + request["limit_s"])
    except Stopped:
        return {"state": "stopped"}
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def work(python, folder, request, deadline):
    """Run the doctor, and the verification if it is wanted and a GPU is free for it."""
    target = request["target"] or sys.executable
    environ = {k: v for k, v in os.environ.items() if k not in request["drop"]}
    environ.update(request["environ"], ARCHFIT_HOST=request["host"])
    command = [python, "-I", "-c", LAUNCH, folder]
    doctor = run(command + ["doctor", target, "--json"] + request["pretend"], environ, folder, deadline)
    answer = {"state": "done", "doctor": doctor}
    if request["level"] and doctor["code"] in (0, 3, 4):
        idle = None if request["busy_gpus"] or request["level"] != "kernels" else idle_gpus(doctor["out"])
        if idle == "":
            answer["verify"] = {"code": None, "out": "", "err": "busy"}
            return answer
        if idle:
            environ.update(CUDA_DEVICE_ORDER="PCI_BUS_ID", CUDA_VISIBLE_DEVICES=idle)
        words = ["verify", target, "--json", "--level", request["level"]] + request["pretend"]
        answer["verify"] = run(command + words, environ, folder, deadline)
    return answer


def idle_gpus(report):
    """The numbers of the GPUs that nobody uses, as CUDA_VISIBLE_DEVICES wants them; empty where none is known to be free."""
    states = json.loads(report)["environment"]["gpu_states"]
    return ",".join(str(number) for number, state in enumerate(states) if is_idle(state))


def is_idle(state):
    """Nobody computes on it: no process, no load, no memory but the driver's own."""
    used = state["total_bytes"] - state["free_bytes"]
    return not state["processes"] and state["busy_percent"] < BUSY_PERCENT and used < USED_BYTES


def carried(program, words):
    """Run the archfit in this zip as if it were installed; returns its exit code."""
    signal.signal(signal.SIGTERM, stop)
    python, _ = find_python()
    if python is None:
        sys.stderr.write("error: archfit needs Python 3.11 or newer, and neither PATH nor uv has one\n")
        return 3
    folder = tempfile.mkdtemp(prefix="archfit-fleet-")
    try:
        zipfile.ZipFile(program).extractall(folder)
        environ = dict(os.environ, ARCHFIT_PROGRAM="%s %s" % (os.path.basename(sys.executable), program))
        child = subprocess.Popen([python, "-I", "-c", LAUNCH, folder, *words], env=environ)
        try:
            return child.wait()
        except (KeyboardInterrupt, Stopped):
            child.terminate()
            return child.wait()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def find_python():
    """A Python that archfit runs on: this one, one on PATH, one that uv knows; and what was tried."""
    if sys.version_info[:2] >= OLDEST:
        return sys.executable, []
    names = ["python3.%d" % minor for minor in range(19, OLDEST[1] - 1, -1)] + ["python3"]
    tried = [path for path in map(shutil.which, names) if path]
    if shutil.which("uv"):
        said = subprocess.run(["uv", "python", "find", ">=3.11", "--no-python-downloads"], stdout=subprocess.PIPE)
        tried += said.stdout.decode().split("\n")[:1]
    question = "import sys; sys.exit(sys.version_info < (3, 11))"
    for path in tried:
        if path and not subprocess.call([path, "-I", "-c", question], stderr=subprocess.DEVNULL):
            return path, tried
    return None, tried


def run(command, environ, folder, deadline):
    """Run archfit in a session of its own; `code` is None where it took too long."""
    with open(os.path.join(folder, "stderr"), "w+b") as said:
        child = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=said, env=environ, cwd=folder,
            start_new_session=True,
        )  # fmt: skip
        try:
            out, _ = child.communicate(timeout=max(0.1, deadline - time.time()))
            code = child.returncode
        except subprocess.TimeoutExpired:
            out, code = b"", None
        finally:
            end(child)
        said.seek(0)
        words = said.read().decode("utf-8", "replace")[-2000:]
    return {"code": code, "out": out.decode("utf-8", "replace"), "err": words}


def end(child):
    """Ask archfit to end, so that it ends its own children; then insist, with all that it started."""
    family = descendants(child.pid) if child.poll() is None else []
    try:
        if child.poll() is None:
            child.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                child.communicate(timeout=GRACE_SECONDS)
    finally:  # we may be told to end just now
        family += descendants(child.pid) if child.poll() is None else []
        for pid in [child.pid, *family]:
            with contextlib.suppress(OSError):
                os.kill(pid, signal.SIGKILL)
        child.wait()


def descendants(pid):
    """The processes below one, by what Linux tells; none elsewhere."""
    children = {}
    for name in os.listdir("/proc") if os.path.isdir("/proc") else []:
        with contextlib.suppress(OSError, ValueError, IndexError):
            if name.isdigit():
                with open("/proc/%s/stat" % name) as page:
                    parent = int(page.read().rpartition(")")[2].split()[1])
                children.setdefault(parent, []).append(int(name))
    found, waiting = [], [pid]
    while waiting:
        below = children.get(waiting.pop(), [])
        found += below
        waiting += below
    return found


def stand_apart():
    """Go on as a child in a session of its own, while the process that was started waits for it.

    Ray kills the children of a task's process when that ends early. Then it is only the one that waits which is killed, and
    Linux tells us: we end our own children and take our folder away.
    """
    signal.signal(signal.SIGTERM, stop)
    if not hasattr(os, "fork"):
        return
    waiting = os.getpid()
    child = os.fork()
    if child:
        wait_for(child)
    os.setsid()
    with contextlib.suppress(AttributeError, OSError):  # no Linux: then our limit of time ends us
        ctypes.CDLL(None).prctl(1, signal.SIGTERM)
    if os.getppid() != waiting:
        raise Stopped


def wait_for(child):
    """Wait for the one that works, pass on that it should end, and end as it did."""
    while True:
        try:
            _, status = os.waitpid(child, 0)
            os._exit(status >> 8 if not status & 0xFF else 1)
        except Stopped:
            with contextlib.suppress(OSError):
                os.kill(child, signal.SIGTERM)


def stop(number, frame):
    """Unwind, so that folders and children go; but only once."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    raise Stopped


if __name__ == "__main__" and os.path.isfile(sys.argv[0]):
    sys.exit(carried(sys.argv[0], sys.argv[1:]))
elif __name__ == "__main__":
    try:
        stand_apart()
        ANSWER = main(sys.stdin.buffer)
    except Stopped:
        ANSWER = {"state": "stopped"}
    except Exception as error:
        ANSWER = {"state": "failed", "why": "%s: %s" % (type(error).__name__, error)}
    print(json.dumps(ANSWER))
