"""Swin, the lift and the map: equal to what others publish, and to what geometry demands."""

from __future__ import annotations

from pathlib import Path

import pytest

torch = pytest.importorskip("torch")

import numpy as np

from lss_swin.config import load_config
from lss_swin.model import Lss, Upsample, find_cells, load_pretrained, parameter_groups
from lss_swin.swin import Swin, convert
from nuscenes_bev import geometry
from nuscenes_bev.errors import UsageError

pytestmark = pytest.mark.torch

BASELINE = "configs/baseline/lss_swin_nuscenes.py"
TINY = "configs/baseline/lss_swin_tiny.py"
GRID = {"x": (-50.0, 50.0, 0.5), "y": (-50.0, 50.0, 0.5), "z": (-10.0, 10.0)}


def test_swin_is_torchvision_s() -> None:
    try:
        from torchvision.models import swin_t
    except Exception as exc:
        pytest.skip(f"torchvision cannot be imported here: {exc}")
    theirs, ours = swin_t(weights=None).eval(), Swin().eval()
    torch.manual_seed(0)
    for parameter in theirs.parameters():
        if parameter.ndim == 1:  # biases are zero at the start: then a wrong one would not show
            parameter.data.normal_(0, 0.3)
    ours.load_state_dict(convert(theirs.state_dict()))
    for size in ((224, 224), (256, 704), (128, 352)):
        x = torch.randn(1, 3, *size)
        with torch.no_grad():
            expected = x
            stages = iter(ours(x))
            for i, layer in enumerate(theirs.features):
                expected = layer(expected)
                if i % 2:
                    torch.testing.assert_close(next(stages), expected, rtol=0, atol=1e-5)  # worst seen 1.2e-6


def test_public_weights_load_under_either_name(tmp_path: Path) -> None:
    """Microsoft's checkpoint holds more than the backbone has places for; torchvision's has other names."""
    model, donor = Lss(load_config(BASELINE)), Swin()
    extra = {"head.weight": torch.zeros(3), "norm.weight": torch.zeros(3)}
    extra |= {
        "layers.0.blocks.1.attn_mask": torch.zeros(3),
        "layers.0.blocks.0.attn.relative_position_index": torch.zeros(3),
    }
    torch.save({"model": {**donor.state_dict(), **extra}}, tmp_path / "swin.pth")

    load_pretrained(model, str(tmp_path / "swin.pth"))

    assert all(
        torch.equal(a, b) for a, b in zip(model.swin.state_dict().values(), donor.state_dict().values(), strict=True)
    )


def test_position_tables_of_another_window_are_interpolated() -> None:
    converted = convert(Swin(window=7).state_dict(), window=8)
    assert converted["layers.0.blocks.0.attn.relative_position_bias_table"].shape == (225, 3)
    Swin(window=8).load_state_dict(converted)


def test_weights_that_do_not_fit_are_one_sentence(tmp_path: Path) -> None:
    torch.save(Swin(dim=24, heads=(1, 2, 4, 8)).state_dict(), tmp_path / "small.pth")
    for name in ("small.pth", "absent.pth"):
        with pytest.raises(UsageError, match=name) as caught:
            load_pretrained(Lss(load_config(BASELINE)), str(tmp_path / name))
        assert "\n" not in str(caught.value)


def test_the_baseline_has_the_size_it_says() -> None:
    model = Lss(load_config(BASELINE))

    assert sum(p.numel() for p in model.swin.parameters()) == 28_288_354 - 769_000 - 1_536  # swin_t less head and norm
    assert (len(model.bins), model.cells) == (59, (200, 200))


@pytest.mark.parametrize(("size", "scale"), [((8, 22), 2), ((13, 7), 4), ((1, 1), 2)])
def test_upsampling_is_pytorch_s(size: tuple[int, int], scale: int) -> None:
    x = torch.randn(2, 3, *size)
    expected = torch.nn.functional.interpolate(x, scale_factor=scale, mode="bilinear", align_corners=False)

    torch.testing.assert_close(Upsample(*size, scale)(x), expected, rtol=1e-5, atol=1e-5)


def cell_of(x: float, y: float, z: float) -> int:
    """The cell of a single point at depth 1 in the middle of the first patch."""
    matrix = torch.zeros(1, 1, 4, 4)
    matrix[0, 0, :3, 3] = torch.tensor([x, y, z])
    return int(find_cells(matrix, torch.ones(1), (1, 1), GRID))


@pytest.mark.parametrize(
    ("point", "cell"),
    [
        ((-50.0, -50.0, 0.0), 0),
        ((-49.51, -50.0, 0.0), 0),
        ((-49.5, -50.0, 0.0), 200),
        ((49.99, 49.99, 0.0), 39_999),
        ((-50.2, 0.0, 0.0), -1),  # truncation would put it into row 0
        ((50.0, 0.0, 0.0), -1),
        ((0.0, 0.0, 10.0), -1),
        ((float("nan"), 0.0, 0.0), -1),
        ((float("inf"), 0.0, 0.0), -1),
    ],
)
def test_points_fall_into_the_cell_below_them(point: tuple[float, float, float], cell: int) -> None:
    assert cell_of(*point) == cell


def test_a_patch_looks_through_its_centre() -> None:
    """The point of patch (i, j) at depth d projects back to ((j + 0.5) * 16, (i + 0.5) * 16)."""
    ego_T_cam = geometry.pose([1.7, 0.0, 1.5], [0.5, -0.5, 0.5, -0.5])
    intrinsics = np.array([[100.0, 0, 88], [0, 100.0, 32], [0, 0, 1]])
    matrix = geometry.pixel_to_ego(ego_T_cam, intrinsics, np.eye(3))
    depth, u, v = 7.0, 2.5 * 16, 1.5 * 16
    point = matrix @ [u * depth, v * depth, depth, 1.0]
    x, y = np.floor((point[:2] + 50) / 0.5).astype(int)
    cells = find_cells(torch.tensor(matrix)[None, None].float(), torch.tensor([depth]), (4, 11), GRID)

    assert int(cells[0, 0, 1, 2, 0]) == x * 200 + y
    pixel, seen = geometry.project(point[:3], ego_T_cam, intrinsics)
    np.testing.assert_allclose([*pixel, seen], [u, v, depth], atol=1e-9)


def test_vectors_and_position_tables_do_not_decay() -> None:
    model = Lss(load_config(TINY))
    groups = parameter_groups(model, {"weight_decay": 0.01, "backbone": 0.1})
    free = {id(p) for g in groups if g["weight_decay"] == 0 for p in g["params"]}

    for name, parameter in model.named_parameters():
        assert (id(parameter) in free) == (parameter.ndim == 1 or name.endswith("bias_table")), name
    assert sum(len(g["params"]) for g in groups) == len(list(model.parameters()))


def test_the_model_is_one_graph() -> None:
    """Forward and backward trace without a graph break, the operators included."""
    model = Lss(load_config(TINY)).train()
    images = torch.randint(0, 255, (1, 6, 40, 80, 3), dtype=torch.uint8)
    affine, ego = torch.eye(3).expand(1, 6, 3, 3).contiguous(), torch.eye(4).expand(1, 6, 4, 4).contiguous()
    seen = []

    def count(graph: torch.fx.GraphModule, _: object) -> object:
        seen.append(graph)
        return graph.forward

    with torch.autocast("cpu", torch.bfloat16):
        torch.compile(model, backend=count, fullgraph=True)(images, affine, ego).mean().backward()

    assert len(seen) == 1
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())
