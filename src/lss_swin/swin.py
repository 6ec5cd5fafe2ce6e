"""Swin transformer, as in Liu et al. 2021; equal to torchvision's and able to load the public checkpoints.

Letters: B images, H W tokens, C channels. Parameter names are those of Microsoft's checkpoints.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bev_ops.window import window_attention


class Norm(nn.LayerNorm):
    """Layer normalisation that keeps the type of its input: autocast would widen the residual stream to float32.

    Mean and variance are summed in float32 all the same.
    """

    def forward(self, x: Tensor) -> Tensor:
        with torch.autocast(x.device.type, enabled=False):
            return F.layer_norm(x, self.normalized_shape, self.weight.to(x.dtype), self.bias.to(x.dtype), self.eps)


class WindowAttention(nn.Module):
    """Queries, keys and values of an unpadded map, attention in shifted windows, output projection."""

    def __init__(self, dim: int, heads: int, window: int, shift: int) -> None:
        super().__init__()
        self.heads, self.window, self.shift = heads, window, shift
        self.qkv = nn.Linear(dim, 3 * dim)
        self.proj = nn.Linear(dim, dim)
        self.relative_position_bias_table = nn.Parameter(torch.zeros((2 * window - 1) ** 2, heads))
        nn.init.trunc_normal_(self.relative_position_bias_table, std=0.02)
        self.register_buffer("relative_position_index", _relative_positions(window), persistent=False)

    def forward(self, x_BHWC: Tensor) -> Tensor:
        """Padding sees zero keys and values here, where Swin pads the input and so gives them the biases.

        That is the same: a key bias shifts all scores of a query alike and drops out of the softmax, and a value bias is
        added to every output, because each row of probabilities sums to one.
        """
        bias_q, _, bias_v = self.qkv.bias.chunk(3)
        zeros = torch.zeros_like(bias_q)
        qkv = F.linear(x_BHWC, self.qkv.weight, torch.cat([bias_q, zeros, zeros]))
        table = self.relative_position_bias_table[self.relative_position_index]  # (T, T, h)
        out = window_attention(qkv, table.permute(2, 0, 1).contiguous(), self.window, self.shift)
        return self.proj(out + bias_v.to(out.dtype))


def _relative_positions(window: int) -> Tensor:
    """(T, T) row of the table for each pair of tokens."""
    at = torch.stack(torch.meshgrid(torch.arange(window), torch.arange(window), indexing="ij")).flatten(1)
    apart = at[:, :, None] - at[:, None, :] + window - 1
    return apart[0] * (2 * window - 1) + apart[1]


class Block(nn.Module):
    """Attention and a two-layer perceptron, each normalised before and added to what came in."""

    def __init__(self, dim: int, heads: int, window: int, shift: int, drop_path: float) -> None:
        super().__init__()
        self.norm1, self.norm2 = Norm(dim), Norm(dim)
        self.attn = WindowAttention(dim, heads, window, shift)
        self.mlp = nn.ModuleDict({"fc1": nn.Linear(dim, 4 * dim), "fc2": nn.Linear(4 * dim, dim)})
        self.drop_path = drop_path

    def forward(self, x: Tensor) -> Tensor:
        x = x + self._drop(self.attn(self.norm1(x)))
        hidden = F.gelu(self.mlp["fc1"](self.norm2(x)))
        return x + self._drop(self.mlp["fc2"](hidden))

    def _drop(self, x: Tensor) -> Tensor:
        """Leave the branch out for some images of the batch, in training."""
        if not self.training or self.drop_path == 0.0:
            return x
        keep = torch.rand(x.shape[0], 1, 1, 1, device=x.device) >= self.drop_path
        return x * (keep / (1.0 - self.drop_path)).to(x.dtype)


class PatchMerging(nn.Module):
    """Half the side, twice the channels."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.norm = Norm(4 * dim)
        self.reduction = nn.Linear(4 * dim, 2 * dim, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        x = F.pad(x, (0, 0, 0, x.shape[2] % 2, 0, x.shape[1] % 2))
        parts = [x[:, dy::2, dx::2] for dx in (0, 1) for dy in (0, 1)]
        return self.reduction(self.norm(torch.cat(parts, -1)))


class Swin(nn.Module):
    """Returns the maps of all stages, (B, H / s, W / s, C) for s = 4, 8, 16, 32, channels last and not normalised."""

    def __init__(
        self,
        dim: int = 96,
        depths: Sequence[int] = (2, 2, 6, 2),
        heads: Sequence[int] = (3, 6, 12, 24),
        window: int = 7,
        drop_path: float = 0.2,
    ) -> None:
        super().__init__()
        self.patch_embed = nn.ModuleDict({"proj": nn.Conv2d(3, dim, 4, 4), "norm": Norm(dim)})
        rates = iter(torch.linspace(0, drop_path, sum(depths)).tolist())
        self.layers = nn.ModuleList()
        for i, (depth, h) in enumerate(zip(depths, heads)):
            blocks = [Block(dim * 2**i, h, window, (window // 2) * (b % 2), next(rates)) for b in range(depth)]
            merging = PatchMerging(dim * 2**i) if i + 1 < len(depths) else nn.Identity()
            self.layers.append(nn.ModuleDict({"blocks": nn.Sequential(*blocks), "downsample": merging}))
        self.apply(_initialise)

    def forward(self, images_B3HW: Tensor) -> list[Tensor]:
        x = self.patch_embed["proj"](images_B3HW).permute(0, 2, 3, 1)  # a token for each 4x4 pixels
        x = self.patch_embed["norm"](x.contiguous())
        maps = []
        for stage in self.layers:
            maps.append(stage["blocks"](x))
            x = stage["downsample"](maps[-1])
        return maps


def _initialise(module: nn.Module) -> None:
    if isinstance(module, nn.Linear):
        nn.init.trunc_normal_(module.weight, std=0.02)
        if module.bias is not None:
            nn.init.zeros_(module.bias)


# torchvision's names, in order, and Microsoft's.
_TORCHVISION = (
    (r"^features\.0\.0\.", "patch_embed.proj."),
    (r"^features\.0\.2\.", "patch_embed.norm."),
    (r"^features\.(\d)\.(\d+)\.", lambda m: f"layers.{int(m[1]) // 2}.blocks.{m[2]}."),
    (r"^features\.(\d)\.", lambda m: f"layers.{int(m[1]) // 2 - 1}.downsample."),
    (r"\.mlp\.0\.", ".mlp.fc1."),
    (r"\.mlp\.3\.", ".mlp.fc2."),
)


def convert(weights: Mapping[str, Tensor], window: int = 7) -> dict[str, Tensor]:
    """Parameters of a public checkpoint (Microsoft's or torchvision's names) under the names of `Swin`.

    Position tables of another window are interpolated. What `Swin` has no place for (head, last norm, indices) is left out.
    """
    found = {}
    for name, value in weights.items():
        for pattern, new in _TORCHVISION if name.startswith("features.") else ():
            name = re.sub(pattern, new, name)
        if name.startswith(("patch_embed.", "layers.")) and not name.endswith(("_index", "attn_mask")):
            found[name] = _resized(value, window) if name.endswith("bias_table") else value
    return found


def _resized(table: Tensor, window: int) -> Tensor:
    old, new = int(table.shape[0] ** 0.5), 2 * window - 1
    if old == new:
        return table
    square = table.T.reshape(1, -1, old, old)
    return F.interpolate(square, (new, new), mode="bicubic", align_corners=False).reshape(-1, new * new).T.contiguous()
