"""The same model made small: for continuous integration and computers without a GPU. Seconds, not accuracy."""

_base_ = "./lss_swin_nuscenes.py"

total_iters = 10
data = dict(batch_size=2, workers=0)
image_size = (128, 352)
grid = dict(x=(-50.0, 50.0, 1.0), y=(-50.0, 50.0, 1.0))
depth = (1.0, 49.0, 2.0)
model = dict(swin=dict(dim=48, depths=(1, 1, 2, 1)), neck=128, channels=32, bev=(32, 64, 128))
optimizer = dict(lr=48e-3, warmup=0.2)  # ten iterations must show that the loss falls
