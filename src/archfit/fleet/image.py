"""One container image for many nodes: what goes into it, and what the host has to bring."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

from archfit.arch import ComputeCapability, CudaVersion, Target, Verdict, judge_code
from archfit.catalog import Build, Catalog, Toolkit
from archfit.fleet.choose import Share, pick_smallest, tables_of
from archfit.fleet.cover import elements
from archfit.fleet.moves import fleet_build, moves_of, window_of
from archfit.fleet.needs import Need, needs_of
from archfit.model import FleetBuild, FleetImage, Node, Text, Unserved

DOCKER_PLATFORMS = {"linux_x86_64": "linux/amd64", "linux_aarch64": "linux/arm64"}


def images_of(nodes: Iterable[Node], catalog: Catalog) -> tuple[tuple[FleetImage, ...], tuple[Unserved, ...]]:
    """As few images as serve all nodes, each of one torch release with a build per platform; and whom none serves.

    An image brings its own Python and glibc, so of a node only GPUs, driver and processor matter.
    """
    nodes = tuple(nodes)
    fitting = [node for node in nodes if node.platform in DOCKER_PLATFORMS]
    strangers = tuple(node.name for node in nodes if node.platform not in DOCKER_PLATFORMS)
    unserved = [Unserved(strangers, Text("fleet-image-linux"))] if strangers else []
    if not fitting:
        return (), tuple(unserved)
    tag, shares, lost = _best_python(fitting, catalog)
    if lost:
        unserved.append(Unserved(tuple(name for need in lost for name in need.names), Text("fleet-image-none")))
    return tuple(_image(group, tag, catalog) for group in _by_release(shares)), tuple(unserved)


def _best_python(nodes: Sequence[Node], catalog: Catalog) -> tuple[str, list[Share], list[Need]]:
    """The Python with which the fewest images serve the most nodes; of equals the one that most nodes run now."""
    common = [tag for tag, _ in Counter(node.python_tag for node in nodes).most_common()]
    offered = dict.fromkeys(tag for build in reversed(catalog.builds) for tag in reversed(build.python_tags))
    tags = [tag for tag in dict.fromkeys([*common, *offered]) if tag in offered and not tag.endswith("t")]
    found = []
    for tag in tags:
        tables = tables_of(needs_of(nodes, catalog, python_tag=tag), catalog)
        shares = pick_smallest(tables)
        lost = [need for table in tables for n, need in enumerate(table.needs) if not table.servable >> n & 1]
        images = len(_by_release(shares))
        found.append(((sum(len(need.nodes) for need in lost), images), tag, shares, lost))
    _, tag, shares, lost = min(found, key=lambda row: row[0])
    return tag, shares, lost


def _by_release(shares: Iterable[Share]) -> list[list[Share]]:
    """Shares that can be one image: one release of torch, at most one build for each platform."""
    groups: list[list[Share]] = []
    for share in shares:
        same = (
            group
            for group in groups
            if group[0].build.torch == share.build.torch
            and all(other.build.platform != share.build.platform for other in group)
        )
        group = next(same, None)
        groups.append([share]) if group is None else group.append(share)
    return groups


def _image(shares: Sequence[Share], tag: str, catalog: Catalog) -> FleetImage:
    served = [(share.build, share.table.needs[n]) for share in shares for n in elements(share.mask)]
    capabilities = sorted({c for _, need in served for c in need.situation.capabilities})
    builds = tuple(fleet_build(share.build, catalog) for share in shares)
    toolkit = _toolkit([share.build for share in shares], capabilities, catalog)
    python = f"{tag[2]}.{tag[3:]}"
    arch_list = ";".join(_flags(capabilities, toolkit))
    return FleetImage(
        builds=builds,
        python=python,
        arch_list=arch_list,
        toolkit=toolkit.cuda,
        window=window_of(served, catalog),
        nodes=tuple(name for _, need in served for name in need.names),
        moves=moves_of(served),
        recipe=recipe(builds, python, arch_list, toolkit.cuda),
    )


def _toolkit(builds: Sequence[Build], capabilities: Sequence[ComputeCapability], catalog: Catalog) -> Toolkit:
    """The CUDA to compile extensions with: that of the build, which torch insists on (same major release)."""
    cudas = {build.cuda for build in builds if build.cuda}
    fitting = [t for t in catalog.toolkits if t.cuda in cudas and all(catalog.can_target(t, c) for c in capabilities)]
    return fitting[0] if fitting else next(t for t in catalog.toolkits if t.cuda == max(cudas))


def _flags(capabilities: Iterable[ComputeCapability], toolkit: Toolkit) -> list[str]:
    """What TORCH_CUDA_ARCH_LIST must name: of each GPU the capability itself, or the nearest that its code can be made of."""
    return [str(c) for c in sorted({_flag(c, toolkit) for c in capabilities})]


def _flag(device: ComputeCapability, toolkit: Toolkit) -> ComputeCapability:
    plain = [t for t in toolkit.targets if not t.suffix]
    if any(_verdict(t, device, toolkit.cuda) is Verdict.NATIVE for t in plain):
        return device
    near = [t.capability for t in plain if _verdict(t, device, toolkit.cuda) is Verdict.COMPATIBLE]
    return max(near, default=device)


def _verdict(target: Target, device: ComputeCapability, cuda: CudaVersion) -> Verdict:
    return judge_code(target, device, cuda)


def recipe(builds: Sequence[FleetBuild], python: str, arch_list: str, toolkit: CudaVersion) -> str:
    """The lines of a Dockerfile; `TARGETARCH` is what the builder sets for each platform.

    The wheels of torch bring their own CUDA libraries; a toolkit is needed only to compile extensions.
    """
    lines = [
        f"FROM python:{python}-slim",
        *(["ARG TARGETARCH"] if len(builds) > 1 else []),
        *_installs(builds),
        f'ENV TORCH_CUDA_ARCH_LIST="{arch_list}"',
        "ENV NVIDIA_VISIBLE_DEVICES=all NVIDIA_DRIVER_CAPABILITIES=compute,utility",
        f"# to compile extensions: a base image with the compiler of CUDA {toolkit}, such as nvidia/cuda:{toolkit}.*-devel-*",
    ]
    return "\n".join(lines) + "\n"


def _installs(builds: Sequence[FleetBuild]) -> list[str]:
    commands = {build.platform: _install(build) for build in builds}
    if len(set(commands.values())) == 1:
        return [f"RUN {next(iter(commands.values()))}"]
    cases = [f"{DOCKER_PLATFORMS[p].partition('/')[2]}) {command} ;;" for p, command in commands.items()]
    return ['RUN case "$TARGETARCH" in \\', *(f"      {case} \\" for case in cases), "    esac"]


def _install(build: FleetBuild) -> str:
    index = "" if build.index == "PyPI" else f" --index-url {build.index}"
    return f"pip install --no-cache-dir {' '.join(build.packages)}{index}"
