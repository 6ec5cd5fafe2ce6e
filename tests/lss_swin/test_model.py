"""Swin, the lift and the map: equal to what others publish, and to what geometry demands."""

from __future__ import annotations

from pathlib import Path

import pytest

torch = pytest.importorskip("torch")

from lss_swin.config import load_config
from lss_swin.model import Lss, load_pretrained, parameter_groups
from lss_swin.swin import Swin, convert
from nuscenes_bev.errors import UsageError

pytestmark = pytest.mark.torch

BASELINE = "configs/baseline/lss_swin_nuscenes.py"
TINY = "configs/baseline/lss_swin_tiny.py"


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
