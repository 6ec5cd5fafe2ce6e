"""Kernels that are compiled on the spot: by Triton, by NVRTC, by the driver from PTX, by nvcc."""

import contextlib
import ctypes
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import time

U32 = 2.0**-24


def compiled(kit):
    """torch.compile: graph capture, code generation, Triton and the host compiler, from an empty cache."""
    from probe_kit import Skip

    if sys.platform == "win32":
        raise Skip("skip-no-api", what="torch.compile")
    _needs_compiler(kit)
    with tempfile.TemporaryDirectory() as folder:
        os.environ["TORCHINDUCTOR_CACHE_DIR"] = os.path.join(folder, "inductor")
        os.environ["TRITON_CACHE_DIR"] = os.path.join(folder, "triton")
        os.environ["TORCHINDUCTOR_COMPILE_THREADS"] = "1"  # no pool of workers for one small kernel
        torch = kit.torch
        compile_ = kit.needs(torch, "compile")
        if kit.on_gpu:
            kit.load("triton", "triton")
        x, w = torch.randn(64, 515), torch.randn(515)
        product = _rule(torch, x.double(), w.double())
        scale = (torch.nn.functional.gelu(x.double()) * w.double()).abs().sum(-1)
        got = compile_(_rule_of(torch))(x.to(kit.device), w.to(kit.device))
        kit.compare("gelu(x) * w, summed", got, product, 64 * 23 * U32, "64*sqrt(k)*u, k=515, u=2^-24", scale)


def _rule(torch, x, w):
    return (torch.nn.functional.gelu(x) * w).sum(-1)


def _rule_of(torch):
    def rule(x, w):
        return (torch.nn.functional.gelu(x) * w).sum(-1)

    return rule


def _needs_compiler(kit):
    """Triton compiles a launcher in C, the CPU's code generator writes C++: both want a compiler and Python's headers."""
    from probe_kit import Skip

    names = ("clang", "gcc", "cc") if kit.on_gpu else ("g++", "clang++", "c++")
    given = os.environ.get("CC" if kit.on_gpu else "CXX")
    if not given and not any(shutil.which(name) for name in names):
        raise Skip("skip-no-compiler", what=", ".join(names))
    if not os.path.exists(os.path.join(sysconfig.get_paths()["include"], "Python.h")):
        raise Skip("skip-no-compiler", what="Python.h")


def triton(kit):
    """A Triton kernel of our own: its compiler and its ptxas know this GPU."""
    kit.needs_gpu()
    kit.load("triton", "triton")
    _needs_compiler(kit)
    torch = kit.torch
    with tempfile.TemporaryDirectory() as folder:
        os.environ["TRITON_CACHE_DIR"] = folder
        import probe_triton

        x = torch.randint(0, 50, (5000,)).float()
        there = x.to(kit.device)
        out = torch.empty_like(there)
        probe_triton.scale_and_shift(there, out)
        kit.exact("2 x + 1", out.cpu(), 2 * x + 1)


def jiterator(kit):
    """NVRTC: torch compiles some of its own operators at run time."""
    kit.needs_gpu()
    torch = kit.torch
    kit.needs(torch.cuda, "jiterator._create_jit_fn")
    code = "template <typename T> T archfit_rule(T x, T y, T a) { return a * x * x + y; }"
    rule = torch.cuda.jiterator._create_jit_fn(code, a=3.0)
    x, y = torch.randint(0, 50, (2, 3001)).float()
    kit.exact("3 x^2 + y", rule(x.to(kit.device), y.to(kit.device)).cpu(), 3 * x * x + y)


PTX = b"""
.version 6.0
.target sm_50
.address_size 64
.visible .entry archfit_scale(.param .u64 data, .param .u32 count, .param .f32 factor)
{
    .reg .pred %q;
    .reg .b32 %r<6>;
    .reg .b64 %d<5>;
    .reg .f32 %f<4>;
    ld.param.u64 %d1, [data];
    ld.param.u32 %r1, [count];
    ld.param.f32 %f1, [factor];
    mov.u32 %r2, %ctaid.x;
    mov.u32 %r3, %ntid.x;
    mov.u32 %r4, %tid.x;
    mad.lo.s32 %r5, %r2, %r3, %r4;
    setp.ge.u32 %q, %r5, %r1;
    @%q bra DONE;
    cvta.to.global.u64 %d2, %d1;
    mul.wide.u32 %d3, %r5, 4;
    add.s64 %d4, %d2, %d3;
    ld.global.f32 %f2, [%d4];
    mul.f32 %f3, %f2, %f1;
    st.global.f32 [%d4], %f3;
DONE:
    ret;
}
"""


def ptx(kit):
    """The driver compiles PTX: what every library without code for this GPU depends on. Timed without its cache."""
    kit.needs_gpu()
    os.environ["CUDA_CACHE_DISABLE"] = "1"
    torch = kit.torch
    x = torch.randint(0, 50, (1000,)).float()
    there = x.to(kit.device)
    driver = _Driver("nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1")
    module, kernel = ctypes.c_void_p(), ctypes.c_void_p()
    started = time.time()
    driver.call("cuModuleLoadData", ctypes.byref(module), PTX)
    kit.figure("ptx_jit_s", time.time() - started)
    driver.call("cuModuleGetFunction", ctypes.byref(kernel), module, b"archfit_scale")
    values = (ctypes.c_void_p(there.data_ptr()), ctypes.c_uint(1000), ctypes.c_float(3.0))
    pointers = (ctypes.c_void_p * 3)(*(ctypes.cast(ctypes.byref(v), ctypes.c_void_p) for v in values))
    driver.call("cuLaunchKernel", kernel, 8, 1, 1, 128, 1, 1, 0, None, pointers, None)
    kit.synchronize()
    kit.exact("3 x", there.cpu(), 3 * x)


class _Driver:
    """The driver's own library, its errors in its own words."""

    def __init__(self, name):
        self.library = ctypes.CDLL(name)

    def call(self, name, *arguments):
        code = getattr(self.library, name)(*arguments)
        if code:
            said = ctypes.c_char_p()
            self.library.cuGetErrorString(code, ctypes.byref(said))
            raise RuntimeError("%s: CUDA error %d: %s" % (name, code, (said.value or b"unknown").decode()))


SOURCE = r"""
#include <cuda_runtime.h>
__global__ void scale(float *data, int count, float factor) {
  int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i < count) data[i] *= factor;
}
extern "C" const char *archfit_scale(float *data, int count, float factor) {
  scale<<<(count + 127) / 128, 128>>>(data, count, factor);
  cudaError_t error = cudaGetLastError();
  if (error == cudaSuccess) error = cudaDeviceSynchronize();
  return error == cudaSuccess ? 0 : cudaGetErrorString(error);
}
"""


def nvcc(kit):
    """An extension compiled on the spot with the toolkit that is here, for this very GPU, on torch's own memory."""
    from probe_kit import Skip

    kit.needs_gpu()
    torch = kit.torch
    program = _find_nvcc()
    if program is None:
        raise Skip("skip-no-toolkit")
    version = re.search(r"release (\d+)\.(\d+)", _say(program, "--version"))
    cuda = torch.version.cuda or ""
    if not version or version.group(1) != cuda.partition(".")[0]:
        raise Skip("skip-toolkit-other", nvcc=version.group(0) if version else program, cuda=cuda)
    target = "sm_%d%d" % kit.capability
    if target not in _say(program, "--list-gpu-code").split():
        raise Skip("skip-toolkit-old", nvcc=version.group(0), sm=target)
    if not (shutil.which("g++") or shutil.which("gcc") or os.environ.get("NVCC_CCBIN")):
        raise Skip("skip-no-compiler", what="g++")
    with tempfile.TemporaryDirectory() as folder:
        library = _build(program, target, folder)
        library.archfit_scale.restype = ctypes.c_char_p
        x = torch.randint(0, 50, (1000,)).float()
        there = x.to(kit.device)
        arguments = (ctypes.c_void_p(there.data_ptr()), ctypes.c_int(1000), ctypes.c_float(3.0))
        said = library.archfit_scale(*arguments)
        if said:
            raise RuntimeError("CUDA error: %s" % said.decode())
        kit.exact("3 x", there.cpu(), 3 * x)
        kit.facts["nvcc"] = version.group(0)


def _find_nvcc():
    homes = [os.environ.get("CUDA_HOME"), os.environ.get("CUDA_PATH")]
    named = [os.path.join(home, "bin", "nvcc") for home in homes if home]
    found = [*named, shutil.which("nvcc"), "/usr/local/cuda/bin/nvcc"]
    return next((path for path in found if path and os.access(path, os.X_OK)), None)


def _say(*command):
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=60)
    return done.stdout.decode("utf-8", "replace")


def _build(program, target, folder):
    source, library = os.path.join(folder, "scale.cu"), os.path.join(folder, "libscale.so")
    with open(source, "w") as page:
        page.write(SOURCE)
    code = "arch=%s,code=%s" % (target.replace("sm_", "compute_"), target)
    command = (program, "-shared", "-Xcompiler", "-fPIC", "-gencode", code, "-o", library, source)
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=120)
    with contextlib.suppress(OSError):
        return ctypes.CDLL(library)
    raise RuntimeError("nvcc: %s" % done.stdout.decode("utf-8", "replace").strip()[-400:])
