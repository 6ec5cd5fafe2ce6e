"""Matrix products in every number format, against float64.

Bound: |error| <= (u_out + k*u_sum) * (|A| |B|), element by element and in any order of summation (Higham 2002, 3.5). Tensor
cores truncate while they sum, so their u_sum is 2^-23.
"""

K = 512


def _operands(torch, dtype):
    a, b = torch.randn(257, K), torch.randn(K, 129)
    return a.to(dtype), b.to(dtype)


def _product(kit, dtype, tolerance, basis):
    torch = kit.torch
    a, b = _operands(torch, dtype)
    want, scale = a.double() @ b.double(), a.double().abs() @ b.double().abs()
    kit.compare("A B", a.to(kit.device) @ b.to(kit.device), want, tolerance, basis, scale)
    batch = torch.stack([a[:64], a[64:128]])
    want, scale = batch.double() @ b.double(), batch.double().abs() @ b.double().abs()
    kit.compare("batch", batch.to(kit.device) @ b.to(kit.device), want, tolerance, basis, scale)
    vector = b[:, 0].contiguous()
    want, scale = a.double() @ vector.double(), a.double().abs() @ vector.double().abs()
    kit.compare("A v", a.to(kit.device) @ vector.to(kit.device), want, tolerance, basis, scale)


def _strict(torch):
    """No shortcuts that trade accuracy for speed, so that the bound holds."""
    torch.backends.cuda.matmul.allow_tf32 = False
    for name in ("allow_fp16_reduced_precision_reduction", "allow_bf16_reduced_precision_reduction"):
        if hasattr(torch.backends.cuda.matmul, name):
            setattr(torch.backends.cuda.matmul, name, False)


def single(kit):
    """Products in float32, TF32 off."""
    _strict(kit.torch)
    _product(kit, kit.torch.float32, K * 2.0**-24, "k*u, k=512, u=2^-24")


def double(kit):
    """Products in float64."""
    _product(kit, kit.torch.float64, 2 * K * 2.0**-53, "2*k*u, k=512, u=2^-53")


def tf32(kit):
    """Operands are rounded to 11 bits: twice 2^-11."""
    if kit.on_gpu:
        kit.needs_capability(8)
    torch = kit.torch
    torch.backends.cuda.matmul.allow_tf32 = True
    _product(kit, torch.float32, 2.0**-10 + K * 2.0**-23, "2*2^-11 + k*2^-23, k=512")


def half(kit):
    """Products in float16, summed in float32."""
    _strict(kit.torch)
    _product(kit, kit.torch.float16, 2.0**-11 + K * 2.0**-23, "u + k*2^-23, k=512, u=2^-11")


def bfloat16(kit):
    """Products in bfloat16, summed in float32."""
    if kit.on_gpu:
        kit.needs_capability(8)
    _strict(kit.torch)
    _product(kit, kit.torch.bfloat16, 2.0**-8 + K * 2.0**-23, "u + k*2^-23, k=512, u=2^-8")


def fp8(kit):
    """Scaled product of e4m3 numbers; partial sums keep about 14 bits on Hopper (DeepSeek-V3 report, 3.3.2)."""
    kit.needs_capability(8, 9)
    torch = kit.torch
    kind = kit.needs(torch, "float8_e4m3fn")
    multiply = kit.needs(torch, "_scaled_mm")
    a, b = torch.randn(256, K).to(kind), torch.randn(128, K).to(kind)
    one = torch.ones((), device=kit.device)
    there = multiply(a.to(kit.device), b.to(kit.device).t(), scale_a=one, scale_b=one, out_dtype=torch.bfloat16)
    got = there[0] if isinstance(there, tuple) else there
    left, right = a.float().double(), b.float().double().t()
    kit.compare("A B", got, left @ right, 2.0**-8 + 2.0**-9, "u + 16*2^-13, u=2^-8", left.abs() @ right.abs())


def int8(kit):
    """Sums of integers are exact."""
    if kit.on_gpu:
        kit.needs_capability(8)
    torch = kit.torch
    multiply = kit.needs(torch, "_int_mm")
    a = torch.randint(-128, 128, (64, K), dtype=torch.int8)
    b = torch.randint(-128, 128, (K, 32), dtype=torch.int8)
    kit.exact("A B", multiply(a.to(kit.device), b.to(kit.device)), (a.long() @ b.long()).int())
