"""Frameworks beside torch, each in a process of its own: a real operation against plain float64 arithmetic in numpy."""

import importlib

U32 = 2.0**-24
BASIS = "k*u, k=64, u=2^-24"


def _operands():
    numpy = importlib.import_module("numpy")
    numbers = numpy.random.RandomState(7)
    a, b = (numbers.standard_normal(shape).astype("float32") for shape in ((48, 64), (64, 32)))
    left, right = a.astype("float64"), b.astype("float64")
    return a, b, left @ right, abs(left) @ abs(right)


def _check(kit, got, want, scale, loose=False):
    tolerance, basis = (2.0**-10, "2*2^-11: may use TF32") if loose else (64 * U32, BASIS)
    kit.compare("A B", got, want, tolerance, basis, scale)


def onnxruntime_session(kit):
    """A session that multiplies two matrices; on a GPU with the CUDA provider, and not quietly on the CPU."""
    from probe_kit import Skip

    ort = kit.load("onnxruntime")
    provider = "CUDAExecutionProvider" if kit.on_gpu else "CPUExecutionProvider"
    if provider not in ort.get_available_providers():
        raise Skip("skip-cpu-build", what="onnxruntime")
    if kit.on_gpu and hasattr(ort, "preload_dlls"):
        ort.preload_dlls()
    session = ort.InferenceSession(_model(), providers=[provider])
    if provider not in session.get_providers():
        raise RuntimeError("onnxruntime fell back to %s" % ", ".join(session.get_providers()))
    a, b, want, scale = _operands()
    _check(kit, session.run(None, {"a": a, "b": b})[0], want, scale, loose=kit.on_gpu)


def _model():
    """An ONNX model of one node, written by hand: c = a b."""

    def number(field, value):
        return bytes([field << 3]) + _varint(value)

    def message(field, data):
        return bytes([field << 3 | 2]) + _varint(len(data)) + data

    def tensor(name, *shape):
        sides = b"".join(message(1, number(1, side)) for side in shape)
        kind = message(1, number(1, 1) + message(2, sides))  # float32
        return message(1, name) + message(2, kind)

    node = message(1, b"a") + message(1, b"b") + message(2, b"c") + message(4, b"MatMul")
    graph = message(1, node) + message(2, b"archfit")
    graph += message(11, tensor(b"a", 48, 64)) + message(11, tensor(b"b", 64, 32)) + message(12, tensor(b"c", 48, 32))
    return number(1, 8) + message(7, graph) + message(8, message(1, b"") + number(2, 13))


def _varint(value):
    out = b""
    while value > 127:
        out, value = out + bytes([value & 127 | 128]), value >> 7
    return out + bytes([value])


def cupy_kernel(kit):
    """A product by cuBLAS, and a kernel of our own through NVRTC."""
    kit.needs_gpu()
    cupy = kit.load("cupy")
    cupy.cuda.Device(kit.index).use()
    a, b, want, scale = _operands()
    _check(kit, cupy.asarray(a) @ cupy.asarray(b), want, scale, loose=True)
    kernel = cupy.RawKernel('extern "C" __global__ void twice(float *x) { x[threadIdx.x] *= 2; }', "twice")
    x = cupy.arange(64, dtype="float32")
    kernel((1,), (64,), (x,))
    kit.exact("2 x", x, [2.0 * i for i in range(64)])


def jax_jit(kit):
    """A compiled product; on a GPU it must really be there."""
    jax = kit.load("jax")
    kind = "gpu" if kit.on_gpu else "cpu"
    place = jax.devices(kind)[kit.index if kit.on_gpu else 0]
    a, b, want, scale = _operands()
    run = jax.jit(lambda x, y: jax.numpy.matmul(x, y, precision="highest"))
    got = run(jax.device_put(a, place), jax.device_put(b, place))
    got.block_until_ready()
    kit.exact("where it ran", [float(place in got.devices())], [1.0])
    _check(kit, got, want, scale)


def tensorflow_product(kit):
    tensorflow = kit.load("tensorflow")
    from probe_kit import Skip

    if kit.on_gpu and not tensorflow.test.is_built_with_cuda():
        raise Skip("skip-cpu-build", what="tensorflow")
    where = "/GPU:%d" % kit.index if kit.on_gpu else "/CPU:0"
    tensorflow.config.set_soft_device_placement(False)
    a, b, want, scale = _operands()
    with tensorflow.device(where):
        _check(kit, tensorflow.linalg.matmul(a, b), want, scale, loose=kit.on_gpu)


def numba_kernel(kit):
    """A kernel compiled by numba: its PTX goes through the driver or nvJitLink."""
    kit.needs_gpu()
    cuda = kit.load("numba.cuda")
    numpy = importlib.import_module("numpy")
    cuda.select_device(kit.index)

    def twice(x):
        i = cuda.grid(1)
        if i < x.size:
            x[i] *= 2

    there = cuda.to_device(numpy.arange(64, dtype="float32"))
    cuda.jit(twice)[1, 64](there)
    kit.exact("2 x", there.copy_to_host(), [2.0 * i for i in range(64)])


def warp_kernel(kit):
    warp = kit.load("warp")
    warp.init()
    numpy = importlib.import_module("numpy")
    place = "cuda:%d" % kit.index if kit.on_gpu else "cpu"
    x = warp.array(numpy.arange(64, dtype="float32"), dtype=float, device=place)
    warp.utils.array_scan(x, x, inclusive=True)
    kit.exact("running sum", x.numpy(), [float(i * (i + 1) // 2) for i in range(64)])


def tensorrt_builder(kit):
    """A builder and a runtime for this GPU."""
    kit.needs_gpu()
    tensorrt = kit.load("tensorrt")
    logger = tensorrt.Logger(tensorrt.Logger.ERROR)
    builder = tensorrt.Builder(logger)
    network = builder.create_network(0)
    x = network.add_input("x", tensorrt.float32, (1, 8))
    twice = network.add_elementwise(x, x, tensorrt.ElementWiseOperation.SUM)
    network.mark_output(twice.get_output(0))
    plan = builder.build_serialized_network(network, builder.create_builder_config())
    engine = tensorrt.Runtime(logger).deserialize_cuda_engine(plan) if plan is not None else None
    kit.exact("an engine was built", [float(engine is not None)], [1.0])


def faiss_search(kit):
    faiss = kit.load("faiss")
    from probe_kit import Skip

    numpy = importlib.import_module("numpy")
    if kit.on_gpu and not getattr(faiss, "get_num_gpus", lambda: 0)():
        raise Skip("skip-cpu-build", what="faiss")
    points = numpy.random.RandomState(7).standard_normal((500, 16)).astype("float32")
    index = faiss.IndexFlatL2(16)
    if kit.on_gpu:
        index = faiss.index_cpu_to_gpu(faiss.StandardGpuResources(), kit.index, index)
    index.add(points)
    distances, _ = index.search(points[:20], 3)
    exact = ((points[:20, None].astype("float64") - points[None].astype("float64")) ** 2).sum(-1)
    exact.sort(1)
    kit.compare("squared distances", distances, exact[:, :3], 256 * U32, "256*u, u=2^-24")


def ctranslate2_types(kit):
    """The library sees the GPU and has kernels for it; float32 is always among the types it can compute in."""
    kit.needs_gpu()
    library = kit.load("ctranslate2")
    types = library.get_supported_compute_types("cuda", kit.index)
    kit.exact("computes in float32", [float("float32" in types)], [1.0])


def llama_cpp_backend(kit):
    from probe_kit import Skip

    library = kit.load("llama_cpp")
    if kit.on_gpu and not library.llama_supports_gpu_offload():
        raise Skip("skip-cpu-build", what="llama-cpp-python")
    library.llama_backend_init()
    kit.exact("backend started", [float(bool(library.llama_print_system_info()))], [1.0])


def paddle_product(kit):
    paddle = kit.load("paddle")
    from probe_kit import Skip

    if kit.on_gpu and not paddle.device.is_compiled_with_cuda():
        raise Skip("skip-cpu-build", what="paddle")
    paddle.set_device("gpu:%d" % kit.index if kit.on_gpu else "cpu")
    a, b, want, scale = _operands()
    _check(kit, paddle.matmul(paddle.to_tensor(a), paddle.to_tensor(b)).numpy(), want, scale, loose=kit.on_gpu)
