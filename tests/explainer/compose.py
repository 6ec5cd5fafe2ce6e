"""Make many hard logs of a few: cut, prefixed, coloured, wrapped, interleaved, encoded, drowned in noise.

Everything is drawn from a seeded generator, so that a failure can be repeated.
"""

from __future__ import annotations

import json
import random
import textwrap
from collections.abc import Callable

Random = random.Random

NOISE = """
Collecting numpy<2.0 (from -r requirements.txt (line 3))
  Downloading numpy-1.26.4-cp311-cp311-manylinux_2_17_x86_64.whl (18.3 MB)
Requirement already satisfied: filelock in /opt/venv/lib/python3.11/site-packages (from torch) (3.13.1)
Loading checkpoint shards:  33%|███▎      | 1/3 [00:02<00:05,  2.61s/it]
2025-06-01 12:00:01 INFO config: model=llama lr=2e-5 epochs=3
wandb: Tracking run with wandb version 0.16.2
Some weights of BertForSequenceClassification were not initialized from the model checkpoint
The attention mask and the pad token id were not set. As a consequence, you may observe unexpected behavior.
/opt/venv/lib/python3.11/site-packages/torch/utils/data/dataloader.py:557: UserWarning: This DataLoader will create 8 worker processes in total.
UserWarning: pkg_resources is deprecated as an API. See https://setuptools.pypa.io/en/latest/pkg_resources.html
FutureWarning: `torch.cuda.amp.autocast(args...)` is deprecated. Please use `torch.amp.autocast('cuda', args...)` instead.
FutureWarning: You are using `torch.load` with `weights_only=False` (the current default value)
UserWarning: There are no g++ version bounds defined for CUDA version 12.1
NCCL INFO NET/Plugin: Plugin load returned 2 : libnccl-net.so: cannot open shared object file: No such file or directory
E0000 00:00:1743423793.123456 8123 cuda_dnn.cc:8579] Unable to register cuDNN factory: Attempting to register factory for plugin cuDNN when one has already been registered
huggingface/tokenizers: The current process just got forked, after parallelism has already been used. Disabling parallelism to avoid deadlocks...
No CUDA runtime is found, using CUDA_HOME='/usr/local/cuda'
WARNING 06-20 09:11:02 [_ipex_ops.py:16] Import error msg: No module named 'intel_extension_for_pytorch'
[W socket.cpp:663] [c10d] The client socket has failed to connect to [::]:29500 (errno: 97 - Address family not supported by protocol).
Setting OMP_NUM_THREADS environment variable for each process to be 1 in default, to avoid your system being overloaded
0%|          | 0/1000 [00:00<?, ?it/s]
正在加载模型，请稍候……
数据集加载完成，共 28130 个样本
""".strip().split("\n")

AFTER = """
[W ProcessGroupNCCL.cpp:1250] WARNING: process group has NOT been destroyed before we destruct ProcessGroupNCCL.
terminate called without an active exception
Aborted (core dumped)
E0620 09:11:06.000000 140 torch/distributed/elastic/multiprocessing/api.py:869] failed (exitcode: 1) local_rank: 0 (pid: 4242) of binary: /opt/venv/bin/python
torch.distributed.elastic.multiprocessing.errors.ChildFailedError:
Root Cause (first observed failure):
srun: error: node03: task 0: Exited with exit code 1
make: *** [Makefile:12: run] Error 1
""".strip().split("\n")

PREFIXES: tuple[Callable[[Random], str], ...] = (
    lambda r: f"[rank{r.randrange(8)}]: ",
    lambda r: "trainer-1  | ",
    lambda r: "2025-06-20T09:11:02.123456789Z ",
    lambda r: "Jun 20 09:11:02 gpu-node-3 python[2231]: ",
    lambda r: "(EngineCore_DP0 pid=333) ",
    lambda r: "ERROR 06-20 09:11:04 [core.py:400] ",
    lambda r: "#12 34.56 ",
    lambda r: "> ",
    lambda r: "E   ",
    lambda r: "[default0]:",
    lambda r: "[1,0]<stderr>:",
    lambda r: "2025-06-20 09:11:02,123 - mmdet - ERROR - ",
    lambda r: "[2025-06-20 09:11:02,123] [ERROR] [launch.py:315:sigkill_handler] ",
    lambda r: "2025-06-20T09:11:02.123456789Z stderr F ",
)


def noise_before(text: str, r: Random) -> str:
    return "\n".join([*r.choices(NOISE, k=r.randrange(3, 25)), text])


def noise_after(text: str, r: Random) -> str:
    return "\n".join([text, *r.sample(AFTER, k=r.randrange(1, 5))])


def prefixed(text: str, r: Random) -> str:
    prefix = r.choice(PREFIXES)(r)
    return "\n".join(prefix + line for line in text.split("\n"))


def coloured(text: str, r: Random) -> str:
    def paint(line: str) -> str:
        head, dot, rest = line.partition(":")
        return f"\x1b[1;31m{head}\x1b[0m{dot}\x1b[36m{rest}\x1b[0m" if r.random() < 0.7 else line

    return "\n".join(map(paint, text.split("\n")))


def wrapped(text: str, r: Random) -> str:
    width = r.randrange(50, 120)
    lines = []
    for line in text.split("\n"):
        lines += textwrap.wrap(line, width, replace_whitespace=False, drop_whitespace=False) or [""]
    return "\n".join(lines)


def hard_wrapped(text: str, r: Random) -> str:
    """As a terminal breaks lines: at the edge, in the middle of a word."""
    width = r.randrange(60, 140)
    return "\n".join(
        "\n".join(line[i : i + width] for i in range(0, max(1, len(line)), width)) for line in text.split("\n")
    )


def boxed(text: str, r: Random) -> str:
    lines = [f"│ {line:<100} │" for line in text.split("\n")]
    return "\n".join(["╭" + "─" * 102 + "╮", *lines, "╰" + "─" * 102 + "╯"])


def interleaved(text: str, r: Random) -> str:
    """The same on several ranks, line by line mixed."""
    ranks = [[f"[rank{rank}]: {line}" for line in text.split("\n")] for rank in range(r.randrange(2, 5))]
    mixed = []
    while any(ranks):
        queue = r.choice([q for q in ranks if q])
        mixed.append(queue.pop(0))
    return "\n".join(mixed)


def json_lines(text: str, r: Random) -> str:
    return "\n".join(
        json.dumps({"log": line + "\n", "stream": "stderr", "time": "2025-06-20T09:11:02Z"})
        for line in text.split("\n")
    )


def crlf(text: str, r: Random) -> str:
    return text.replace("\n", "\r\n")


def quotes(text: str, r: Random) -> str:
    """As mail programs and forums change them."""
    return text.replace(" '", " ‘").replace("' ", "’ ").replace("--", "–")


def indented(text: str, r: Random) -> str:
    return textwrap.indent(text, " " * r.choice((4, 6, 10)))


VARY: dict[str, Callable[[str, Random], str]] = {
    f.__name__: f
    for f in (
        noise_before, noise_after, prefixed, coloured, wrapped, hard_wrapped, boxed, interleaved, json_lines, crlf, quotes, indented,
    )
}  # fmt: skip

ENCODINGS = ("utf-8", "utf-8-sig", "utf-16", "utf-16-le", "gb18030")


def compose(text: str, r: Random) -> tuple[str, list[str]]:
    """A hard log made of `text`, and what was done to it, in order."""
    first = ["noise_before"] if r.random() < 0.6 else []
    names = [*first, *(["noise_after"] if r.random() < 0.4 else [])]
    names += r.sample([n for n in VARY if not n.startswith("noise")], k=r.randrange(0, 3))
    if "json_lines" in names:
        names = [n for n in names if n != "json_lines"] + ["json_lines"]
    text = text.strip("\n")
    for name in names:
        text = VARY[name](text, r)
    return text, names


def encoded(text: str, r: Random) -> tuple[bytes, str]:
    name = r.choice(ENCODINGS)
    return text.encode(name, "replace"), name
