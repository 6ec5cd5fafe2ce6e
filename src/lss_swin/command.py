"""What the commands share: their words, their talk, and how they end."""

from __future__ import annotations

import argparse
import functools
import os
import sys
from collections.abc import Callable

import torch

from bev_ops.backend import TritonError
from lss_swin import runtime
from nuscenes_bev.errors import UsageError

FAILED, USAGE, NO_GPU, INTERRUPTED = 1, 2, 4, 130
_FIRST = os.environ.get("RANK", "0") == "0"  # of the processes of torchrun


def parser_for(what: str, examples: str) -> argparse.ArgumentParser:
    """Words that all commands share."""
    kind = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=what, epilog=examples, formatter_class=kind)
    gpus = "GPUs, one process each (torchrun); default: 0"
    parser.add_argument("--gpu-ids", type=int, nargs="+", metavar="N", help=gpus)
    device = "cpu: say so to compute without a GPU; there is no silent fall-back"
    parser.add_argument("--device", choices=["cuda", "cpu"], help=device)
    options = "change the configuration: total_iters=10 data.root=/data/nuscenes"
    parser.add_argument("--cfg-options", nargs="+", default=[], metavar="KEY=VALUE", help=options)
    return parser


def guarded(command: Callable[[list[str] | None], None]) -> Callable[..., int]:
    """A command of which every ending is one sentence and an exit code.

    Returns:
        A function that takes the arguments; 0 done, 1 failed, 2 asked for what cannot be, 4 no usable GPU, 130 interrupted.
    """

    @functools.wraps(command)
    def run(arguments: list[str] | None = None) -> int:
        try:
            command(arguments)
            return 0
        except KeyboardInterrupt:
            say("interrupted")
            return INTERRUPTED
        except UsageError as exc:
            code, words = USAGE, _sentence(exc)
        except runtime.GpuError as exc:
            code, words = NO_GPU, f"{exc}\nhint: --device cpu computes without a GPU\n\n{runtime.diagnosis()}"
        except torch.cuda.OutOfMemoryError as exc:
            code, words = FAILED, f"{str(exc).splitlines()[0]}\nhint: a smaller --cfg-options data.batch_size=N"
        except (OSError, FloatingPointError, TritonError) as exc:
            code, words = FAILED, str(exc)
        print(f"error: {words}", file=sys.stderr, flush=True)
        return code

    return run


def _sentence(exc: UsageError) -> str:
    """What the error says; one that comes from a worker of the loader says it in the last line of a traceback."""
    text = str(exc).strip()
    return text.splitlines()[-1].partition("UsageError: ")[2] if "Original Traceback" in text else text


def say(text: str) -> None:
    """Talk goes to stderr; of several processes only the first talks."""
    if _FIRST:
        print(text, file=sys.stderr, flush=True)


def bar(done: int, total: int) -> None:
    """A counter on a terminal, silence in a log."""
    if _FIRST and sys.stderr.isatty():
        print(f"\r{done}/{total} batches", end="\n" if done == total else "", file=sys.stderr, flush=True)
