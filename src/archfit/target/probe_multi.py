"""Several GPUs: NCCL, and copies from one to another. Run as a script it is one rank of an all-reduce."""

import json
import os
import subprocess
import sys
import tempfile

COUNT = 1 << 20
RANK_SECONDS = 90


def nccl(kit):
    """All-reduce and broadcast, one process per GPU; sums of small integers are exact. On the CPU: gloo, two processes."""
    from probe_kit import Skip

    torch = kit.torch
    world = torch.cuda.device_count() if kit.on_gpu else 2
    if world < 2:
        raise Skip("skip-one-gpu")
    with tempfile.TemporaryDirectory() as folder:
        told = _run_ranks("nccl" if kit.on_gpu else "gloo", world, os.path.join(folder, "meeting"))
    total = world * (world + 1) // 2
    for rank, answer in enumerate(told):
        kit.exact("rank %d: sum" % rank, [answer["smallest"], answer["largest"]], [total, total])
        kit.exact("rank %d: broadcast" % rank, [answer["broadcast"]], [world])
    speeds = [answer["bus_bytes_per_s"] for answer in told]
    if kit.on_gpu:
        kit.figure("all_reduce_bus_bytes_per_s", min(speeds))


def _run_ranks(backend, world, meeting):
    command = [sys.executable, os.path.abspath(__file__), backend, str(world), meeting]
    ranks = [
        subprocess.Popen([*command, str(rank)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd="/")
        for rank in range(world)
    ]
    told = []
    try:
        for rank, process in enumerate(ranks):
            out, said = process.communicate(timeout=RANK_SECONDS)
            if process.returncode:
                words = said.decode("utf-8", "replace").strip().splitlines() or ["exit code %d" % process.returncode]
                raise RuntimeError("rank %d: %s" % (rank, words[-1]))
            told.append(json.loads(out.decode().strip().splitlines()[-1]))
    finally:
        for process in ranks:
            if process.poll() is None:
                process.kill()
    return told


def rank_main():
    """One rank: meet the others over a file, reduce, broadcast, say what came out."""
    import time

    import torch
    import torch.distributed as distributed

    backend, world, meeting, rank = sys.argv[1], int(sys.argv[2]), sys.argv[3], int(sys.argv[4])
    where = "cuda:%d" % rank if backend == "nccl" else "cpu"
    if backend == "nccl":
        torch.cuda.set_device(rank)
    distributed.init_process_group(backend, init_method="file://" + meeting, rank=rank, world_size=world)
    data = torch.full((COUNT,), float(rank + 1), device=where)
    distributed.all_reduce(data)
    sent = torch.full((4,), float(rank + 1), device=where)
    distributed.broadcast(sent, src=world - 1)
    answer = {"smallest": int(data.min()), "largest": int(data.max()), "broadcast": int(sent.min())}
    big = torch.ones((1 << 26) if backend == "nccl" else COUNT, device=where)
    distributed.all_reduce(big)
    int(big[0])
    started = time.time()
    for _ in range(3):
        distributed.all_reduce(big)
    int(big[0])
    seconds = (time.time() - started) / 3
    answer["bus_bytes_per_s"] = 2.0 * (world - 1) / world * big.numel() * 4 / seconds
    print(json.dumps(answer))
    sys.stdout.flush()
    distributed.barrier()
    os._exit(0)


def peer(kit):
    """Bytes from each GPU to each other one, the direct way where there is one."""
    from probe_kit import Skip

    kit.needs_gpu()
    torch = kit.torch
    world = torch.cuda.device_count()
    if world < 2:
        raise Skip("skip-one-gpu")
    data = torch.randint(0, 256, (1 << 24,), dtype=torch.uint8)
    direct = 0
    for source in range(world):
        held = data.to("cuda:%d" % source)
        for target in range(world):
            if target == source:
                continue
            direct += int(torch.cuda.can_device_access_peer(source, target))
            moved = held.to("cuda:%d" % target)
            torch.cuda.synchronize(source)
            kit.exact("%d -> %d" % (source, target), moved.cpu(), data)
    kit.facts["direct_pairs"] = direct
    kit.figure("peer_bytes_per_s", _peer_speed(torch))


def _peer_speed(torch):
    import time

    big = torch.empty(1 << 28, dtype=torch.uint8, device="cuda:0")
    other = torch.empty_like(big, device="cuda:1")
    other.copy_(big)
    torch.cuda.synchronize(1)
    started = time.time()
    for _ in range(4):
        other.copy_(big)
    torch.cuda.synchronize(0)
    torch.cuda.synchronize(1)
    return 4 * big.numel() / (time.time() - started)


if __name__ == "__main__":
    rank_main()
