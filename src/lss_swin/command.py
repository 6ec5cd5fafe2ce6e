"""What the commands share: their words, their talk, and how they end."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from dataclasses import dataclass

import torch

from bev_ops import backend
from lss_swin import runtime
from lss_swin.checkpoint import newest_checkpoint, open_model
from lss_swin.config import Config
from lss_swin.data import open_frames
from lss_swin.model import Lss
from nuscenes_bev.errors import UsageError
from nuscenes_bev.frames import Frames

FAILED, USAGE, NO_GPU, INTERRUPTED = 1, 2, 4, 130


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


def checkpoint_parser(what: str, example: str) -> argparse.ArgumentParser:
    """Words of the commands that open a checkpoint."""
    parser = parser_for(what, f"example: {example}")
    parser.add_argument("checkpoint", help="file written by tools/train.py, or its work folder (then the newest)")
    parser.add_argument("--split", choices=["train", "val"], default="val")
    return parser


@dataclass(frozen=True)
class Opened:
    """A checkpoint that is ready to predict, and the frames to do it for."""

    model: Lss
    config: Config
    device: torch.device
    precision: torch.dtype
    frames: Frames


def open_given(given: argparse.Namespace) -> Opened:
    """What the words of `checkpoint_parser` name.

    Raises:
        UsageError: no such checkpoint, or options that do not fit it.
        GpuError: no usable GPU, and nobody said that the CPU will do.
    """
    device = runtime.pick_device(given.gpu_ids, given.device)
    model, config = open_model(newest_checkpoint(given.checkpoint), device, given.cfg_options)
    backend.choose(device, config["splat_backend"])
    precision = runtime.pick_precision(config["precision"], device)
    return Opened(model, config, device, precision, open_frames(config, say))


def guarded(work: Callable[[], int]) -> int:
    """Run a command; every ending is one sentence and an exit code.

    Returns:
        0 done, 1 failed, 2 asked for what cannot be, 4 no usable GPU, 130 interrupted.
    """
    try:
        return work()
    except KeyboardInterrupt:
        say("interrupted")
        return INTERRUPTED
    except UsageError as exc:
        code, words = USAGE, _sentence(exc)
    except runtime.GpuError as exc:
        code, words = NO_GPU, f"{exc}\nhint: --device cpu computes without a GPU\n\n{runtime.diagnosis()}"
    except torch.cuda.OutOfMemoryError as exc:
        code, words = FAILED, f"{str(exc).splitlines()[0]}\nhint: a smaller --cfg-options data.batch_size=N"
    except (OSError, FloatingPointError) as exc:
        code, words = FAILED, str(exc)
    say(f"error: {words}")
    return code


def _sentence(exc: UsageError) -> str:
    """What the error says; one that comes from a worker of the loader says it in the last line of a traceback."""
    text = str(exc).strip()
    return text.splitlines()[-1].partition("UsageError: ")[2] if "Original Traceback" in text else text


def say(text: str) -> None:
    """Talk goes to stderr."""
    print(text, file=sys.stderr, flush=True)


def bar(done: int, total: int) -> None:
    """A counter on a terminal, silence in a log."""
    if sys.stderr.isatty():
        print(f"\r{done}/{total} batches", end="\n" if done == total else "", file=sys.stderr, flush=True)
