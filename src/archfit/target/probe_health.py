"""Speed: what this GPU does, to be held against what it should do. Each alone on the GPU, medians of several rounds."""

import time


def _median(values):
    return sorted(values)[len(values) // 2]


def _seconds(kit, run, rounds=7):
    """The median time of `run`, by the GPU's own clock, after two rounds to warm up."""
    torch = kit.torch
    for _ in range(2):
        run()
    kit.synchronize()
    if not kit.on_gpu:
        times = []
        for _ in range(rounds):
            started = time.perf_counter()
            run()
            times.append(time.perf_counter() - started)
        return _median(times)
    times = []
    for _ in range(rounds):
        begin, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        begin.record()
        run()
        end.record()
        end.synchronize()
        times.append(begin.elapsed_time(end) / 1000.0)
    return _median(times)


def _room(kit, wanted):
    """Bytes to work with: `wanted`, or an eighth of what is free."""
    if not kit.on_gpu:
        return 1 << 24
    return min(wanted, kit.torch.cuda.mem_get_info(kit.index)[0] // 8)


def copy(kit):
    """Bandwidth of the GPU's memory: a copy on the device, bytes read and bytes written."""
    torch = kit.torch
    size = _room(kit, 1 << 30)
    data = torch.ones(size, dtype=torch.uint8, device=kit.device)
    other = torch.empty_like(data)
    seconds = _seconds(kit, lambda: other.copy_(data))
    kit.exact("what was copied", other[-1000:].cpu(), [1] * 1000)
    kit.figure("copy_bytes_per_s", 2.0 * size / seconds)


def half(kit):
    """Rate of the tensor cores: products in bfloat16, or float16 before Ampere."""
    torch = kit.torch
    dtype = torch.bfloat16 if not kit.on_gpu or kit.capability >= (8, 0) else torch.float16
    _rate(kit, "half_flop_per_s", dtype, 8192)


def single(kit):
    """Rate of the ordinary cores: products in float32, TF32 off."""
    kit.torch.backends.cuda.matmul.allow_tf32 = False
    _rate(kit, "single_flop_per_s", kit.torch.float32, 4096)


def _rate(kit, name, dtype, largest):
    torch = kit.torch
    n = largest
    while n > 512 and (not kit.on_gpu or 6 * n * n * 4 > _room(kit, 1 << 32)):
        n //= 2
    a, b = (torch.randn(n, n, device=kit.device, dtype=torch.float32).to(dtype) for _ in range(2))
    out = a @ b
    seconds = _seconds(kit, lambda: torch.matmul(a, b, out=out))
    want = a[:4].cpu().double() @ b.cpu().double()
    scale = a[:4].cpu().double().abs() @ b.cpu().double().abs()
    kit.compare("the product", out[:4], want, 2.0**-7 if dtype != torch.float32 else n * 2.0**-24, "2*u or n*u", scale)
    kit.figure(name, 2.0 * n**3 / seconds)


def transfer(kit):
    """To the GPU and back over its bus, from pinned memory."""
    kit.needs_gpu()
    torch = kit.torch
    size = _room(kit, 1 << 28)
    here = torch.ones(size, dtype=torch.uint8).pin_memory()
    there = torch.empty(size, dtype=torch.uint8, device=kit.device)
    kit.figure("to_device_bytes_per_s", size / _seconds(kit, lambda: there.copy_(here, non_blocking=True), 5))
    kit.figure("from_device_bytes_per_s", size / _seconds(kit, lambda: here.copy_(there, non_blocking=True), 5))
    kit.exact("what came back", here[-1000:], [1] * 1000)


def launch(kit):
    """Time to launch a small piece of work; and what the first kernel of a process costs, CUDA's start included."""
    started = time.perf_counter()
    torch = kit.torch  # a CUDA context is made here
    x = torch.ones(1, device=kit.device)
    kit.synchronize()
    kit.figure("first_kernel_s", time.perf_counter() - started)
    for _ in range(50):
        x.add_(1)
    kit.synchronize()
    started = time.perf_counter()
    for _ in range(1000):
        x.add_(1)
    kit.synchronize()
    kit.figure("launch_s", (time.perf_counter() - started) / 1000)
    kit.exact("launches", x.cpu(), [1051.0])
