"""Lift-splat-shoot with a Swin backbone on nuScenes: vehicle segmentation in bird's-eye view.

Needs torch (2.4 or newer), numpy and pillow; Triton, which comes with torch's CUDA builds, makes it quick on a GPU.
It runs inside the environment that is to be trained in and never imports archfit.
"""
