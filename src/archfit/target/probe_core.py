"""Probes of torch's own kernels, from the first launch to an optimiser's step."""

import os

U32 = 2.0**-24


def device(kit):
    """torch imports, sees GPUs, and a kernel runs on each of them. Everything else depends on this."""
    import torch

    kit.facts["torch"] = torch.__version__
    kit.facts["cuda"] = torch.version.cuda or ""
    if not kit.on_gpu:
        kit.exact("first kernel", torch.arange(1000) * 2 + 1, ODD)
        kit.facts["devices"] = [{"index": 0, "name": "CPU", "capability": "", "free_bytes": 0, "total_bytes": 0}]
        return
    if torch.version.cuda is None:
        raise RuntimeError("torch %s was built without CUDA" % torch.__version__)
    if not torch.cuda.is_available():
        try:
            torch.cuda.init()  # says why
        except RuntimeError as error:
            raise RuntimeError("%s (%s)" % (str(error).strip().splitlines()[0], _visible())) from None
    kit.facts["devices"] = [_try_device(kit, torch, index) for index in range(torch.cuda.device_count())]
    if not kit.facts["devices"]:
        raise RuntimeError("torch sees no GPU; %s" % _visible())


ODD = [2 * i + 1 for i in range(1000)]


def _visible():
    value = os.environ.get("CUDA_VISIBLE_DEVICES")
    return "CUDA_VISIBLE_DEVICES is not set" if value is None else "CUDA_VISIBLE_DEVICES=%s" % value


def _try_device(kit, torch, index):
    where = "cuda:%d" % index
    properties = torch.cuda.get_device_properties(index)
    ran = torch.arange(1000, device=where) * 2 + 1
    torch.cuda.synchronize(index)
    kit.exact("first kernel on %s" % where, ran, ODD)
    free, total = torch.cuda.mem_get_info(index)
    return {
        "index": index,
        "name": properties.name,
        "capability": "%d.%d" % (properties.major, properties.minor),
        "free_bytes": free,
        "total_bytes": total,
    }


def elementwise(kit):
    """Functions of one number; CUDA's own are within a few units in the last place (CUDA C programming guide, 5.5)."""
    torch = kit.torch
    x = torch.rand(200003) * 8 - 4
    for name in ("exp", "sin", "tanh", "sigmoid", "erf", "floor", "neg"):
        function = getattr(torch, name)
        want = function(x.double())
        kit.compare(name, function(x.to(kit.device)), want, 16 * U32, "16*u, u=2^-24", want.abs().clamp(min=1))
    y = torch.rand(200003) + 0.5
    for name in ("log", "sqrt", "rsqrt", "reciprocal"):
        function = getattr(torch, name)
        want = function(y.double())
        kit.compare(name, function(y.to(kit.device)), want, 16 * U32, "16*u, u=2^-24", want.abs().clamp(min=1))
    for dtype, unit in (("float16", 2.0**-11), ("bfloat16", 2.0**-8)):
        z = x.to(getattr(torch, dtype))
        want = z.double() * z.double() + 1
        kit.compare(dtype, z.to(kit.device) * z.to(kit.device) + 1, want, 3 * unit, "3*u", want.abs())


def reduction(kit):
    """Sums are within n*u of the sum of magnitudes in any order (Higham 2002, 4.2); with a tree, log2(n)*u."""
    torch = kit.torch
    x = torch.randn(1021, 1031)
    there = x.to(kit.device)
    magnitude = x.double().abs()
    tolerance, basis = 64 * U32, "4*u*16, tree of depth ~16, u=2^-24"
    kit.compare("sum of all", there.sum(), x.double().sum(), tolerance, basis, float(magnitude.sum()))
    kit.compare("sum of rows", there.sum(1), x.double().sum(1), tolerance, basis, magnitude.sum(1))
    kit.compare("sum of columns", there.sum(0), x.double().sum(0), tolerance, basis, magnitude.sum(0))
    kit.compare(
        "prod", (1 + x[:, :8].to(kit.device) / 64).prod(1), (1 + x[:, :8].double() / 64).prod(1), 64 * U32, "8*8*u"
    )
    kit.compare("var", there.var(1), x.double().var(1), 256 * U32, "256*u, u=2^-24")
    kit.exact("max", there.max(1).values, x.max(1).values)
    kit.exact("argmin", there.argmin(0), x.argmin(0))
    kit.exact("any", (there > 3.5).any(0), (x > 3.5).any(0))
    n = 4099
    y = torch.rand(n)
    kit.compare("cumsum", y.to(kit.device).cumsum(0), y.double().cumsum(0), n * U32, "n*u, n=4099, u=2^-24")


def sort(kit):
    """Order is exact, ties included where the sort is stable."""
    torch = kit.torch
    x = torch.randint(-500, 500, (70001,))
    there = x.to(kit.device)
    values, order = there.sort(stable=True)
    want = x.sort(stable=True)
    kit.exact("stable sort", values, want.values)
    kit.exact("order of ties", order, want.indices)
    kit.exact("unique", there.unique(), x.unique())
    distinct = torch.randperm(70001).float()
    kit.exact("topk", distinct.to(kit.device).topk(100).indices, distinct.topk(100).indices)
    rows = torch.rand(300, 257)
    kit.exact("rows", rows.to(kit.device).sort(1).values, rows.sort(1).values)
    kit.exact("searchsorted", torch.searchsorted(values, there[:1000]), torch.searchsorted(want.values, x[:1000]))


def indexing(kit):
    """Gather and scatter are exact; sums of small integers are, too."""
    torch = kit.torch
    table = torch.randint(0, 100, (5003, 17)).float()
    at = torch.randint(0, 5003, (20011,))
    there, where = table.to(kit.device), at.to(kit.device)
    kit.exact("rows", there[where], table[at])
    kit.exact("mask", there[there > 50], table[table > 50])
    kit.exact("nonzero", (there > 90).nonzero(), (table > 90).nonzero())
    one = torch.ones(20011)
    kit.exact(
        "index_put",
        torch.zeros(5003, device=kit.device).index_put_((where,), one.to(kit.device), accumulate=True),
        torch.bincount(at, minlength=5003).float(),
    )
    kit.exact(
        "scatter_add",
        torch.zeros(5003, device=kit.device).scatter_add_(0, where, one.to(kit.device)),
        torch.bincount(at, minlength=5003).float(),
    )
    kit.exact("cat and roll", torch.cat([there, there]).roll(3, 1), torch.cat([table, table]).roll(3, 1))
    kit.exact("where", torch.where(there > 10, there, -there), torch.where(table > 10, table, -table))


def embedding(kit):
    """Rows forward, sums of small integers backward: both exact."""
    torch = kit.torch
    weight = torch.randint(-8, 8, (1009, 64)).float()
    at = torch.randint(0, 1009, (37, 29))
    upstream = torch.randint(-4, 4, (37, 29, 64)).float()
    found = []
    for where in (kit.device, "cpu"):
        w = weight.to(where).requires_grad_()
        out = torch.nn.functional.embedding(at.to(where), w)
        (out * upstream.to(where)).sum().backward()
        bag = torch.nn.functional.embedding_bag(at.to(where), w.detach(), mode="sum")
        found.append((out, w.grad, bag))
    for what, got, want in zip(("forward", "backward", "bag"), *found):
        kit.exact(what, got, want)


def random(kit):
    """Moments within six standard errors (one false alarm in 5e8), the same seed gives the same numbers."""
    torch = kit.torch
    n = 1 << 20
    where = kit.device
    generator = torch.Generator(device=where)
    first = torch.rand(n, device=where, generator=generator.manual_seed(7))
    again = torch.rand(n, device=where, generator=generator.manual_seed(7))
    kit.exact("same seed", first, again.cpu())
    kit.bound("other seed", float(bool((torch.rand(n, device=where) == first).all())), 0, "not equal")
    six = "6 standard errors, n=2^20"
    kit.bound("uniform mean", abs(float(first.double().mean()) - 0.5), 6 * (1 / 12.0 / n) ** 0.5, six)
    kit.bound("uniform range", float(first.min() < 0) + float(first.max() >= 1), 0, "in [0, 1)")
    normal = torch.randn(n, device=where).double()
    kit.bound("normal mean", abs(float(normal.mean())), 6 / n**0.5, six)
    kit.bound("normal variance", abs(float(normal.var()) - 1), 6 * (2.0 / n) ** 0.5, six)
    kit.exact("permutation", torch.randperm(10007, device=where).sort().values, torch.arange(10007))
    kit.bound(
        "bernoulli", abs(float((torch.rand(n, device=where) < 0.25).double().mean()) - 0.25), 6 * 0.44 / n**0.5, six
    )


def copy(kit):
    """Bytes there and back, also from pinned memory and on a second stream."""
    torch = kit.torch
    data = torch.randint(0, 256, (1 << 24,), dtype=torch.uint8)
    there = data.to(kit.device)
    kit.exact("there and back", there.cpu(), data)
    kit.exact("on the device", there.clone().cpu(), data)
    kit.exact("strided", there.view(4096, 4096).t().contiguous().cpu(), data.view(4096, 4096).t().contiguous())
    if kit.on_gpu:
        pinned = data.pin_memory()
        stream = torch.cuda.Stream(kit.index)
        with torch.cuda.stream(stream):
            moved = pinned.to(kit.device, non_blocking=True)
            back = torch.empty_like(pinned).pin_memory()
            back.copy_(moved, non_blocking=True)
        stream.synchronize()
        kit.exact("pinned, on a second stream", back, data)


def graph(kit):
    """A CUDA graph, captured once and replayed on new numbers."""
    kit.needs_gpu()
    torch = kit.torch
    kit.needs(torch.cuda, "CUDAGraph")
    x = torch.randint(0, 100, (1000,)).float()
    static = x.to(kit.device)
    side = torch.cuda.Stream(kit.index)
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        static * 2 + 1
    torch.cuda.current_stream().wait_stream(side)
    captured = torch.cuda.CUDAGraph()
    with torch.cuda.graph(captured):
        result = (static * 2 + 1).cumsum(0)
    for step in range(3):
        static.copy_(x + step)
        captured.replay()
        kit.exact("replay %d" % step, result.cpu(), ((x + step) * 2 + 1).cumsum(0))


def normalization(kit):
    """Layer, batch and group normalisation, softmax and cross entropy."""
    torch = kit.torch
    functional = torch.nn.functional
    x = torch.randn(16, 32, 21, 19)
    label = torch.randint(0, 32, (16, 21, 19))
    rules = {
        "layer_norm": lambda t: functional.layer_norm(t, t.shape[1:]),
        "group_norm": lambda t: functional.group_norm(t, 8),
        "batch_norm": lambda t: functional.batch_norm(t, None, None, training=True),
        "softmax": lambda t: torch.softmax(t, 1),
        "log_softmax": lambda t: torch.log_softmax(t, -1),
        "cross_entropy": lambda t: functional.cross_entropy(t, label.to(t.device)),
    }
    for name, rule in rules.items():
        kit.compare(name, rule(x.to(kit.device)), rule(x.double()), 256 * U32, "256*u, u=2^-24")


def image(kit):
    """Sampling, resizing and pooling, forward; coordinates are rounded to about width*u."""
    torch = kit.torch
    functional = torch.nn.functional
    x = torch.randn(2, 3, 48, 64)
    grid = torch.rand(2, 30, 40, 2) * 1.8 - 0.9
    rules = {
        "grid_sample": lambda t: functional.grid_sample(t, grid.to(t.device, t.dtype), align_corners=False),
        "bilinear": lambda t: functional.interpolate(t, scale_factor=2.0, mode="bilinear", align_corners=False),
        "bicubic": lambda t: functional.interpolate(t, size=(31, 37), mode="bicubic", align_corners=True),
        "avg_pool": lambda t: functional.avg_pool2d(t, 3, 2),
        "adaptive": lambda t: functional.adaptive_avg_pool2d(t, (5, 7)),
    }
    for name, rule in rules.items():
        kit.compare(name, rule(x.to(kit.device)), rule(x.double()), 64 * 64 * U32, "64*w*u, w=64, u=2^-24")
    kit.exact("max_pool", functional.max_pool2d(x.to(kit.device), 3, 2), functional.max_pool2d(x, 3, 2))


def optimizer(kit):
    """Three steps of AdamW over many tensors at once, against the same in float64."""
    torch = kit.torch
    shapes = [(64, 32), (32,), (7, 5, 3)]
    start = [torch.randn(*shape) for shape in shapes]
    slopes = [[torch.randn(*shape) for shape in shapes] for _ in range(3)]
    found = []
    for where, dtype in ((kit.device, torch.float32), ("cpu", torch.float64)):
        parameters = [torch.nn.Parameter(p.clone().to(where, dtype)) for p in start]
        adam = torch.optim.AdamW(parameters, lr=0.1, foreach=True)
        for step in slopes:
            for parameter, slope in zip(parameters, step):
                parameter.grad = slope.to(where, dtype)
            adam.step()
        found.append([p.detach() for p in parameters])
    for number, (got, want) in enumerate(zip(*found)):
        kit.compare("AdamW, tensor %d" % number, got, want, 64 * U32, "3 steps, 64*u, u=2^-24")


def libraries(kit):
    """After calling the vendor's libraries: is each of them, and the CUDA runtime, loaded once?"""
    kit.needs_gpu()
    torch = kit.torch
    x = torch.randn(64, 64, device=kit.device)
    x @ x
    torch.fft.rfft(x)
    torch.nn.functional.conv2d(x[None, None], x[None, None, :3, :3])
    torch.linalg.eigvalsh(x + x.T)
    kit.synchronize()
    loaded = loaded_libraries()
    kit.facts["libraries"] = loaded
    kit.bound(
        "CUDA runtimes", max(len(loaded.get("libcudart", [])) - 1, 0), 0, ", ".join(loaded.get("libcudart", ["static"]))
    )
    for name, places in sorted(loaded.items()):
        kit.bound("copies of %s" % name, len(places) - 1, 0, ", ".join(places))


def loaded_libraries():
    """The CUDA libraries in this process: the name without its version -> where from."""
    prefixes = ("libcudart", "libcublas", "libcudnn", "libcufft", "libcurand", "libcusolver", "libcusparse", "libnccl")
    found = {}
    with open("/proc/self/maps") as maps:
        paths = {line.split(None, 5)[5].strip() for line in maps if line.count("/")}
    for path in sorted(paths):
        name = os.path.basename(path)
        if name.startswith((*prefixes, "libnvrtc", "libnvJitLink")) and ".so" in name:
            found.setdefault(name.partition(".so")[0], []).append(path)
    return found
