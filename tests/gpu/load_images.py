"""Load GPU code with the driver and launch its kernel: a child process, so that variables of the driver can be set for it.

usage: python load_images.py FOLDER [LIBRARY ...]

Prints one JSON line: what the driver says of itself, and for each file of FOLDER ``ok`` or the name of the error. With
libraries: the same for the host functions ``scale`` and ``shift`` in them, called in order through the CUDA runtime.
"""

import ctypes
import ctypes.util
import json
import sys
from pathlib import Path

N, FACTOR = 1000, 3.0


class Failed(Exception):
    pass


def driver():
    cuda = ctypes.CDLL("libcuda.so.1")

    def call(name, *arguments):
        code = getattr(cuda, name)(*arguments)
        if code:
            text = ctypes.c_char_p()
            cuda.cuGetErrorName(code, ctypes.byref(text))
            raise Failed(f"{(text.value or b'?').decode()} {code}")

    return call


def begin(call):
    device, context = ctypes.c_int(), ctypes.c_void_p()
    call("cuInit", 0)
    call("cuDeviceGet", ctypes.byref(device), 0)
    call("cuDevicePrimaryCtxRetain", ctypes.byref(context), device)
    call("cuCtxSetCurrent", context)
    version, major, minor = ctypes.c_int(), ctypes.c_int(), ctypes.c_int()
    call("cuDriverGetVersion", ctypes.byref(version))
    call("cuDeviceGetAttribute", ctypes.byref(major), 75, device)
    call("cuDeviceGetAttribute", ctypes.byref(minor), 76, device)
    return {"cuda": version.value, "capability": f"{major.value}.{minor.value}"}


def run(call, image):
    """Load, launch and check one image."""
    module, function = ctypes.c_void_p(), ctypes.c_void_p()
    call("cuModuleLoadData", ctypes.byref(module), image)
    try:
        call("cuModuleGetFunction", ctypes.byref(function), module, b"_Z12scale_kernelPffi")
        place = ctypes.c_uint64()
        call("cuMemAlloc_v2", ctypes.byref(place), N * 4)
        values = (ctypes.c_float * N)(*range(N))
        call("cuMemcpyHtoD_v2", place, values, N * 4)
        factor, count = ctypes.c_float(FACTOR), ctypes.c_int(N)
        arguments = (ctypes.c_void_p * 3)(
            *(ctypes.cast(ctypes.byref(a), ctypes.c_void_p) for a in (place, factor, count))
        )
        call("cuLaunchKernel", function, (N + 255) // 256, 1, 1, 256, 1, 1, 0, None, arguments, None)
        call("cuCtxSynchronize")
        call("cuMemcpyDtoH_v2", values, place, N * 4)
        call("cuMemFree_v2", place)
    finally:
        call("cuModuleUnload", module)
    if list(values) != [FACTOR * i for i in range(N)]:
        raise Failed("wrong numbers")


def runtime():
    """The CUDA runtime, visible to the libraries that are loaded after it."""
    found = [p for path in sys.path for p in Path(path).glob("nvidia/*/lib/libcudart.so.1*")]
    found += Path("/usr/local").glob("cuda*/lib64/libcudart.so.1[0-9]")
    for path in [*sorted(found, reverse=True), ctypes.util.find_library("cudart") or "libcudart.so"]:
        try:
            return ctypes.CDLL(str(path), mode=ctypes.RTLD_GLOBAL)
        except OSError:
            continue
    return None


def call_units(cudart, path):
    """Both host functions of a library, in order: each is a translation unit of its own."""
    ctypes.CDLL("libstdc++.so.6", mode=ctypes.RTLD_GLOBAL)  # the small libraries of tests/data name no library of C++
    library = ctypes.CDLL(path)
    answers = {}
    for name, argument, expected in (("scale", 3.0, 6.0), ("shift", 1.0, 3.0), ("scale", 3.0, 6.0)):
        function = getattr(library, name, None)
        if function is None:
            continue
        place, value = ctypes.c_void_p(), ctypes.c_float(2.0)
        cudart.cudaMalloc(ctypes.byref(place), 4)
        cudart.cudaMemcpy(place, ctypes.byref(value), 4, 1)
        function(place, ctypes.c_float(argument), 1)
        code = cudart.cudaGetLastError() or cudart.cudaDeviceSynchronize()
        cudart.cudaMemcpy(ctypes.byref(value), place, 4, 2)
        cudart.cudaGetErrorName.restype = ctypes.c_char_p
        good = "ok" if value.value == expected else f"wrong number {value.value}"
        answers.setdefault(name, []).append(f"{cudart.cudaGetErrorName(code).decode()} {code}" if code else good)
    return answers


def main():
    folder, libraries = sys.argv[1], sys.argv[2:]
    call = driver()
    answer = begin(call)
    answer["images"] = {}
    for path in sorted(Path(folder).iterdir()):
        try:
            run(call, path.read_bytes() + b"\0")  # a PTX text has to end in a zero
            answer["images"][path.name] = "ok"
        except Failed as error:
            answer["images"][path.name] = str(error)
    cudart = runtime() if libraries else None
    answer["units"] = {path: call_units(cudart, path) for path in libraries} if cudart else None
    print(json.dumps(answer))


if __name__ == "__main__":
    main()
