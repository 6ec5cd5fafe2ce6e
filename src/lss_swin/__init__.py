"""Lift-splat-shoot with a Swin backbone on nuScenes: vehicle segmentation in bird's-eye view.

Needs torch (2.4 or newer), numpy and pillow; Triton, which comes with torch's CUDA builds, makes it quick on a GPU.
It runs inside the environment that is to be trained in and never imports archfit.
"""

from __future__ import annotations

import os

# PyTorch's threads on the CPU wait for each other by spinning, which takes the processor from the one that is waited for as
# soon as anything else runs: the tiny training took 61 s so and 19 s asleep; on quiet cores sleeping costs 4 %. It is read
# when torch is loaded, so it stands here.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")
