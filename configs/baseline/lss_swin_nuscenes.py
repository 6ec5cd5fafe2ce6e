"""LSS with Swin-T on nuScenes: vehicle segmentation in bird's-eye view, 256x704, ±50 m at 0.5 m.

Change a value on the command line: --cfg-options total_iters=10 data.batch_size=2
"""

total_iters = None  # None: `epochs` over the training frames
epochs = 24
seed = 0
precision = "auto"  # bf16 where the hardware has it, else fp32
compile = False  # torch.compile: faster steps, costs a minute at the start
graph = False  # on a GPU, record the whole step as one CUDA graph: best together with compile
deterministic = False  # also cuDNN: the same bits every time, some percent slower
splat_backend = "auto"  # auto, triton or torch

data = dict(
    root=None,  # folder with v1.0-mini or v1.0-trainval; None: a synthetic set, made on first use
    version=None,  # None: trainval if it is there, else mini
    batch_size=8,  # per GPU
    workers=None,  # processes that decode images, per GPU; None: as the processor allows
    synthetic=dict(scenes=10, frames=2, width=352, height=198),
)

image_size = (256, 704)  # rows, columns
grid = dict(x=(-50.0, 50.0, 0.5), y=(-50.0, 50.0, 0.5), z=(-10.0, 10.0))  # metres: from, to, cell
depth = (1.0, 60.0, 1.0)  # metres: from, to, bin

augment = dict(
    zoom=(0.94, 1.11), flip=0.5, rotate=5.4,  # images: factor, probability, ± degrees
    bev_flip=0.5, bev_rotate=22.5, bev_scale=(0.95, 1.05),
)  # fmt: skip

model = dict(
    swin=dict(dim=96, depths=(2, 2, 6, 2), heads=(3, 6, 12, 24), window=7, drop_path=0.2),
    pretrained=None,  # local file with public Swin-T weights (Microsoft's or torchvision's names)
    neck=256,
    channels=64,
    bev=(64, 128, 256),
    norm="batch",  # batch, or group for very small batches
)

optimizer = dict(
    lr=4e-4, lr_batch=16, weight_decay=0.01, backbone=1.0, warmup=0.05, clip=5.0
)  # lr holds for lr_batch samples
pos_weight = 2.13

val = dict(every=None, max_frames=None, threshold=0.5)  # every: iterations; None: once, at the end
log_every = 10
checkpoint = dict(every=1000, keep=2)
tensorboard = False
