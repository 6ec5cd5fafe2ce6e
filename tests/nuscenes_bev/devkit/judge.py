"""Runs in the devkit's environment: judge.py ROOT OUT writes OUT/judgement.json."""

from __future__ import annotations

import json
import sys
from collections import Counter
from pathlib import Path

import cv2
import numpy as np
from nuscenes import NuScenes
from nuscenes.eval.common.config import config_factory
from nuscenes.eval.detection.evaluate import DetectionEval
from nuscenes.eval.detection.utils import category_to_detection_name
from nuscenes.utils.geometry_utils import view_points
from nuscenes.utils.splits import create_splits_scenes

from nuscenes_bev import geometry
from nuscenes_bev.frames import CAMERAS, Frames, load_frames
from nuscenes_bev.samples import raster

GRID = ((-50.0, 50.0, 0.5), (-50.0, 50.0, 0.5))


def main() -> None:
    root, out = Path(sys.argv[1]), Path(sys.argv[2])
    nusc = NuScenes("v1.0-mini", str(root), verbose=False)
    frames = load_frames(root)
    found = {"samples": len(nusc.sample), "boxes": len(nusc.sample_annotation)}
    found |= evaluate(nusc, out) | compare_pixels(nusc, frames) | compare_labels(frames)
    (out / "judgement.json").write_text(json.dumps(found))


def evaluate(nusc: NuScenes, out: Path) -> dict:
    """Ground truth of the validation scenes as predictions."""
    names = set(create_splits_scenes()["mini_val"])
    results: dict = {}
    for sample in nusc.sample:
        if nusc.get("scene", sample["scene_token"])["name"] not in names:
            continue
        rows = results.setdefault(sample["token"], [])
        for token in sample["anns"]:
            row = nusc.get("sample_annotation", token)
            name = category_to_detection_name(row["category_name"])
            if name is None:
                continue
            attribute = nusc.get("attribute", row["attribute_tokens"][0])["name"] if row["attribute_tokens"] else ""
            rows.append(
                {
                    "sample_token": sample["token"],
                    "translation": row["translation"],
                    "size": row["size"],
                    "rotation": row["rotation"],
                    "velocity": [0.0, 0.0],
                    "detection_name": name,
                    "detection_score": 1.0,
                    "attribute_name": attribute,
                }
            )
    uses = dict.fromkeys(("use_camera", "use_lidar", "use_radar", "use_map", "use_external"), False)
    (out / "results.json").write_text(json.dumps({"meta": uses, "results": results}))
    config = config_factory("detection_cvpr_2019")
    evaluation = DetectionEval(nusc, config, str(out / "results.json"), "mini_val", str(out), verbose=False)
    metrics = evaluation.main(0, False)
    classes = Counter(box.detection_name for box in evaluation.gt_boxes.all)  # those that its own filters leave
    return {"mean_dist_aps": metrics["mean_dist_aps"], "classes": classes}


def compare_pixels(nusc: NuScenes, frames: Frames) -> dict:
    """Centres of boxes in the images: the devkit's chain against ours."""
    worst, compared = 0.0, 0
    numbers = {str(token): i for i, token in enumerate(frames.tokens)}
    for sample in nusc.sample:
        number = numbers[sample["token"]]
        mine = frames.boxes[slice(*frames.offsets[number : number + 2])]
        for camera, name in enumerate(CAMERAS):
            # The devkit moves boxes from the world; ours are already in the lidar's ego frame: go back by its pose.
            path, boxes, intrinsics = nusc.get_sample_data(sample["data"][name], use_flat_vehicle_coordinates=False)
            assert Path(path).name == Path(str(frames.files[number, camera])).name
            pixels, depth = geometry.project(
                mine[:, :3], frames.ego_T_cam[number, camera], frames.intrinsics[number, camera]
            )
            for box in boxes:
                if not box.name.startswith("vehicle."):
                    continue
                theirs = view_points(box.center[:, None], np.array(intrinsics), normalize=True)[:2, 0]
                distances = np.abs(pixels - theirs).max(1) + np.where(np.abs(depth - box.center[2]) < 0.05, 0, 1e9)
                worst, compared = max(worst, float(distances.min())), compared + 1
    return {"worst_pixel": worst, "pixels_compared": compared}


def compare_labels(frames: Frames) -> dict:
    """Our raster against OpenCV's, over all frames."""
    both = either = ours = theirs = 0
    for number in range(len(frames.tokens)):
        corners = frames.vehicles(number)[0][:, :4, :2]
        canvas = np.zeros((200, 200))
        for polygon in corners:  # as LSS's data.py does
            cells = np.round((polygon + 50.0) / 0.5).astype(np.int32)
            cells[:, [1, 0]] = cells[:, [0, 1]]
            cv2.fillPoly(canvas, [cells], 1.0)
        mine = raster(corners, GRID)
        both, either = both + ((canvas > 0) & (mine > 0)).sum(), either + ((canvas > 0) | (mine > 0)).sum()
        ours, theirs = ours + mine.sum(), theirs + (canvas > 0).sum()
    return {"fill_poly_iou": float(both / either), "area_ratio": float(ours / theirs)}


if __name__ == "__main__":
    main()
