"""Ways out for the environments that people have, against the real rows of the catalog."""

from __future__ import annotations

import pytest

from archfit.arch import CudaVersion
from archfit.errors import ObserveError
from archfit.model import Distribution, Environment, Option, Plan, Rejected, Text, TorchBuild, Unknown, Unsolved
from archfit.report.messages import Messages
from worlds import CATALOG, NEW, audio, driver, extension, library, plan_of, torch, vision, world

CU128 = "https://download.pytorch.org/whl/cu128"


def kinds(plan: Plan) -> list[str]:
    return [option.kind for option in plan.options]


def builds(plan: Plan) -> list[tuple[str, str | None]]:
    return [(o.torch.version, o.torch.cuda) for o in plan.options if o.kind == "upgrade" and o.torch]


def installs(option: Option) -> dict[str, tuple[str | None, str | None]]:
    return {s.package: (s.current, s.wanted) for s in option.steps if s.action == "install"}


def why_rejected(plan: Plan, variant: str) -> Text:
    return next(r.why for r in plan.rejected if variant in named(r).replace(",", "").split())


def named(rejected: Rejected) -> str:
    """What is rejected, in English."""
    return Messages("en").text(rejected.option)


# --- an RTX 5090 with torch 2.4.1, by driver -------------------------------------------------------------------------


@pytest.mark.parametrize("release", ["570.86.16", "570.133.20", "575.64.03"])
def test_rtx_5090_below_580_gets_cuda_12_and_never_13(release: str) -> None:
    plan = plan_of(world(release=release))
    assert kinds(plan) == ["upgrade", "upgrade", "upgrade", "source-build", "cpu"]
    assert builds(plan) == [("2.8.0", "12.8"), ("2.10.0", "12.8"), ("2.7.1", "12.8")]
    assert plan.unsolved == ()


def test_rtx_5090_on_580_may_have_both() -> None:
    plan = plan_of(world(release="580.65.06"))
    assert kinds(plan) == ["upgrade", "upgrade", "upgrade", "source-build", "nightly", "cpu"]
    assert builds(plan) == [("2.8.0", "12.8"), ("2.15.0", "13.2"), ("2.7.1", "12.8")]


def test_the_best_option_whole() -> None:
    best = plan_of(world(release="570.86.16")).options[0]
    assert best.summary == Text("upgrade", {"torch": "2.8.0", "cuda": "12.8", "index": "PyPI", "capabilities": "12.0"})
    assert best.torch == TorchBuild("2.8.0", "12.8", "PyPI")
    assert (str(best.requires.driver), best.requires.python) == ("570.86.16", ">=3.9.0")
    assert installs(best) == {"torch": ("2.4.1", "2.8.0"), "torchvision": ("0.19.1", "0.23.0")}
    assert {step.unsafe for step in best.steps} == {True}
    assert best.risks == (Text("risk-weights-only"),)
    assert best.pip == (
        "/env/bin/python -m ensurepip --upgrade",  # environments made by uv have no pip
        "/env/bin/python -m pip install torch==2.8.0 torchvision==0.23.0",
    )
    assert best.uv == ("uv pip install --python /env/bin/python torch==2.8.0 torchvision==0.23.0",)


def test_an_old_driver_comes_first() -> None:
    plan = plan_of(world(release="550.54.14"))
    assert kinds(plan) == ["driver", "upgrade", "upgrade", "upgrade", "source-build", "nightly", "cpu"]
    first = plan.options[0]
    told = {"needed": "570.86.16", "driver": "550.54.14", "gpus": "GeForce RTX 5090", "branch": "580", "ceiling": "-"}
    assert first.summary == Text("driver-first", told)
    assert [(s.action, s.current, s.wanted, s.why) for s in first.steps] == [
        ("driver", "550.54.14", "570.86.16", (Text("driver-open", told),))
    ]
    assert first.pip == (
        "sudo apt install nvidia-driver-580-open   # Ubuntu",
        "sudo dnf install nvidia-open   # Fedora, RHEL: NVIDIA's repository",
        "sudo reboot",
    )


def test_a_driver_that_is_not_known_excludes_nothing() -> None:
    assert builds(plan_of(world())) == [("2.8.0", "12.8"), ("2.15.0", "13.2"), ("2.7.1", "12.8")]


@pytest.mark.parametrize("release", [None, "550.54.14", "570.86.16", "580.65.06"])
def test_cu124_is_always_rejected_for_an_rtx_5090(release: str | None) -> None:
    """Stable and nightly: the compiler of CUDA 12.4 does not know sm_120."""
    plan = plan_of(world(release=release))
    row = next(r for r in plan.rejected if "cu124" in named(r))
    assert row.option == Text("stable-and-nightly", {"names": "cu116, cu117, cu118, cu121, cu124, cu126"})
    assert row.why == Text(
        "toolkit-too-old",
        {
            "oldest_cuda": "11.6",
            "newest_cuda": "12.6",
            "sm": "sm_120",
            "gpu": "GeForce RTX 5090",
            "oldest": "sm_35",
            "newest": "sm_90",
            "first": "12.8",
            "last": "13.5",
            "driver": "570.86.16",
        },
    )


def test_what_the_driver_blocks_is_told() -> None:
    assert why_rejected(plan_of(world(release="570.86.16")), "nightly/cu130") == Text(
        "driver-blocks", {"needed": "580.65.06", "driver": "570.86.16"}
    )
    assert [r for r in plan_of(world(release="580.65.06")).rejected if r.why.key == "driver-blocks"] == []


def test_a_driver_alone_is_rejected() -> None:
    rows = [r for r in plan_of(world(release="580.65.06")).rejected if r.option == Text("driver-only")]
    assert [r.why for r in rows] == [Text("driver-alone", {"sm": "sm_120"})]


# --- companions ------------------------------------------------------------------------------------------------------

COMPANIONS: list[tuple[tuple[Distribution, ...], dict[str, tuple[str, str]]]] = [
    ((), {}),
    ((vision(),), {"torchvision": ("0.19.1", "0.23.0")}),
    ((audio(),), {"torchaudio": ("2.4.1", "2.8.0")}),
    ((vision(), audio()), {"torchvision": ("0.19.1", "0.23.0"), "torchaudio": ("2.4.1", "2.8.0")}),
]


@pytest.mark.parametrize(("packages", "moved"), COMPANIONS)
def test_companions_move_in_step_if_installed(
    packages: tuple[Distribution, ...], moved: dict[str, tuple[str, str]]
) -> None:
    best = plan_of(world(torch(), *packages, release="580.65.06")).options[0]
    assert installs(best) == {"torch": ("2.4.1", "2.8.0"), **moved}


def test_a_mismatched_companion_is_aligned_and_torch_stays() -> None:
    env = world(torch(), vision("0.20.1", "torch==2.5.1"), on="H200", release="580.65.06")
    plan = plan_of(env)
    assert kinds(plan) == ["upgrade", "cpu"]
    assert installs(plan.options[0]) == {"torchvision": ("0.20.1", "0.19.1")}
    assert plan.options[0].summary == Text("align", {"torch": "2.4.1", "packages": "torchvision 0.19.1"})


def test_a_companion_is_aligned_from_the_index_that_torch_came_from() -> None:
    """PyPI has one CUDA variant per release: its torchvision 0.19.1 is for CUDA 12.1, not for a torch for 11.8."""
    env = world(torch("2.4.1+cu118"), vision("0.20.1", "torch==2.5.1"), on="H200", release="580.65.06", cuda="11.8")
    index = "https://download.pytorch.org/whl/cu118"
    assert {s.index for s in plan_of(env).options[0].steps} == {index}


# --- old GPUs, and drivers that are too new --------------------------------------------------------------------------

BLACKWELL_ONLY = (torch("2.15.0", NEW), vision("0.29.2", "torch>=2.14.0", NEW))


@pytest.mark.parametrize("release", [None, "535.54.03", "570.86.16", "580.142"])
@pytest.mark.parametrize("on", ["GTX 1080 Ti", "GTX 980 Ti", "P100"])
def test_pascal_and_maxwell_never_get_cuda_13(on: str, release: str | None) -> None:
    plan = plan_of(world(*BLACKWELL_ONLY, on=on, release=release, cuda="13.2"))
    assert builds(plan) == [("2.14.1", "12.6"), ("2.7.1", "12.6")]  # the least of going back first
    assert [o.torch for o in plan.options if o.torch and str(o.torch.cuda).startswith("13")] == []
    assert why_rejected(plan, "cu130").key == "toolkit-too-new"


def test_going_back_is_a_risk_that_is_told() -> None:
    best = plan_of(world(*BLACKWELL_ONLY, on="GTX 1080 Ti", release="580.142", cuda="13.2")).options[0]
    assert Text("risk-downgrade", {"current": "2.15.0", "torch": "2.14.1"}) in best.risks


def test_v100_on_a_driver_that_dropped_it() -> None:
    plan = plan_of(world(on="V100", release="590.44.01"))
    assert kinds(plan) == ["driver", "cpu"]
    assert plan.options[0].summary.key == "driver-window"
    assert plan.options[0].summary.values["ceiling"] == "R580"
    assert plan.options[0].pip[0] == "sudo apt install nvidia-driver-580   # Ubuntu"


@pytest.mark.parametrize(
    ("on", "release", "platform", "said"),
    [
        ("RTX 5090", "550.54.14", "linux_x86_64", "driver-open"),
        ("RTX 5090", "566.36", "win_amd64", "driver-any"),
        ("V100", "590.48.01", "linux_x86_64", "driver-until"),
    ],
)
def test_a_driver_that_goes_on_has_no_last_branch(on: str, release: str, platform: str, said: str) -> None:
    best = plan_of(world(on=on, release=release, platform=platform)).options[0]
    assert (best.kind, best.steps[0].why[0].key) == ("driver", said)
    assert "up to -" not in Messages("en").text(best.steps[0].why[0])


def test_the_window_of_drivers_begins_where_the_installed_torch_loads() -> None:
    """A V100 is known to 384.81, but torch for CUDA 12.1 does not load there: it takes 525.60.13."""
    driver_option = plan_of(world(on="V100", release="590.44.01")).options[0]
    assert str(driver_option.requires.driver) == "525.60.13"


# --- every way out ---------------------------------------------------------------------------------------------------


def test_a_torch_that_is_too_new_for_the_driver_has_two_ways_out() -> None:
    """Back to a build that loads, or a driver that loads what is there."""
    plan = plan_of(world(torch("2.15.0", NEW), release="570.86.16", cuda="13.2"))
    assert {"driver", "upgrade"} <= set(kinds(plan))
    assert {str(o.requires.driver) for o in plan.options if o.kind == "driver"} == {"580.65.06"}


def test_a_driver_is_a_way_out_where_it_alone_blocks_every_build() -> None:
    """CPython 3.15 has builds for CUDA 13 only; driver 570 loads none of them, and a newer one does."""
    plan = plan_of(world(release="570.86.16", tag="cp315"))
    assert "driver" in kinds(plan)
    assert [u for u in plan.unsolved if u.text.key == "no-build"] == []


def test_the_proprietary_module_is_solved_by_the_open_one() -> None:
    plan = plan_of(world(torch("2.8.0", NEW), driver=driver("580.65.06", open_module=False), cuda="12.8"))
    assert kinds(plan) == ["driver", "cpu"]
    assert plan.options[0].pip[0] == "sudo apt install nvidia-driver-580-open   # Ubuntu"


def test_no_build_serves_both_ends() -> None:
    plan = plan_of(world(on=("GTX 1080 Ti", "RTX 5090"), release="580.65.06"))
    assert kinds(plan) == ["source-build", "upgrade", "cpu"]
    values = {"capabilities": "6.1, 12.0", "python": "cp311", "platform": "linux_x86_64"}
    clash = {"gpus": "GeForce GTX 1080 Ti, GeForce RTX 5090"}
    assert plan.unsolved == (Unsolved(Text("no-build", values)), Unsolved(Text("modules-clash", clash)))
    assert plan.options[0].summary == Text("source-build", {"cuda": "12.8", "arch_list": "6.1;12.0"})
    assert 'TORCH_CUDA_ARCH_LIST="6.1;12.0"' in plan.options[0].pip[1]
    assert builds(plan) == [("2.8.0", "12.8")]  # for the new GPU alone; torch 2.4.1 has code for the old one
    assert plan.options[1].risks[0] == Text("risk-leaves", {"gpus": "GeForce GTX 1080 Ti"})


def test_two_generations_that_one_build_serves() -> None:
    plan = plan_of(world(on=("V100", "RTX 5090"), release="580.65.06"))
    assert builds(plan)[0] == ("2.8.0", "12.8")


@pytest.mark.parametrize(
    ("on", "first"),
    [("GB10", ("2.11.0", "13.0")), ("sm_110", ("2.11.0", "13.0")), ("GB200", ("2.11.0", "13.0")), ("GH200", None)],
)
def test_aarch64(on: str, first: tuple[str, str] | None) -> None:
    """PyPI has CUDA builds for aarch64 from 2.11 on; a GH200 with a working torch needs none."""
    plan = plan_of(world(on=on, release="590.44.01", platform="linux_aarch64"))
    assert (builds(plan) or [None])[0] == first


@pytest.mark.parametrize(
    ("tag", "found"),
    [
        ("cp39", [("2.8.0", "12.8"), ("2.7.1", "12.8")]),
        ("cp310", [("2.8.0", "12.8"), ("2.14.1", "13.0"), ("2.7.1", "12.8")]),
        ("cp313", [("2.8.0", "12.8"), ("2.15.0", "13.2"), ("2.7.1", "12.8")]),
        ("cp313t", [("2.8.0", "12.8"), ("2.12.0", "13.0"), ("2.7.1", "12.8")]),
        ("cp314", [("2.9.1", "12.8"), ("2.15.0", "13.2"), ("2.9.0", "12.8")]),
        ("cp38", []),
        ("cp27", []),
    ],
)
def test_wheels_must_fit_the_python(tag: str, found: list[tuple[str, str]]) -> None:
    plan = plan_of(world(release="580.65.06"), python_tag=tag)
    assert builds(plan) == found
    assert [u.text.key for u in plan.unsolved] == ([] if found else ["no-build", "other-python"])


NO_NIGHTLY = [{"tag": "cp38"}, {"libc": "glibc 2.17"}]


@pytest.mark.parametrize("changes", NO_NIGHTLY)
def test_where_no_release_can_be_installed_no_nightly_can(changes: dict[str, str]) -> None:
    """Nightlies are built for the Pythons and the glibc of the newest release."""
    assert "nightly" not in kinds(plan_of(world(release="580.65.06", **changes)))


@pytest.mark.parametrize(
    ("libc", "found"),
    [
        ("glibc 2.17", []),
        ("glibc 2.27", []),
        ("glibc 2.28", [("2.8.0", "12.8"), ("2.15.0", "13.2"), ("2.7.1", "12.8")]),
        ("glibc 2.39", [("2.8.0", "12.8"), ("2.15.0", "13.2"), ("2.7.1", "12.8")]),
        (None, [("2.8.0", "12.8"), ("2.15.0", "13.2"), ("2.7.1", "12.8")]),
    ],
)
def test_wheels_must_fit_the_glibc(libc: str | None, found: list[tuple[str, str]]) -> None:
    assert builds(plan_of(world(release="580.65.06", libc=libc))) == found


def test_windows_takes_builds_with_machine_code() -> None:
    """Windows builds for CUDA 11.8 hold PTX of compute capability 3.7: no reason to offer them for an RTX 5090."""
    plan = plan_of(world(release="580.65.06"), python_tag="cp311", platform="win_amd64")
    assert builds(plan)[0] == ("2.7.1", "12.8")
    assert plan.options[0].torch == TorchBuild("2.7.1", "12.8", CU128)


# --- strategies and nothing to do ------------------------------------------------------------------------------------


def test_a_healthy_environment_has_nothing_to_do() -> None:
    env = world(on="H200", release="580.65.06")
    assert plan_of(env) == Plan(env, (Option("none", Text("none")),), (), ())


def test_latest_takes_the_newest_that_fits() -> None:
    assert builds(plan_of(world(release="580.65.06"), strategy="latest"))[0] == ("2.15.0", "13.2")
    assert builds(plan_of(world(release="570.86.16"), strategy="latest"))[0] == ("2.13.0", "12.9")


def test_latest_moves_a_healthy_environment() -> None:
    plan = plan_of(world(on="H200", release="580.65.06"), strategy="latest")
    assert installs(plan.options[0]) == {"torch": ("2.4.1", "2.15.0"), "torchvision": ("0.19.1", "0.29.2")}


def test_latest_has_nothing_to_do_at_the_latest() -> None:
    env = world(torch("2.15.0", NEW), on="H200", release="580.65.06", cuda="13.2")
    assert kinds(plan_of(env, strategy="latest")) == ["none"]


def test_torch_missing_gets_the_newest() -> None:
    env = world(Distribution("numpy", "2.0.0"), release="580.65.06", cuda=None)
    assert installs(plan_of(env).options[0]) == {"torch": (None, "2.15.0")}


def test_a_cpu_build_is_replaced_by_the_same_release() -> None:
    best = plan_of(world(torch("2.8.0+cpu", None), release="580.65.06", cuda=None)).options[0]
    assert best.pip[-1] == "/env/bin/python -m pip install --force-reinstall torch==2.8.0"
    assert best.uv == ("uv pip install --python /env/bin/python --reinstall-package torch torch==2.8.0",)


# --- packages with code of their own ---------------------------------------------------------------------------------


def test_an_extension_without_code_is_rebuilt_and_torch_stays() -> None:
    plan = plan_of(world(torch("2.9.0", NEW), extension(), release="580.65.06", cuda="12.8"))
    assert kinds(plan) == ["rebuild", "cpu"]
    assert [(s.action, s.package, s.current, s.wanted) for s in plan.options[0].steps] == [
        ("rebuild", "mmcv", "2.2.0", "2.2.0")
    ]
    assert plan.options[0].pip == (
        "nvcc --version | grep 'release 12\\.'",
        "/env/bin/python -m pip install wheel ninja packaging 'setuptools<82'",
        'FORCE_CUDA=1 TORCH_CUDA_ARCH_LIST="12.0" MAX_JOBS=4 MMCV_WITH_OPS=1 /env/bin/python -m pip install '
        "--force-reinstall --no-cache-dir --no-build-isolation --no-deps --no-binary mmcv mmcv==2.2.0",
    )
    assert plan.unsolved == ()


def test_a_package_compiled_against_torch_must_follow_it() -> None:
    plan = plan_of(world(torch(), extension(), extension("plain", "1.0", linked=False), release="580.65.06"))
    steps = [(s.action, s.package) for s in plan.options[0].steps]
    assert steps == [("install", "torch"), ("rebuild", "mmcv"), ("rebuild", "plain")]  # plain lacks code for the GPU
    assert [u.text.key for u in plan.unsolved] == ["needs-rebuild", "needs-rebuild"]
    assert plan.unsolved[0] == Unsolved(Text("needs-rebuild", {"package": "mmcv 2.2.0"}), plan.unsolved[0].command)
    assert "TORCH_CUDA_ARCH_LIST" in str(plan.unsolved[0].command)
    assert "mmcv==2.2.0" in str(plan.unsolved[0].command)


def test_companions_are_replaced_and_not_rebuilt() -> None:
    plan = plan_of(world(torch(), vision(), audio(), release="580.65.06"))
    assert plan.unsolved == ()


def test_a_library_without_a_package_gets_no_command() -> None:
    """There is nothing to ask an installer for; what was compiled by hand must be compiled again by hand."""
    own = Distribution("(no package)", "", libraries=(library("ops/_ext.so", "libsm_90.so", ("libc10.so",)),))
    plan = plan_of(world(torch(), own, release="580.65.06"))
    commands = [c for o in plan.options for c in (*o.pip, *o.uv)] + [str(u) for u in plan.unsolved]
    assert [c for c in commands if "(no package) " in c or "(no package)==" in c] == []


def test_an_extension_that_needs_a_newer_driver_does_not_move_torch() -> None:
    """torch has code for the GPU; only the PTX of xformers is newer than what the driver can compile."""
    env = world(
        torch("2.9.0", NEW), extension("xformers", "0.0.35", "libcompute_90.so"), release="570.86.16", cuda="12.8"
    )
    assert builds(plan_of(env)) == []


# --- what cannot be planned ------------------------------------------------------------------------------------------

BROKEN = Unknown("exit code 1", ("/env/bin/python",))


@pytest.mark.parametrize(
    ("env", "key"),
    [(world(on=()), "plan-needs-gpu"), (world(interpreter=BROKEN), "plan-needs-python")],
)
def test_what_must_be_known(env: Environment, key: str) -> None:
    with pytest.raises(ObserveError) as error:
        plan_of(env)
    assert error.value.key == key


def test_what_was_said_replaces_what_could_not_be_asked() -> None:
    plan = plan_of(world(interpreter=BROKEN, release="580.65.06"), python_tag="cp311", platform="linux_x86_64")
    assert builds(plan)[0] == ("2.8.0", "12.8")


def test_every_hardware_generation_is_told_apart() -> None:
    """A row of the catalog for each GPU that these tests name."""
    assert [str(c) for c in sorted(CATALOG.generations)][-4:] == ["10.3", "11.0", "12.0", "12.1"]


def test_a_torch_whose_extensions_can_be_compiled_comes_first() -> None:
    """PyPI has the whole compiler from CUDA 13 on: torch 2.8.0 for CUDA 12.8 is nearer, but would leave mmcv behind."""
    seen = world(torch(), extension(), release="580.65.06")
    plan = plan_of(seen, toolkits=())
    assert plan.options[0].torch == TorchBuild("2.11.0", "13.0", "PyPI")
    told = [r for r in plan.rejected if r.why.key == "no-compiler"]
    assert [r.why.values for r in told] == [
        {"packages": "mmcv 2.2.0", "cuda": "12.8"},
        {"packages": "mmcv 2.2.0", "cuda": "12.9"},
    ]


@pytest.mark.parametrize(
    ("toolkits", "release", "chosen"),
    [
        (None, "580.65.06", "2.8.0"),  # nobody looked
        ((CudaVersion(12, 9),), "580.65.06", "2.8.0"),  # the machine has a compiler for CUDA 12
        ((CudaVersion(12, 4),), "580.65.06", "2.11.0"),  # one that does not know the GPU
        ((), "570.86.16", "2.8.0"),  # the driver loads no CUDA 13: said as a risk
    ],
)
def test_compilers_decide_among_what_the_driver_loads(
    toolkits: tuple[CudaVersion, ...] | None, release: str, chosen: str
) -> None:
    plan = plan_of(world(torch(), extension(), release=release), toolkits=toolkits)
    best = plan.options[0]
    assert best.torch is not None
    assert best.torch.version == chosen
    assert ("no-compiler" in {risk.key for risk in best.risks}) == (release == "570.86.16")


def test_without_extensions_compilers_do_not_matter() -> None:
    best = plan_of(world(torch(), vision(), release="580.65.06"), toolkits=()).options[0]
    assert best.torch is not None
    assert best.torch.version == "2.8.0"
