"""Pictures of what a model sees: six cameras with boxes, prediction and truth in bird's-eye view, as PNG."""

from __future__ import annotations

import sys
from pathlib import Path

import torch

from lss_swin.command import guarded
from lss_swin.data import on_device, validation_loader
from lss_swin.evaluate import checkpoint_parser, open_given, predict
from nuscenes_bev.pictures import draw_frame


@guarded
def main(arguments: list[str] | None) -> None:
    """`tools/visualize.py`."""
    example = "python tools/visualize.py runs/baseline --out pictures --frames 5"
    parser = checkpoint_parser("Draw what a checkpoint predicts.", example)
    parser.add_argument("--out", type=Path, required=True, help="folder for the pictures")
    parser.add_argument("--frames", type=int, default=4, help="how many, spread over the split; default 4")
    given = parser.parse_args(arguments)
    model, config, precision, frames = open_given(given)
    loader = validation_loader(frames, config, given.split, take=max(1, given.frames))
    given.out.mkdir(parents=True, exist_ok=True)
    for batch in on_device(loader, model.bins.device):
        with torch.inference_mode():
            probability = predict(model, batch, precision).sigmoid()
        maps = zip(batch["frame"].tolist(), probability[:, 0].cpu().numpy(), batch["label"][:, 0].cpu().numpy())
        for frame, predicted, label in maps:
            path = given.out / f"{frames.scenes[frame]}-{frames.tokens[frame][:8]}.png"
            draw_frame(frames, frame, predicted, label).save(path)
            print(path)


if __name__ == "__main__":
    sys.exit(main())
