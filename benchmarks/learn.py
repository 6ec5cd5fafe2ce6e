"""Does it learn? Train on generated frames, measure IoU on them and on scenes never seen; write numbers and a curve.

    python benchmarks/learn.py --out runs/learn                       # on a GPU, three minutes
    python benchmarks/learn.py --out runs/learn --device cpu --steps 400 --config configs/baseline/lss_swin_tiny.py

Images of 352x198 in a network of 128x352; 100 scenes of 4 frames, every fifth scene is held out.
Augmentation is weaker than in the configuration, so that the training frames, too, are learned in a few minutes;
with all of it (--cfg-options augment.bev_flip=0.5 augment.bev_rotate=22.5 ...) unseen scenes gain and training frames lose.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path

import torch
from PIL import Image, ImageDraw

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "src"))
from bev_ops import backend
from lss_swin import runtime
from lss_swin.config import load_config
from lss_swin.data import on_device, open_frames, training_loader, validation_loader
from lss_swin.evaluate import evaluate
from lss_swin.trainer import Trainer


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--config", default="configs/baseline/lss_swin_nuscenes.py")
    parser.add_argument("--device", choices=["cuda", "cpu"])
    parser.add_argument("--steps", type=int, default=3000)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--every", type=int, default=500)
    parser.add_argument("--cfg-options", nargs="+", default=[])
    given = parser.parse_args()
    device = runtime.pick_device(None, given.device)
    options = [f"data.batch_size={given.batch}", f"total_iters={given.steps}", "image_size=(128, 352)", "graph=True"]
    options += ["data.synthetic.scenes=100", "data.synthetic.frames=4"]
    options += ["augment.bev_flip=0.0", "augment.bev_rotate=5.0", "augment.zoom=(0.98,1.04)", "augment.rotate=1.0"]
    options += given.cfg_options
    config = load_config(given.config, options)
    backend.choose(device)
    frames = open_frames(config)
    trainer = Trainer(config, device, runtime.pick_precision("auto", device), given.steps)
    trainer.model.train()
    given.out.mkdir(parents=True, exist_ok=True)
    facts = runtime.describe(device) | {
        "batch": given.batch,
        "config": given.config,
        "training_frames": len(frames.split("train")),
        "unseen_frames": len(frames.split("val")),
    }
    curve, losses, began = [], [], time.perf_counter()
    for batch in on_device(training_loader(frames, config, range(given.steps)), device):
        losses.append(trainer.train_step(batch))
        if trainer.step % given.every == 0 or trainer.step == given.steps:
            curve.append(measure(trainer, frames, torch.stack(losses[-given.every :]).mean()))
            print({k: round(v, 4) for k, v in curve[-1].items()}, flush=True)
            keep(given.out, facts | {"seconds": time.perf_counter() - began, "curve": curve})
    print(given.out / "learning.png")
    return 0


def keep(folder: Path, result: dict[str, object]) -> None:
    """Write what there is so far: a run that is cut off has still measured something."""
    (folder / "learning.json").write_text(json.dumps(result, indent=1))
    draw(result["curve"]).save(folder / "learning.png")


def measure(trainer: Trainer, frames: object, loss: torch.Tensor) -> dict[str, float]:
    """Mean loss since the last time; IoU without augmentation on training frames and on unseen scenes."""
    found = {}
    for split, name in (("train", "training"), ("val", "unseen")):
        loader = validation_loader(frames, trainer.config, split)
        found[name] = evaluate(trainer.bare, loader, trainer.precision)["iou"]
    return {"step": trainer.step, "loss": float(loss), **found}


def draw(curve: list[dict[str, float]], width: int = 720, height: int = 400) -> Image.Image:
    """IoU over steps, both splits, with the two bars of the specification (0.6 and 0.3)."""
    image = Image.new("RGB", (width, height), "white")
    pen = ImageDraw.Draw(image)
    left, top, right, bottom = 60, 30, width - 130, height - 45
    last = curve[-1]["step"]

    def at(step: float, iou: float) -> tuple[float, float]:
        return left + (right - left) * step / last, bottom - (bottom - top) * iou

    for tenth in range(0, 11, 2):
        pen.line([at(0, tenth / 10), at(last, tenth / 10)], fill="#e5e5e5")
        pen.text((left - 28, at(0, tenth / 10)[1] - 6), f"{tenth / 10:.1f}", fill="#444")
    for name, colour, bar in (("training", "#1f5fbf", 0.6), ("unseen", "#c2571a", 0.3)):
        points = [at(0, 0), *(at(row["step"], row[name]) for row in curve)]
        for x in range(left, right, 8):
            pen.line([(x, at(0, bar)[1]), (x + 4, at(0, bar)[1])], fill=colour)
        pen.line(points, fill=colour, width=3)
        pen.text((right + 8, points[-1][1] - 6), f"{name} {curve[-1][name]:.2f}", fill=colour)
        pen.text((right + 8, at(0, bar)[1] - 6), f"bar {bar}", fill=colour)
    for row in curve[:: max(1, len(curve) // 5)]:
        pen.text((at(row["step"], 0)[0] - 10, bottom + 6), str(row["step"]), fill="#444")
    pen.text((left, top - 20), "vehicle IoU, generated frames (synthetic)", fill="#222")
    pen.text(((left + right) // 2 - 20, height - 22), "iterations", fill="#444")
    pen.line([(left, top), (left, bottom), (right, bottom)], fill="#222")
    return image


if __name__ == "__main__":
    sys.exit(main())
