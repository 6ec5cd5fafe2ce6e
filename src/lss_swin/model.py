"""Lift, splat, shoot: camera images to a map of vehicles.

Letters: B batch, N cameras, H W feature map (stride 16), D depth bins, C channels, X Y grid cells.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bev_ops import backend
from bev_ops.cells import find_cells
from bev_ops.splat import splat
from bev_ops.upsample import Upsample
from lss_swin.config import Config, places
from lss_swin.swin import Norm, Swin, convert
from nuscenes_bev.errors import UsageError

STRIDE = 16
_MEAN, _STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
_FIRST_BIAS = -2.0  # vehicles fill about 3 % of the cells
_LEAST = {
    **dict.fromkeys(("total_iters", "epochs", "data.batch_size", "log_every", "checkpoint.every"), 1),
    **dict.fromkeys(("val.max_frames", "model.swin.window", "optimizer.lr_batch"), 1),
    "data.workers": 0,
}


def conv(inputs: int, outputs: int, kernel: int, norm: str, stride: int = 1) -> nn.Sequential:
    """Convolution, normalisation, ReLU."""
    layer = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, bias=False)
    return nn.Sequential(layer, normalisation(outputs, norm), nn.ReLU(inplace=True))


def normalisation(channels: int, kind: str) -> nn.Module:
    """Batch normalisation, or group normalisation with up to 8 groups."""
    if kind == "batch":
        return nn.BatchNorm2d(channels)
    if kind == "group":
        return nn.GroupNorm(min(8, channels), channels)
    raise UsageError(f"model.norm {kind!r} is not known; known: batch, group")


class Neck(nn.Module):
    """Swin's maps of stride 32 and 16 to one of stride 16."""

    def __init__(self, dim: int, outputs: int, size: tuple[int, int], norm: str) -> None:
        super().__init__()
        self.norm16, self.norm32 = Norm(4 * dim), Norm(8 * dim)
        self.up = Upsample(size[0] // 32, size[1] // 32, 2)
        self.convs = nn.Sequential(conv(12 * dim, outputs, 3, norm), conv(outputs, outputs, 3, norm))

    def forward(self, s16_BHWC: Tensor, s32_BHWC: Tensor) -> Tensor:
        coarse = self.up(self.norm32(s32_BHWC).permute(0, 3, 1, 2))
        return self.convs(torch.cat([coarse, self.norm16(s16_BHWC).permute(0, 3, 1, 2)], 1))


class Residual(nn.Module):
    """Two 3x3 convolutions beside a shortcut."""

    def __init__(self, inputs: int, outputs: int, stride: int, norm: str) -> None:
        super().__init__()
        second = nn.Sequential(nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False), normalisation(outputs, norm))
        self.body = nn.Sequential(conv(inputs, outputs, 3, norm, stride), *second)
        same = inputs == outputs and stride == 1
        shortcut = (nn.Conv2d(inputs, outputs, 1, stride, bias=False), normalisation(outputs, norm))
        self.shortcut = nn.Identity() if same else nn.Sequential(*shortcut)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.body(x) + self.shortcut(x))


class BevEncoder(nn.Module):
    """LSS's ResNet-18 of three stages with one skip, back to the full grid."""

    def __init__(self, inputs: int, grid: tuple[int, int], widths: tuple[int, int, int], norm: str) -> None:
        super().__init__()
        a, b, c = widths
        self.stem = conv(inputs, a, 7, norm, stride=2)
        self.fine = nn.Sequential(Residual(a, a, 1, norm), Residual(a, a, 1, norm))
        self.middle = nn.Sequential(Residual(a, b, 2, norm), Residual(b, b, 1, norm))
        self.coarse = nn.Sequential(Residual(b, c, 2, norm), Residual(c, c, 1, norm))
        half = [(n + 1) // 2 for n in grid]
        self.up4 = Upsample((half[0] + 3) // 4, (half[1] + 3) // 4, 4)
        self.join = nn.Sequential(conv(a + c, c, 3, norm), conv(c, c, 3, norm))
        self.up2 = Upsample(half[0], half[1], 2)
        self.head = nn.Sequential(conv(c, b, 3, norm), nn.Conv2d(b, 1, 1))
        nn.init.constant_(self.head[-1].bias, _FIRST_BIAS)

    def forward(self, bev_BCXY: Tensor) -> Tensor:
        fine = self.fine(self.stem(bev_BCXY))
        coarse = self.up4(self.coarse(self.middle(fine)))[:, :, : fine.shape[2], : fine.shape[3]]
        full = self.up2(self.join(torch.cat([coarse, fine], 1)))[:, :, : bev_BCXY.shape[2], : bev_BCXY.shape[3]]
        return self.head(full)


class Lss(nn.Module):
    """Images and matrices in, logits of "a vehicle is here" out."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.size = tuple(config["image_size"])
        self.grid = {axis: tuple(config["grid"][axis]) for axis in "xyz"}
        self.cells = check_sizes(config)
        model = config["model"]
        near, far, step = config["depth"]
        self.register_buffer("bins", torch.arange(near + step / 2, far, step), persistent=False)  # centres, metres
        self.swin = Swin(**model["swin"])
        self.neck = Neck(model["swin"]["dim"], model["neck"], self.size, model["norm"])
        self.lift = nn.Conv2d(model["neck"], len(self.bins) + model["channels"], 1)
        self.bev = BevEncoder(model["channels"], self.cells, tuple(model["bev"]), model["norm"])
        self.register_buffer("mean", torch.tensor(_MEAN).reshape(3, 1, 1) * 255, persistent=False)
        self.register_buffer("std", torch.tensor(_STD).reshape(3, 1, 1) * 255, persistent=False)

    def forward(self, images_BNHW3: Tensor, source_from_input_BN33: Tensor, pixel_to_ego_BN44: Tensor) -> Tensor:
        """Logits (B, 1, X, Y).

        Args:
            images_BNHW3: uint8, as decoded, of any size.
            source_from_input_BN33: for each pixel of the network's input, where it lies in the decoded image.
            pixel_to_ego_BN44: see `geometry.pixel_to_ego`; pixels of the network's input.
        """
        B = images_BNHW3.shape[0]
        with torch.autocast(images_BNHW3.device.type, enabled=False):
            images = self.warp(images_BNHW3.flatten(0, 1), source_from_input_BN33.flatten(0, 1))
            map_size = (self.size[0] // STRIDE, self.size[1] // STRIDE)
            cells = find_cells(pixel_to_ego_BN44, self.bins, map_size, STRIDE, self.grid)
        maps = self.swin(images.contiguous(memory_format=torch.channels_last))
        x = self.lift(self.neck(maps[2], maps[3])).permute(0, 2, 3, 1)  # (B·N, H, W, D + C), no copy
        depth, feature = x.split([len(self.bins), x.shape[-1] - len(self.bins)], -1)
        depth = depth.float().softmax(-1)
        X, Y = self.cells
        bev = splat(depth, feature, cells, B * X * Y).reshape(B, X, Y, -1).permute(0, 3, 1, 2)  # channels last
        return self.bev(bev).float()

    def warp(self, images: Tensor, source_from_input: Tensor) -> Tensor:
        """Resize, crop, flip and rotate in one sampling step, and normalise; (B·N, h, w, 3) uint8 -> (B·N, 3, H, W)."""
        H, W = self.size
        y, x = torch.meshgrid(*(torch.arange(n, device=images.device) + 0.5 for n in (H, W)), indexing="ij")
        target = torch.stack([x, y, torch.ones_like(x)], -1).reshape(-1, 3)
        source = torch.matmul(target, source_from_input[:, :2].transpose(1, 2)).reshape(-1, H, W, 2)
        where = torch.stack([source[..., 0] / images.shape[2], source[..., 1] / images.shape[1]], -1) * 2 - 1
        pixels = F.grid_sample(images.permute(0, 3, 1, 2).float(), where, padding_mode="zeros", align_corners=False)
        return (pixels - self.mean) / self.std


def check_config(config: Config) -> None:
    """Values that make no sense, before anything starts.

    Raises:
        UsageError: there is one.
    """
    check_sizes(config)
    for name, (table, key) in places(config):
        if name in _LEAST and table[key] is not None and table[key] < _LEAST[name]:
            raise UsageError(f"{name} is {table[key]}; it must be at least {_LEAST[name]}")
    if not 0 <= config["seed"] < 2**31:
        raise UsageError(f"seed is {config['seed']}; it must be from 0 to 2147483647")
    if config["splat_backend"] not in backend.CHOICES:
        known = ", ".join(backend.CHOICES)
        raise UsageError(f"splat_backend {config['splat_backend']!r} is not known; known: {known}")


def check_sizes(config: Config) -> tuple[int, int]:
    """Cells along x and y.

    Raises:
        UsageError: a size does not fit the strides, a grid is not made of whole cells, there is no depth bin, or the heads
            of a stage cannot share its channels.
    """
    rows, columns = config["image_size"]
    if rows % 32 or columns % 32 or rows < 32 or columns < 32:
        raise UsageError(f"image_size {rows}, {columns}: rows and columns must be multiples of 32")
    near, far, step = config["depth"]
    if step <= 0 or near + step / 2 >= far:
        raise UsageError(f"depth {near}, {far}, {step} holds no bin")
    swin = config["model"]["swin"]
    for stage, heads in enumerate(swin["heads"]):
        channels = swin["dim"] * 2**stage
        if heads < 1 or channels % heads:
            raise UsageError(f"model.swin.heads {swin['heads']}: {heads} heads cannot share {channels} channels")
    return axis_cells("x", config["grid"]["x"]), axis_cells("y", config["grid"]["y"])


def axis_cells(name: str, axis: tuple[float, float, float]) -> int:
    """Number of cells of an axis (from, to, cell)."""
    count = (axis[1] - axis[0]) / axis[2] if axis[2] > 0 else 0.0
    if count < 1 or abs(count - round(count)) > 1e-6:
        raise UsageError(f"grid.{name} {axis} is not a whole number of cells")
    return round(count)


def parameter_groups(model: nn.Module, optimizer: dict[str, Any]) -> list[dict[str, Any]]:
    """Weights decay, vectors and position tables do not; the backbone may learn more slowly."""
    groups: dict[tuple[bool, bool], dict[str, Any]] = {}
    for name, parameter in model.named_parameters():
        decays, backbone = parameter.ndim > 1 and not name.endswith("bias_table"), name.startswith("swin.")
        decay, scale = optimizer["weight_decay"] if decays else 0.0, optimizer["backbone"] if backbone else 1.0
        group = groups.setdefault((decays, backbone), {"params": [], "weight_decay": decay, "scale": scale})
        group["params"].append(parameter)
    return list(groups.values())


def load_pretrained(model: Lss, path: str) -> None:
    """Put public Swin weights into the backbone.

    Raises:
        UsageError: the file cannot be read, or does not fit this backbone.
    """
    try:
        stored = torch.load(path, map_location="cpu", weights_only=True)
        weights = convert(stored.get("model", stored), model.swin.layers[0]["blocks"][0].attn.window)
        model.swin.load_state_dict(weights)
    except Exception as exc:  # a file from anywhere: absent, damaged, of another model
        first = str(exc).strip().splitlines()[0] if str(exc).strip() else type(exc).__name__
        raise UsageError(f"cannot use {path} as pretrained Swin weights: {first}") from exc
