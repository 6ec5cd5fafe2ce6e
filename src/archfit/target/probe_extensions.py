"""One real operation of each package that extends torch, against the same in plain torch, float64, on the CPU.

Which of these have ever run, and where, is said by the rows of catalog/probes.toml.
"""

import math

U16, U32 = 2.0**-11, 2.0**-24
ATTENTION = "8*u, u=2^-11"


# --- references ------------------------------------------------------------------------------------------------------


def _attention(q, k, v, scale=None):
    """Softmax attention of (batch, heads, length, width), float64."""
    weights = q.double() @ k.double().transpose(-1, -2) * (scale or 1 / math.sqrt(q.shape[-1]))
    return weights.softmax(-1) @ v.double()


def _heads(torch, heads_first=False):
    """Three half-precision operands (batch, length, heads, width), or with heads before length."""
    shape = (2, 4, 128, 64) if heads_first else (2, 128, 4, 64)
    return [torch.randn(*shape).half() for _ in range(3)]


def _check_attention(kit, got, q, k, v):
    """Operands and result as (batch, length, heads, width)."""
    want = _attention(*(t.transpose(1, 2) for t in (q, k, v))).transpose(1, 2)
    kit.compare("attention", got, want, 8 * U16, ATTENTION, float(v.double().abs().max()))


def _greedy(boxes, scores, threshold):
    """Non-maximum suppression as it is defined, one box at a time."""
    rows, order, kept = boxes.tolist(), scores.argsort(descending=True).tolist(), []
    while order:
        best = order.pop(0)
        kept.append(best)
        order = [other for other in order if _overlap(rows[best], rows[other]) <= threshold]
    return kept


def _overlap(a, b):
    width = max(0.0, min(a[2], b[2]) - max(a[0], b[0]))
    height = max(0.0, min(a[3], b[3]) - max(a[1], b[1]))
    both = width * height
    return both / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - both)


def _boxes(torch):
    """Boxes on a coarse grid, so that no overlap lies near the threshold of 0.5 by rounding alone."""
    corner = torch.randint(0, 12, (60, 2)).float()
    return torch.cat([corner, corner + torch.randint(3, 8, (60, 2)).float()], 1), torch.randperm(60).float() / 60


def _pooled(torch, image, box):
    """The mean of a box whose edges lie on whole pixels: what region pooling with one bin must give, by hand."""
    left, top, right, bottom = (int(x) for x in box)
    y = torch.arange(top, bottom).double() + 0.5
    x = torch.arange(left, right).double() + 0.5
    return torch.stack([_bilinear(channel.double(), y - 0.5, x - 0.5).mean() for channel in image])


def _bilinear(channel, y, x):
    return channel[y.long()][:, x.long()]


# --- vision ----------------------------------------------------------------------------------------------------------


def torchvision_nms(kit):
    ops = kit.load("torchvision.ops")
    boxes, scores = _boxes(kit.torch)
    got = ops.nms(boxes.to(kit.device), scores.to(kit.device), 0.5)
    kit.exact("kept boxes", got.cpu(), _greedy(boxes, scores, 0.5))


def torchvision_roi_align(kit):
    torch = kit.torch
    ops = kit.load("torchvision.ops")
    image = torch.randn(1, 3, 24, 32)
    box = [4.0, 6.0, 12.0, 14.0]
    regions = torch.tensor([[0.0, *box]])
    got = ops.roi_align(image.to(kit.device), regions.to(kit.device), 1, 1.0, 8, True)
    kit.compare("mean of a box", got.flatten(), _pooled(torch, image[0], box), 64 * U32, "64 samples*u, u=2^-24")


def torchvision_deform_conv(kit):
    """With offsets of zero it is a plain convolution."""
    torch = kit.torch
    ops = kit.load("torchvision.ops")
    x, w = torch.randn(2, 8, 15, 17), torch.randn(12, 8, 3, 3)
    still = torch.zeros(2, 18, 15, 17)
    got = ops.deform_conv2d(x.to(kit.device), still.to(kit.device), w.to(kit.device), padding=1)
    _check_convolution(kit, got, x, w)


def _check_convolution(kit, got, x, w):
    convolve = kit.torch.nn.functional.conv2d
    want = convolve(x.double(), w.double(), padding=1)
    scale = convolve(x.double().abs(), w.double().abs(), padding=1)
    kit.compare("convolution", got, want, 72 * U32, "k*u, k=72, u=2^-24", scale)


def torchaudio_resample(kit):
    torch = kit.torch
    functional = kit.load("torchaudio.functional")
    wave = torch.sin(torch.arange(4000) * 0.05).unsqueeze(0)
    got = functional.resample(wave.to(kit.device), 8000, 4000)
    kit.compare("half the rate", got, functional.resample(wave.double(), 8000, 4000), 64 * U32, "64*u, u=2^-24")


def mmcv_nms(kit):
    ops = kit.load("mmcv.ops")
    boxes, scores = _boxes(kit.torch)
    _, got = ops.nms(boxes.to(kit.device), scores.to(kit.device), 0.5)
    kit.exact("kept boxes", got.cpu(), _greedy(boxes, scores, 0.5))


def mmcv_roi_align(kit):
    torch = kit.torch
    ops = kit.load("mmcv.ops")
    image = torch.randn(1, 3, 24, 32)
    box = [4.0, 6.0, 12.0, 14.0]
    regions = torch.tensor([[0.0, *box]])
    got = ops.roi_align(image.to(kit.device), regions.to(kit.device), (1, 1), 1.0, 8, "avg", True)
    kit.compare("mean of a box", got.flatten(), _pooled(torch, image[0], box), 64 * U32, "64 samples*u, u=2^-24")


def mmcv_deform_conv(kit):
    torch = kit.torch
    ops = kit.load("mmcv.ops")
    x, w = torch.randn(2, 8, 15, 17), torch.randn(12, 8, 3, 3)
    still = torch.zeros(2, 18, 15, 17)
    got = ops.deform_conv2d(x.to(kit.device), still.to(kit.device), w.to(kit.device), 1, 1)
    _check_convolution(kit, got, x, w)


def detectron2_roi_align(kit):
    torch = kit.torch
    layers = kit.load("detectron2.layers")
    image = torch.randn(1, 3, 24, 32)
    box = [4.0, 6.0, 12.0, 14.0]
    pool = layers.ROIAlignRotated((1, 1), 1.0, 8)
    region = torch.tensor([[0.0, 8.0, 10.0, 8.0, 8.0, 0.0]])  # the same box by its centre, size and angle
    got = pool(image.to(kit.device), region.to(kit.device))
    kit.compare("mean of a box", got.flatten(), _pooled(torch, image[0], box), 256 * U32, "256*u, u=2^-24")


def pytorch3d_knn(kit):
    torch = kit.torch
    ops = kit.load("pytorch3d.ops")
    points, others = torch.randn(1, 200, 3), torch.randn(1, 300, 3)
    got = ops.knn_points(points.to(kit.device), others.to(kit.device), K=4).dists
    want = torch.cdist(points.double(), others.double()).pow(2).sort(-1).values[..., :4]
    kit.compare("squared distances", got, want, 64 * U32, "64*u, u=2^-24")


def nvdiffrast_rasterize(kit):
    kit.needs_gpu()
    torch = kit.torch
    rast = kit.load("nvdiffrast.torch")
    corners = torch.tensor([[[-1.0, -1, 0, 1], [3, -1, 0, 1], [-1, 3, 0, 1]]], device=kit.device)
    faces = torch.tensor([[0, 1, 2]], dtype=torch.int32, device=kit.device)
    out, _ = rast.rasterize(rast.RasterizeCudaContext(), corners, faces, resolution=[16, 16])
    kit.exact("one triangle covers all", out[0, ..., 3].cpu(), torch.ones(16, 16))


def gsplat_rasterize(kit):
    """A quaternion of no rotation and a scale s give a covariance of s^2."""
    kit.needs_gpu()
    torch = kit.torch
    gsplat = kit.load("gsplat")
    turn = torch.tensor([[1.0, 0, 0, 0]]).repeat(50, 1)
    scale = torch.rand(50, 3) + 0.1
    covariance, _ = gsplat.quat_scale_to_covar_preci(turn.to(kit.device), scale.to(kit.device), True, False, False)
    kit.compare("covariance", covariance, torch.diag_embed(scale.double() ** 2), 16 * U32, "16*u, u=2^-24")


# --- graphs and sparse convolution -----------------------------------------------------------------------------------


def torch_scatter_sum(kit):
    torch = kit.torch
    scatter = kit.load("torch_scatter")
    values, where = torch.randint(-8, 8, (1000, 5)).float(), torch.randint(0, 40, (1000,))
    got = scatter.scatter(values.to(kit.device), where.to(kit.device), dim=0, dim_size=40, reduce="sum")
    kit.exact("sums", got.cpu(), torch.zeros(40, 5).index_add_(0, where, values))
    highest, _ = scatter.scatter_max(values.to(kit.device), where.to(kit.device), dim=0, dim_size=40)
    want = torch.stack([values[where == i].max(0).values for i in range(40)])
    kit.exact("maxima", highest.cpu(), want)


def torch_sparse_product(kit):
    torch = kit.torch
    sparse = kit.load("torch_sparse")
    dense = torch.randint(-4, 4, (30, 40)).float()
    row, column = dense.nonzero().t()
    matrix = sparse.SparseTensor(row=row, col=column, value=dense[row, column], sparse_sizes=(30, 40)).to(kit.device)
    right = torch.randint(-4, 4, (40, 7)).float()
    kit.exact("A B", matrix.matmul(right.to(kit.device)).cpu(), dense @ right)


def torch_cluster_knn(kit):
    torch = kit.torch
    cluster = kit.load("torch_cluster")
    x, y = torch.randn(300, 3), torch.randn(50, 3)
    pairs = cluster.knn(x.to(kit.device), y.to(kit.device), 3).cpu()
    got = (x[pairs[1]].double() - y[pairs[0]].double()).pow(2).sum(1).view(50, 3).sort(1).values
    want = torch.cdist(y.double(), x.double()).pow(2).sort(1).values[:, :3]
    kit.compare("squared distances", got, want, 64 * U32, "64*u, u=2^-24")


def pyg_lib_segments(kit):
    torch = kit.torch
    ops = kit.load("pyg_lib").ops
    left, right = torch.randn(12, 16), torch.randn(2, 16, 8)
    got = ops.segment_matmul(left.to(kit.device), torch.tensor([0, 5, 12]), right.to(kit.device))
    want = torch.cat([left[:5].double() @ right[0].double(), left[5:].double() @ right[1].double()])
    scale = torch.cat(
        [left[:5].double().abs() @ right[0].double().abs(), left[5:].double().abs() @ right[1].double().abs()]
    )
    kit.compare("segments", got, want, 2.0**-10, "2*2^-11: may use TF32", scale)


def spconv_submanifold(kit):
    """Where every cell is filled it is a plain convolution."""
    kit.needs_gpu()
    torch = kit.torch
    spconv = kit.load("spconv.pytorch")
    layer = spconv.SubMConv2d(8, 12, 3, bias=False).to(kit.device)
    x = torch.randn(1, 8, 10, 11)
    at = torch.stack(torch.meshgrid(torch.zeros(1), torch.arange(10.0), torch.arange(11.0)), -1).reshape(-1, 3).int()
    features = x.permute(0, 2, 3, 1).reshape(-1, 8)
    out = layer(spconv.SparseConvTensor(features.to(kit.device), at.to(kit.device), [10, 11], 1)).dense()
    weight = layer.weight.detach().cpu().permute(0, 3, 1, 2)
    convolve = torch.nn.functional.conv2d
    want, scale = (
        convolve(x.double(), weight.double(), padding=1),
        convolve(x.double().abs(), weight.double().abs(), padding=1),
    )
    kit.compare("convolution", out, want, 2.0**-10, "2*2^-11: may use TF32", scale)


# --- attention and large models --------------------------------------------------------------------------------------


def flash_attn(kit):
    kit.needs_capability(8)
    q, k, v = _heads(kit.torch)
    run = kit.load("flash_attn").flash_attn_func
    _check_attention(kit, run(*(t.to(kit.device) for t in (q, k, v))), q, k, v)


def xformers_attention(kit):
    kit.needs_gpu()
    q, k, v = _heads(kit.torch)
    run = kit.load("xformers.ops").memory_efficient_attention
    _check_attention(kit, run(*(t.to(kit.device) for t in (q, k, v))), q, k, v)


def sageattention(kit):
    """Quantised to eight bits on purpose: a loose bound that still tells nonsense from attention."""
    kit.needs_capability(8)
    q, k, v = _heads(kit.torch, heads_first=True)
    got = kit.load("sageattention").sageattn(*(t.to(kit.device) for t in (q, k, v)), tensor_layout="HND")
    kit.compare("attention", got, _attention(q, k, v), 2.0**-4, "8-bit operands", float(v.double().abs().max()))


def natten_neighbourhood(kit):
    """A neighbourhood as wide as the sequence is plain attention."""
    torch = kit.torch
    q, k, v = (torch.randn(1, 33, 2, 32).to(torch.float16 if kit.on_gpu else torch.float32) for _ in range(3))
    got = kit.needs(kit.load("natten"), "na1d")(*(t.to(kit.device) for t in (q, k, v)), kernel_size=33)
    _check_attention(kit, got, q, k, v)


def bitsandbytes_linear(kit):
    """Eight-bit quantisation and back: within half a step of 1/127 of each block's largest value."""
    torch = kit.torch
    functional = kit.load("bitsandbytes.functional")
    x = torch.randn(64, 256)
    packed, state = functional.quantize_blockwise(x.to(kit.device))
    back = functional.dequantize_blockwise(packed, state)
    kit.compare("there and back", back, x.double(), 2.0**-4, "8-bit dynamic map", float(x.abs().max()))
    if kit.on_gpu:
        four, state = functional.quantize_4bit(x.half().to(kit.device), quant_type="nf4")
        back = functional.dequantize_4bit(four, state)
        kit.compare("4 bits and back", back, x.double(), 0.2, "16 levels", float(x.abs().max()))


def torchao_int8(kit):
    torch = kit.torch
    quantization = kit.load("torchao.quantization")
    config = kit.needs(quantization, "Int8WeightOnlyConfig")
    layer = torch.nn.Linear(128, 64, bias=False)
    weight = layer.weight.detach().double()
    layer = layer.to(kit.device)
    quantization.quantize_(layer, config())
    x = torch.randn(16, 128)
    want, scale = x.double() @ weight.t(), x.double().abs().sum(1, keepdim=True) * float(weight.abs().max())
    kit.compare("int8 weights", layer(x.to(kit.device)), want, 1 / 127.0, "one step of 1/127", scale.expand_as(want))


def causal_conv1d(kit):
    kit.needs_gpu()
    torch = kit.torch
    x, w = torch.randn(2, 16, 50), torch.randn(16, 4)
    got = kit.load("causal_conv1d").causal_conv1d_fn(x.to(kit.device), w.to(kit.device))
    padded = torch.nn.functional.pad(x.double(), (3, 0))
    want = torch.nn.functional.conv1d(padded, w.double().unsqueeze(1), groups=16)
    kit.compare("convolution", got, want, 64 * U32, "64*u, u=2^-24")


def mamba_scan(kit):
    kit.needs_gpu()
    torch = kit.torch
    run = kit.load("mamba_ssm.ops.selective_scan_interface").selective_scan_fn
    u, delta = torch.randn(1, 8, 32), torch.rand(1, 8, 32) * 0.1
    a, b, c = -torch.rand(8, 4), torch.randn(1, 4, 32), torch.randn(1, 4, 32)
    got = run(*(t.to(kit.device) for t in (u, delta, a, b, c)))
    state, rows = torch.zeros(1, 8, 4).double(), []
    for t in range(32):
        step = delta[..., t].double()
        state = torch.exp(step.unsqueeze(-1) * a.double()) * state
        state = state + (step * u[..., t].double()).unsqueeze(-1) * b[:, :, t].double().unsqueeze(1)
        rows.append((state * c[:, :, t].double().unsqueeze(1)).sum(-1))
    kit.compare("scan", got, torch.stack(rows, -1), 256 * U32, "256*u, u=2^-24")


def apex_layer_norm(kit):
    kit.needs_gpu()
    torch = kit.torch
    layer = kit.load("apex.normalization").FusedLayerNorm(128).to(kit.device)
    x = torch.randn(64, 128)
    want = torch.nn.functional.layer_norm(x.double(), (128,))
    kit.compare("layer norm", layer(x.to(kit.device)), want, 256 * U32, "256*u, u=2^-24")


def deepspeed_adam(kit):
    """One step of FusedAdam, built on the spot."""
    kit.needs_gpu()
    torch = kit.torch
    ops = kit.load("deepspeed.ops.adam")
    start, slope = torch.randn(500), torch.randn(500)
    parameter = torch.nn.Parameter(start.to(kit.device))
    parameter.grad = slope.to(kit.device)
    ops.FusedAdam([parameter], lr=0.1, weight_decay=0.0).step()
    want = start.double() - 0.1 * slope.double() / (slope.double().abs() + 1e-8)
    kit.compare("one step", parameter, want, 64 * U32, "64*u, u=2^-24")


def transformer_engine_linear(kit):
    kit.needs_gpu()
    torch = kit.torch
    engine = kit.load("transformer_engine.pytorch")
    layer = engine.Linear(64, 32, bias=False, params_dtype=torch.float32).to(kit.device)
    x = torch.randn(16, 64)
    weight = layer.weight.detach().cpu().double()
    want, scale = x.double() @ weight.t(), x.double().abs() @ weight.abs().t()
    kit.compare("A B", layer(x.to(kit.device)), want, 2.0**-10, "2*2^-11: may use TF32", scale)


def vllm_norm(kit):
    kit.needs_gpu()
    torch = kit.torch
    kit.load("vllm._custom_ops")
    _rms_norm(kit, lambda out, x, w: torch.ops._C.rms_norm(out, x, w, 1e-6))


def sgl_kernel_norm(kit):
    kit.needs_gpu()
    run = kit.load("sgl_kernel").rmsnorm
    _rms_norm(kit, lambda out, x, w: out.copy_(run(x, w, 1e-6)))


def flashinfer_norm(kit):
    kit.needs_gpu()
    run = kit.load("flashinfer").rmsnorm
    _rms_norm(kit, lambda out, x, w: out.copy_(run(x, w, 1e-6)))


def _rms_norm(kit, run):
    torch = kit.torch
    x, w = torch.randn(32, 256).half(), torch.randn(256).half()
    there = x.to(kit.device)
    out = torch.empty_like(there)
    run(out, there, w.to(kit.device))
    want = x.double() / (x.double().pow(2).mean(-1, keepdim=True) + 1e-6).sqrt() * w.double()
    kit.compare("RMS norm", out, want, 4 * U16, "4*u, u=2^-11")
