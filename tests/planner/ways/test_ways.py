"""What becomes of extensions: one readable row per situation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import pytest

from archfit.arch import ComputeCapability, CudaVersion, Target, Verdict, judge_code
from archfit.buildscript import read_build_files
from archfit.catalog.extensions import load_extensions
from archfit.model import Distribution, Library, Way
from archfit.planner.ways import Goal, Offer, way_of, ways_of

GPUS = {
    "1080ti": "6.1",
    "v100": "7.0",
    "t4": "7.5",
    "a100": "8.0",
    "4090": "8.9",
    "h100": "9.0",
    "b200": "10.0",
    "5090": "12.0",
}
EXTENSIONS = load_extensions()


@dataclass(frozen=True)
class Published:
    """A wheel of a catalog that a test makes up."""

    version: str
    targets: str
    requires: tuple[str, ...] = ()
    platform: str = "linux_x86_64"
    python_tags: tuple[str, ...] = ("cp311",)
    index: str = "PyPI"
    glibc: str | None = None
    file: str = ""
    requires_python: str = ""

    def verdict(self, device: ComputeCapability) -> Verdict:
        found = {judge_code(Target.parse(t), device) for t in self.targets.split()}
        return next((v for v in (Verdict.NATIVE, Verdict.COMPATIBLE, Verdict.JIT) if v in found), Verdict.NONE)


def extension(name: str, version: str, *, links_torch: bool = True, requires: tuple[str, ...] = ()) -> Distribution:
    needed = ("libc10.so", "libtorch.so") if links_torch else ("libc.so.6",)
    return Distribution(name, version, requires, libraries=(Library(f"{name}/_C.so", 0, needed, ()),))


def goal(
    gpus: str,
    torch: str = "2.8.0",
    cuda: str = "12.8",
    *,
    moves: bool = True,
    lacking: Sequence[str] = (),
    installed: dict[str, str] | None = None,
    offers: dict[str, Sequence[Offer]] | None = None,
    python_tag: str = "cp311",
    platform: str = "linux_x86_64",
    glibc: tuple[int, ...] | None = None,
) -> Goal:
    return Goal(
        torch,
        CudaVersion.parse(cuda),
        tuple(sorted(ComputeCapability.parse(GPUS[gpu]) for gpu in gpus.split("+"))),
        platform,
        python_tag,
        moves,
        frozenset(lacking),
        installed or {},
        "python -m pip install",
        "uv pip install --python python",
        glibc,
        lambda name: (offers or {}).get(name, ()),
    )


def way(wanted: Goal, package: Distribution) -> Way:
    found = way_of(wanted, package, EXTENSIONS)
    assert found is not None
    return found


def said(found: Way) -> set[str]:
    return {text.key for text in found.why}


@pytest.mark.parametrize(
    ("name", "version", "gpus", "torch", "cuda", "kind", "key"),
    [
        ("flash-attn", "2.8.3", "5090", "2.8.0", "12.8", "rebuild", "way-rebuild-abi"),
        ("flash-attn", "2.8.3", "t4", "2.8.0", "12.6", "refused", "way-flash-attn-ampere"),
        ("flash-attn", "2.8.3", "v100", "2.8.0", "12.6", "refused", "way-flash-attn-ampere"),
        ("flash-attn", "2.8.3", "t4+5090", "2.8.0", "12.8", "rebuild", "way-flash-attn-ampere"),
        ("flash-attn", "1.0.9", "t4", "2.8.0", "12.6", "rebuild", "way-rebuild-abi"),
        ("flash-attn", "2.5.8", "5090", "2.8.0", "12.8", "rebuild", "way-fixed-newer"),
        ("flash-attn", "2.8.3", "a100", "2.14.1", "13.0", "rebuild", "way-standard"),
        ("flash-attn-3", "3.0.0b1", "a100", "2.8.0", "12.8", "refused", "way-flash-attn-3-hopper"),
        ("flash-attn-3", "3.0.0b1", "5090", "2.8.0", "12.8", "refused", "way-flash-attn-3-hopper"),
        ("flash-attn-3", "3.0.0b1", "h100", "2.8.0", "12.8", "rebuild", "way-git"),
        ("causal-conv1d", "1.5.0", "5090", "2.8.0", "12.8", "rebuild", "way-fixed-newer"),
        ("causal-conv1d", "1.7.0", "5090", "2.8.0", "12.8", "rebuild", "way-rebuild-abi"),
        ("causal-conv1d", "1.7.0", "v100", "2.8.0", "12.6", "rebuild", "way-fixed-newer"),
        ("mamba-ssm", "2.2.5", "5090", "2.8.0", "12.8", "rebuild", "way-fixed-newer"),
        ("mamba-ssm", "2.3.2.post1", "h100", "2.15.0", "13.2", "rebuild", "way-standard"),
        ("mmcv", "2.2.0", "5090", "2.8.0", "12.8", "rebuild", "way-mmcv-pkg-resources"),
        ("mmcv", "2.2.0", "5090", "2.14.1", "13.0", "rebuild", "way-standard"),
        ("detectron2", "0.6", "5090", "2.8.0", "12.8", "rebuild", "way-git"),
        ("pytorch3d", "0.7.8", "5090", "2.14.1", "13.0", "rebuild", "way-standard-edit"),
        ("apex", "0.1", "a100", "2.8.0", "12.8", "rebuild", "way-apex-name"),
        ("minkowskiengine", "0.5.4", "a100", "2.8.0", "12.8", "rebuild", "way-minkowski"),
        ("torch-scatter", "2.1.2+pt24cu121", "5090", "2.12.0", "13.0", "wheel", "way-page"),
        ("torch-scatter", "2.1.2+pt24cu121", "5090", "2.14.1", "13.0", "rebuild", "way-rebuild-abi"),
        ("deepspeed", "0.15.0", "5090", "2.8.0", "12.8", "keep", "way-jit"),
        ("gsplat", "1.5.3", "5090", "2.8.0", "12.8", "keep", "way-jit"),
        ("tinycudann", "1.7", "5090", "2.8.0", "12.8", "rebuild", "way-git"),
        ("nvdiffrast", "0.3.3", "5090", "2.8.0", "12.8", "rebuild", "way-git"),
        ("diff-gaussian-rasterization", "0.0.0", "5090", "2.8.0", "12.8", "rebuild", "way-fork"),
        ("vllm", "0.6.6", "5090", "2.12.0", "13.0", "none", "way-no-wheel"),
        ("vllm", "0.6.6", "1080ti", "2.8.0", "12.6", "refused", "way-vllm-volta"),
        ("nobody-knows-it", "1.0", "5090", "2.8.0", "12.8", "rebuild", "way-unknown"),
    ],
)  # fmt: skip
def test_when_torch_moves(name: str, version: str, gpus: str, torch: str, cuda: str, kind: str, key: str) -> None:
    wanted = goal(gpus, torch, cuda, installed={name: version})
    found = way(wanted, extension(name, version))
    assert (found.kind, key in said(found)) == (kind, True), said(found)


class TestKeep:
    def test_what_neither_links_torch_nor_pins_it(self) -> None:
        assert way(goal("5090"), extension("bitsandbytes", "0.50.2", links_torch=False)).kind == "keep"

    def test_what_has_code_while_torch_stays(self) -> None:
        found = way(goal("5090", moves=False), extension("mmcv", "2.2.0"))
        assert (found.kind, found.acts, found.pip) == ("keep", False, ())

    def test_what_lacks_code_is_compiled_though_torch_stays(self) -> None:
        found = way(goal("5090", moves=False, lacking=["mmcv"]), extension("mmcv", "2.2.0"))
        assert (found.kind, "way-rebuild-code" in said(found)) == ("rebuild", True)

    def test_a_package_with_no_code_is_not_in_the_answer(self) -> None:
        assert way_of(goal("5090"), Distribution("requests", "2.0"), EXTENSIONS) is None

    def test_torch_and_its_family_are_the_planners(self) -> None:
        family = [extension(name, "2.4.1") for name in ("torch", "torchvision", "torchaudio")]
        assert ways_of(goal("5090"), family, EXTENSIONS) == ()

    def test_what_belongs_to_no_package_is_left_out(self) -> None:
        assert ways_of(goal("5090"), [extension("loose", "")], EXTENSIONS) == ()


class TestWheel:
    PINNED = extension("xformers", "0.0.28", requires=("torch==2.4.1",))

    def test_the_newest_that_lets_torch_in_and_serves_every_gpu(self) -> None:
        offers = {
            "xformers": [
                Published("0.0.31", "sm_80 compute_80", ("torch==2.7.1",)),
                Published("0.0.32.post1", "sm_80 compute_80", ("torch==2.8.0",)),
                Published("0.0.32.post2", "sm_80 compute_80", ("torch==2.8.0",)),
                Published("0.0.33", "sm_80 compute_80", ("torch==2.9.0",)),
            ]
        }
        found = way(goal("5090", offers=offers), self.PINNED)
        assert (found.kind, found.wanted, found.index) == ("wheel", "0.0.32.post2", "PyPI")
        assert found.pip == ("python -m pip install --upgrade xformers==0.0.32.post2",)

    @pytest.mark.parametrize(
        "offer",
        [
            Published("1.0", "sm_80", ("torch==2.8.0",)),  # nothing for sm_120
            Published("1.0", "sm_120", ("torch==2.9.0",)),
            Published("1.0", "sm_120", ("torch==2.8.0",), platform="win_amd64"),
            Published("1.0", "sm_120", ("torch==2.8.0",), python_tags=("cp312",)),
            Published("1.0", "sm_120"),  # links torch and does not say which
        ],
    )
    def test_others_are_none(self, offer: Published) -> None:
        assert way(goal("5090", offers={"xformers": [offer]}), self.PINNED).kind == "rebuild"

    @pytest.mark.parametrize(
        ("tags", "file", "requires", "python_tag", "fits"),
        [
            (("cp311",), "", "", "cp311", True),
            (("cp311",), "", "", "cp312", False),
            (("py3",), "", "", "cp39", True),
            (("py39",), "", "", "cp311", True),
            (("py39",), "", "", "cp38", False),
            (("cp38",), "x-1.0-cp38-abi3-linux_x86_64.whl", "", "cp312", True),
            (("cp38",), "x-1.0-cp38-abi3-linux_x86_64.whl", "", "cp313t", False),
            (("cp38",), "x-1.0-cp38-cp38-linux_x86_64.whl", "", "cp312", False),
            (("cp38",), "x-1.0-cp38-abi3-linux_x86_64.whl", "<3.12", "cp312", False),
        ],
    )
    def test_it_is_for_this_python(
        self, tags: tuple[str, ...], file: str, requires: str, python_tag: str, fits: bool
    ) -> None:
        offer = Published("1.0", "sm_120", ("torch==2.8.0",), python_tags=tags, file=file, requires_python=requires)
        found = way(goal("5090", offers={"xformers": [offer]}, python_tag=python_tag), self.PINNED)
        assert (found.kind == "wheel") is fits

    @pytest.mark.parametrize(("glibc", "kind"), [(None, "wheel"), ((2, 28), "wheel"), ((2, 17), "rebuild")])
    def test_it_needs_no_newer_glibc_than_there_is(self, glibc: tuple[int, ...] | None, kind: str) -> None:
        offers = {"xformers": [Published("1.0", "sm_120", ("torch==2.8.0",), glibc="2.28")]}
        assert way(goal("5090", offers=offers, glibc=glibc), self.PINNED).kind == kind

    def test_one_that_does_not_link_torch_need_not_name_it(self) -> None:
        offers = {"bitsandbytes": [Published("0.50.2", "sm_120", python_tags=("py3",))]}
        old = extension("bitsandbytes", "0.45.2", links_torch=False)
        found = way(goal("5090", lacking=["bitsandbytes"], offers=offers), old)
        assert (found.kind, found.wanted) == ("wheel", "0.50.2")


class TestReplace:
    def test_mmcv_where_the_successor_has_a_wheel_for_exactly_this(self) -> None:
        found = way(goal("5090", "2.9.0", "12.9", python_tag="cp312"), extension("mmcv", "2.2.0"))
        assert (found.kind, found.name, found.index) == (
            "replace",
            "onedl-mmcv",
            "https://mmwheels.onedl.ai/simple/cu129-torch290",
        )
        assert found.pip[0] == "python -m pip uninstall -y mmcv"
        assert found.uv[0] == "uv pip uninstall mmcv --python python"

    @pytest.mark.parametrize(
        ("gpus", "torch", "cuda", "python_tag", "platform"),
        [
            ("5090", "2.9.0", "12.9", "cp311", "linux_x86_64"),
            ("5090", "2.9.0", "13.0", "cp312", "linux_x86_64"),
            ("5090", "2.9.1", "12.9", "cp312", "linux_x86_64"),
            ("5090", "2.9.0", "12.9", "cp312", "linux_aarch64"),
            ("v100+5090", "2.9.0", "12.9", "cp312", "linux_x86_64"),
        ],
    )
    def test_not_for_anything_else(self, gpus: str, torch: str, cuda: str, python_tag: str, platform: str) -> None:
        wanted = goal(gpus, torch, cuda, python_tag=python_tag, platform=platform)
        assert way(wanted, extension("mmcv", "2.2.0")).kind == "rebuild"


class TestCommands:
    def test_check_the_compiler_bring_the_tools_compile_without_caches(self) -> None:
        found = way(goal("5090", installed={"mmcv": "2.2.0"}), extension("mmcv", "2.2.0"))
        assert found.pip[0].startswith("nvcc --version | grep 'release 12")
        assert found.pip[1] == "python -m pip install wheel ninja packaging 'setuptools<82'"
        assert found.pip[-1] == (
            'FORCE_CUDA=1 TORCH_CUDA_ARCH_LIST="12.0" MAX_JOBS=4 MMCV_WITH_OPS=1 python -m pip install --force-reinstall '
            "--no-cache-dir --no-build-isolation --no-deps --no-binary mmcv mmcv==2.2.0"
        )
        assert (found.toolkit, found.minutes) == ("12.8", 32)

    def test_sources_that_must_change_are_fetched_changed_and_compiled(self) -> None:
        found = way(goal("5090", "2.14.1", "13.0", python_tag="cp313"), extension("mmcv", "2.2.0"))
        fetch, standard, python, build = found.uv[2:]
        assert fetch == (
            "uvx --python '<3.13' --with wheel --with ninja --with packaging --with 'setuptools<82' pip download --no-deps "
            "--no-build-isolation --no-binary mmcv mmcv==2.2.0 && tar xzf mmcv-2.2.0.tar.gz"
        )
        assert standard == "(cd mmcv-2.2.0 && sed -i 's/-std=c++17/-std=c++20/g' setup.py)"
        assert python.startswith("(cd mmcv-2.2.0 && sed -i ")
        assert build.endswith("--reinstall --no-cache --no-build-isolation --no-deps ./mmcv-2.2.0")

    def test_a_package_that_chooses_by_its_own_variable_gets_that_one_only(self) -> None:
        found = way(goal("a100+5090"), extension("flash-attn", "2.8.3"))
        assert 'FLASH_ATTN_CUDA_ARCHS="80;120"' in found.pip[-1]
        assert "TORCH_CUDA_ARCH_LIST" not in found.pip[-1]

    def test_a_hard_coded_list_without_the_gpu_is_added_to_by_nvcc(self) -> None:
        found = way(goal("1080ti", "2.8.0", "12.6", installed={"mamba-ssm": "2.3.2"}), extension("mamba-ssm", "2.3.2"))
        assert "way-fixed-append" in said(found)
        assert 'NVCC_APPEND_FLAGS="-gencode arch=compute_61,code=sm_61"' in found.pip[-1]

    def test_a_local_version_is_no_version_of_the_index(self) -> None:
        found = way(goal("5090", "2.14.1", "13.0"), extension("torch-scatter", "2.1.2+pt24cu121"))
        assert found.pip[-1].endswith("--no-binary torch-scatter torch-scatter==2.1.2")


class TestLaws:
    """Over all rows, every torch from 2.4 on, and every GPU."""

    BUILDS = (
        ("2.4.1", "12.4"),
        ("2.6.0", "12.6"),
        ("2.8.0", "12.8"),
        ("2.12.0", "13.0"),
        ("2.14.1", "13.0"),
        ("2.15.0", "13.2"),
    )

    @pytest.mark.parametrize("name", sorted(EXTENSIONS.by_name))
    def test_every_row_has_an_answer_and_commands_where_there_is_something_to_do(self, name: str) -> None:
        for torch, cuda in self.BUILDS:
            for gpu in GPUS:
                wanted = goal(gpu, torch, cuda, installed={name: "2.2.0", "mmcv": "2.2.0"})
                found = way_of(wanted, extension(name, "2.2.0"), EXTENSIONS)
                assert found is None or (bool(found.pip) and bool(found.uv)) == found.acts
                assert found is None or found.why

    @pytest.mark.parametrize("name", sorted(EXTENSIONS.by_name))
    def test_every_row_has_a_source(self, name: str) -> None:
        row = EXTENSIONS.by_name[name]
        assert (row.source != "", row.read.startswith("20")) == (True, True)
        assert row.how != "git" or row.address.startswith("git+https://")
        assert "{version}" in row.sdist or row.how != "sdist"

    @pytest.mark.parametrize("name", sorted(EXTENSIONS.by_name))
    def test_lists_of_targets_do_not_overlap(self, name: str) -> None:
        row = EXTENSIONS.by_name[name]
        for version in ("0.9", "1.0.0", "1.2.1", "1.5.1", "1.5.3", "1.6.2", "2.0", "2.2.5", "2.2.6", "2.3.2", "2.7.3"):
            assert sum(fixed.versions.contains(version) for fixed in row.fixed) <= 1


class TestSourcesThatWereRead:
    """A package without a row, whose sources were read while the resolver was asked."""

    LISTED = "extra = ['-gencode', 'arch=compute_80,code=sm_80', '-gencode=arch=compute_90,code=sm_90']\n"
    PLAIN = "from torch.utils.cpp_extension import CUDAExtension\n"

    def found(self, text: str, gpus: str) -> Way:
        build = read_build_files("nobody-knows-it", "1.0", {"setup.py": text}, sources=3)
        wanted = replace(goal(gpus), builds={"nobody-knows-it": build})
        return way(wanted, extension("nobody-knows-it", "1.0+cu121"))

    def test_a_list_without_the_gpu_cannot_be_helped_by_torchs_variable(self) -> None:
        found = self.found(self.LISTED, "5090")
        assert {"way-fixed-append", "way-seen"} <= said(found)
        assert "way-unknown" not in said(found)
        [seen] = [text for text in found.why if text.key == "way-seen"]
        assert seen.values == {"sources": "nobody-knows-it 1.0", "spot": "setup.py:1"}
        [command] = [line for line in found.uv if "NVCC_APPEND_FLAGS" in line]
        assert "arch=compute_120,code=sm_120" in command
        assert "TORCH_CUDA_ARCH_LIST" not in command

    def test_a_list_with_the_gpu_needs_nothing(self) -> None:
        found = self.found(self.LISTED, "h100")
        assert "way-fixed-append" not in said(found)
        assert not any("NVCC_APPEND_FLAGS" in line for line in found.uv)

    def test_where_torch_chooses_its_variable_does_it(self) -> None:
        found = self.found(self.PLAIN, "5090")
        assert not said(found) & {"way-unknown", "way-seen", "way-fixed-append"}
        assert any('TORCH_CUDA_ARCH_LIST="12.0"' in line or "TORCH_CUDA_ARCH_LIST=12.0" in line for line in found.uv)
