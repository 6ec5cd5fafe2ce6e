"""Pictures of what a model sees: six cameras with boxes, prediction and truth in bird's-eye view, as PNG."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import torch

from lss_swin.command import checkpoint_parser, guarded, open_given
from lss_swin.data import on_device, validation_loader
from lss_swin.evaluate import predict
from nuscenes_bev.pictures import draw_frame


def main(arguments: list[str] | None = None) -> int:
    """`tools/visualize.py`."""
    example = "python tools/visualize.py runs/baseline --out pictures --frames 5"
    parser = checkpoint_parser("Draw what a checkpoint predicts.", example)
    parser.add_argument("--out", type=Path, required=True, help="folder for the pictures")
    parser.add_argument("--frames", type=int, default=4, help="how many, spread over the split; default 4")
    return guarded(lambda: _visualize(parser.parse_args(arguments)))


def _visualize(given: argparse.Namespace) -> int:
    it = open_given(given)
    frames = it.frames
    loader = validation_loader(frames, it.config, given.split, take=max(1, given.frames))
    given.out.mkdir(parents=True, exist_ok=True)
    for batch in on_device(loader, it.device):
        with torch.inference_mode():
            probability = predict(it.model, batch, it.precision).sigmoid()
        maps = zip(batch["frame"].tolist(), probability[:, 0].cpu().numpy(), batch["label"][:, 0].cpu().numpy())
        for frame, predicted, label in maps:
            path = given.out / f"{frames.scenes[frame]}-{frames.tokens[frame][:8]}.png"
            draw_frame(frames, frame, predicted, label).save(path)
            print(path)
    return 0


if __name__ == "__main__":
    sys.exit(main())
