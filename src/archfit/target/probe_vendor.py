"""cuDNN, cuFFT, cuSPARSE, and attention in each of its forms."""

import contextlib
import math
import warnings

U32 = 2.0**-24


def convolution(kit):
    """Forward and backward. Errors add like a random walk, sqrt(k)*u (Higham and Mary 2019); Winograd costs a factor 8."""
    torch = kit.torch
    torch.backends.cudnn.allow_tf32 = False
    functional = torch.nn.functional
    for name, options in (
        ("3x3", {"padding": 1}),
        ("strided", {"stride": 2, "padding": 1}),
        ("dilated", {"dilation": 2}),
    ):
        x, w = torch.randn(4, 16, 33, 35), torch.randn(24, 16, 3, 3)
        want = _gradients(functional.conv2d, x.double(), w.double(), options)
        scale = _gradients(functional.conv2d, x.double().abs(), w.double().abs(), options)
        there = x.to(kit.device), w.to(kit.device)
        if kit.on_gpu and not torch.backends.cudnn.is_acceptable(there[0]):
            raise RuntimeError("torch does not use cuDNN here")
        got = _gradients(functional.conv2d, *there, options)
        counts = (16 * 9, 24 * 9, 4 * want[0].shape[2] * want[0].shape[3])
        for part, g, e, s, k in zip(("forward", "input gradient", "weight gradient"), got, want, scale, counts):
            tolerance = 64 * math.sqrt(k) * U32
            kit.compare("%s, %s" % (name, part), g, e, tolerance, "64*sqrt(k)*u, k=%d, u=2^-24" % k, s.clamp(min=1e-3))
    if kit.on_gpu:
        kit.facts["cudnn"] = torch.backends.cudnn.version()


def _gradients(convolve, x, w, options):
    """Output, gradient of the input, gradient of the weights, for a gradient of ones."""
    x, w = x.detach().clone().requires_grad_(), w.detach().clone().requires_grad_()
    out = convolve(x, w, **options)
    out.sum().backward()
    return out.detach(), x.grad, w.grad


def convolution_half(kit):
    """Channels last, in the format that training uses, and transposed; the output is rounded once."""
    torch = kit.torch
    bf16 = not kit.on_gpu or kit.capability >= (8, 0)
    dtype, unit, name = (torch.bfloat16, 2.0**-8, "u=2^-8") if bf16 else (torch.float16, 2.0**-11, "u=2^-11")
    x, w = torch.randn(2, 32, 28, 28).to(dtype), torch.randn(64, 32, 3, 3).to(dtype)
    there = x.to(kit.device, memory_format=torch.channels_last)
    functional = torch.nn.functional
    want = functional.conv2d(x.double(), w.double(), padding=1)
    scale = functional.conv2d(x.double().abs(), w.double().abs(), padding=1)
    kit.compare("conv2d", functional.conv2d(there, w.to(kit.device), padding=1), want, 2 * unit, "2*u, " + name, scale)
    wide = torch.randn(32, 16, 4, 4).to(dtype)
    want = functional.conv_transpose2d(x.double(), wide.double(), stride=2)
    scale = functional.conv_transpose2d(x.double().abs(), wide.double().abs(), stride=2)
    got = functional.conv_transpose2d(there, wide.to(kit.device), stride=2)
    kit.compare("transposed", got, want, 2 * unit, "2*u, " + name, scale)


def fft(kit):
    """Errors grow like log2(n)*u in units of the root mean square (Higham 2002, 24.1); a prime length costs more."""
    torch = kit.torch
    for name, shape, run in (
        ("rfft, n=4096", (8, 4096), torch.fft.rfft),
        ("fft, n=1009", (8, 1009), torch.fft.fft),
        ("fft2, n=60*84", (3, 60, 84), torch.fft.fft2),
    ):
        x = torch.randn(*shape)
        want = torch.view_as_real(run(x.double()))
        got = torch.view_as_real(run(x.to(kit.device)))
        n = shape[-1] * (shape[-2] if "fft2" in name else 1)
        scale = float(want.pow(2).mean().sqrt())
        kit.compare(name, got, want, 32 * math.log2(n) * U32, "32*log2(n)*u, u=2^-24", scale)
    x = torch.randn(5, 1000)
    back = torch.fft.irfft(torch.fft.rfft(x.to(kit.device)), n=1000)
    kit.compare("there and back", back, x.double(), 32 * math.log2(1000) * U32, "32*log2(n)*u, n=1000")


def sparse(kit):
    """Sparse times dense, compressed rows and coordinates; k is the number of entries in a row."""
    torch = kit.torch
    dense = torch.randn(300, 400) * (torch.rand(300, 400) < 0.1)
    right = torch.randn(400, 33)
    want, scale = dense.double() @ right.double(), dense.double().abs() @ right.double().abs()
    k = int((dense != 0).sum(1).max())
    basis = "k*u, k=%d, u=2^-24" % k
    for name, kind in (("compressed rows", "to_sparse_csr"), ("coordinates", "to_sparse")):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # compressed rows are called beta
            matrix = getattr(dense, kind)().to(kit.device)
        got = matrix @ right.to(kit.device)
        kit.compare(name, got, want, k * U32, basis, scale.clamp(min=1e-3))


def attention_math(kit):
    """Attention from single operations, forward and backward."""
    _attention(kit, "MATH")


def attention_flash(kit):
    """Flash attention of torch itself, forward and backward."""
    if kit.on_gpu:
        kit.needs_capability(8)
    _attention(kit, "FLASH_ATTENTION")


def attention_efficient(kit):
    """Memory-efficient attention of torch itself, forward and backward."""
    kit.needs_gpu()
    _attention(kit, "EFFICIENT_ATTENTION")


def attention_cudnn(kit):
    """Attention by cuDNN, forward and backward."""
    kit.needs_capability(8)
    _attention(kit, "CUDNN_ATTENTION")


def _attention(kit, backend):
    """One backend at a time; probabilities are rounded once before the second product: 4*u of the largest value."""
    torch = kit.torch
    dtype = torch.float16 if kit.on_gpu else torch.float32
    unit = 2.0**-11 if kit.on_gpu else U32 * 16
    q, k, v = (torch.randn(2, 4, 136, 64).to(dtype) for _ in range(3))
    weights = torch.softmax(q.double() @ k.double().transpose(-1, -2) / 8.0, -1)
    want = weights @ v.double()
    there = [t.to(kit.device).requires_grad_() for t in (q, k, v)]
    upstream = torch.randn(2, 4, 136, 64).to(dtype)
    with _only(kit, torch, backend, there):
        out = torch.nn.functional.scaled_dot_product_attention(*there)
        (out * upstream.to(kit.device)).sum().backward()
    basis = "4*u, u=2^-11" if kit.on_gpu else "64*u, u=2^-24"
    kit.compare("forward", out, want, 4 * unit, basis, float(v.double().abs().max()))
    slope = weights.transpose(-1, -2) @ upstream.double()
    scale = float((weights.transpose(-1, -2) @ upstream.double().abs()).max())
    kit.compare("gradient of v", there[2].grad, slope, 4 * unit, basis, scale)


@contextlib.contextmanager
def _only(kit, torch, backend, tensors):
    """Allow this backend alone; skip where torch itself says that it cannot serve this GPU or release."""
    kit.needs(torch.nn.functional, "scaled_dot_product_attention")
    chooser = getattr(torch.nn, "attention", None) or kit.needs(torch.nn, "attention")
    chosen = kit.needs(chooser.SDPBackend, backend)
    _ask(kit, torch, backend, tensors)
    with chooser.sdpa_kernel([chosen]):
        yield


def _ask(kit, torch, backend, tensors):
    from probe_kit import Skip

    question = {"FLASH_ATTENTION": "can_use_flash_attention", "EFFICIENT_ATTENTION": "can_use_efficient_attention"}
    name = dict(question, CUDNN_ATTENTION="can_use_cudnn_attention").get(backend)
    ask, parameters = getattr(torch.backends.cuda, name or "", None), getattr(torch.backends.cuda, "SDPAParams", None)
    if not kit.on_gpu or ask is None or parameters is None:
        return
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        try:
            able = ask(parameters(*tensors, None, 0.0, False, False), True)
        except TypeError:  # the parameters of another release
            return
    if not able:
        reasons = [str(w.message).splitlines()[0] for w in said]
        raise Skip("skip-refused", cause="; ".join(reasons[:2]) or name)
