"""Every kind of environment is changed, or refused with its own sentence, before anything is begun."""

from __future__ import annotations

import errno
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import distributions
from pathlib import Path

import pytest

from archfit.cli import run
from archfit.errors import ApplyError
from archfit.model import LockedPackage
from archfit.transaction import (
    Change,
    Journal,
    apply,
    read_history,
    refuse_linked,
    refuse_unfit,
    roll_back,
)
from archfit.transaction.installer import Lock, create_environment, install, lock_of
from archfit.transaction.users import users_of
from archfit.uv import run_uv
from laboratory import (
    FITNESS,
    PASSED,
    SITE,
    UPGRADE,
    around,
    assert_settled,
    modules,
    output_of,
    quiet,
    sha256,
    snapshot,
)
from worlds import TORCH_2_4_1, VISION_0_19_1, site_packages
from worlds import install as worlds_install

LIBRARY = Path(f"lib/python{sys.version_info.major}.{sys.version_info.minor}")


def upgrade(wheels: Path, *, force: bool = False) -> Change:
    lock = Lock(f"demo==2 --hash=sha256:{sha256(wheels / 'demo-2-py3-none-any.whl')}\n", None, ())
    return Change("demo 1", "demo 2", "", lambda c: install(c / "bin/python", lock), lambda _: PASSED, force=force)


def refusal(root: Path) -> ApplyError:
    before = snapshot(root)
    with pytest.raises(ApplyError) as caught:
        refuse_unfit(root)
    assert snapshot(root) == before
    assert around(root) == {""}
    return caught.value


def installed(site: Path) -> dict[str, str]:
    return {d.name: d.version for d in distributions(path=[str(site)])}


# --- Pythons of their own: conda, and the ones that others are built on ----------------------------------------------


def make_prefix(root: Path) -> Path:
    """A Python with its own standard library, as conda's and the system's are: no pyvenv.cfg."""
    base = Path(sys.base_prefix)
    (root / "bin").mkdir(parents=True)
    shutil.copy2(Path(sys._base_executable).resolve(), root / "bin/python3")  # type: ignore[attr-defined]
    (root / "bin/python").symlink_to("python3")
    leave = shutil.ignore_patterns("site-packages", "__pycache__", "test", "idlelib", "ensurepip", "config-*")
    shutil.copytree(base / LIBRARY, root / LIBRARY, copy_function=os.symlink, ignore=leave)
    (root / LIBRARY / "os.py").unlink()  # by its place Python finds its prefix
    shutil.copy2(base / LIBRARY / "os.py", root / LIBRARY / "os.py")
    (root / LIBRARY / "site-packages").mkdir()
    return root


@pytest.fixture
def prefix(tmp_path: Path) -> Path:
    root = make_prefix(tmp_path / "prefix")
    if output_of(root / "bin/python", "-c", "import sys; print(sys.prefix)") != str(root):
        pytest.skip("this Python cannot be moved")
    return root


def add(python: Path, *specs: str) -> None:
    done = run_uv(["pip", "install", "--python", str(python), *specs])
    assert done.returncode == 0, done.stderr


@pytest.fixture
def conda(prefix: Path, offline: Path) -> Path:
    """A prefix in which conda installed owner, and pip demo."""
    add(prefix / "bin/python", "demo==1", "owner==1")
    files = [str(p.relative_to(prefix)) for p in (prefix / LIBRARY / "site-packages/owner-1.dist-info").iterdir()]
    (prefix / "conda-meta").mkdir()
    record = {"name": "owner-of-conda", "version": "1", "files": [*files, "lib/liba.so"]}
    (prefix / "conda-meta/owner-of-conda-1-0.json").write_text(json.dumps(record), "utf-8")
    (prefix / "conda-meta/history").write_text("==> 2026-11-25 <==\n", "utf-8")
    return prefix


def test_a_conda_environment_is_changed_and_comes_back(conda: Path, wheels: Path) -> None:
    old = snapshot(conda)
    apply(conda, upgrade(wheels), quiet)
    assert output_of(conda / "bin/demo") == f"demo 2 {conda}"
    assert output_of(conda / "bin/other") == f"demo 2 {conda}"
    assert installed(conda / LIBRARY / "site-packages") == {"demo": "2", "owner": "1"}
    assert_settled(conda)
    roll_back(conda, None)
    assert snapshot(conda) == old
    assert output_of(conda / "bin/demo") == f"demo 1 {conda}"


def test_nothing_in_a_conda_environment_names_the_clone(conda: Path, wheels: Path) -> None:
    apply(conda, upgrade(wheels), quiet)
    needle = os.fsencode(f"{conda}.archfit")
    files = (p for p in conda.rglob("*") if p.is_file() and not p.is_symlink())
    assert [p for p in files if needle in p.read_bytes()] == []


def test_what_conda_writes_into_afterwards_stays_out_of_the_kept_state(conda: Path, wheels: Path) -> None:
    apply(conda, upgrade(wheels), quiet)
    with (conda / "conda-meta/history").open("a") as file:
        file.write("conda wrote this later\n")
    kept = conda.with_name("prefix.archfit-1") / "conda-meta/history"
    assert kept.read_text("utf-8") == "==> 2026-11-25 <==\n"


@pytest.mark.parametrize("mark", ["conda-meta/frozen", f"{LIBRARY}/EXTERNALLY-MANAGED"], ids=["CEP 22", "PEP 668"])
def test_a_conda_environment_that_is_closed_is_refused(conda: Path, mark: str) -> None:
    (conda / mark).write_text("{}\n", "utf-8")
    error = refusal(conda)
    assert (error.key, error.values["path"]) == ("refuse-conda-closed", conda / mark)


def test_an_environment_of_pixi_is_refused(conda: Path) -> None:
    (conda / "conda-meta/pixi").write_text('{"environment_name": "default"}\n', "utf-8")
    assert refusal(conda).key == "refuse-pixi"


@pytest.mark.parametrize("marked", [False, True], ids=["", "externally managed (PEP 668)"])
def test_a_python_that_others_are_built_on_is_refused(prefix: Path, marked: bool) -> None:
    if marked:
        (prefix / LIBRARY / "EXTERNALLY-MANAGED").write_text("[externally-managed]\n", "utf-8")
    assert refusal(prefix).key == "refuse-not-venv"


def test_what_the_system_has_stays_where_it_is(prefix: Path, offline: Path, wheels: Path, tmp_path: Path) -> None:
    """--system-site-packages: torch below, changed above; the Python below belongs to others, too."""
    add(prefix / "bin/python", "demo==1", "owner==1")
    root = tmp_path / "venv"
    subprocess.run([prefix / "bin/python", "-m", "venv", "--without-pip", "--system-site-packages", root], check=True)
    below, above = snapshot(prefix), snapshot(root)
    apply(root, upgrade(wheels), quiet)
    assert output_of(root / "bin/python", "-Bc", "import demo; print(demo.version)") == "2"
    assert installed(root / LIBRARY / "site-packages") == {"demo": "2"}
    assert snapshot(prefix) == below
    roll_back(root, None)
    assert snapshot(root) == above
    assert output_of(root / "bin/python", "-Bc", "import demo; print(demo.version)") == "1"


# --- how it was made and what is in it -------------------------------------------------------------------------------


def test_an_environment_made_by_venv(tmp_path: Path, offline: Path, wheels: Path) -> None:
    root = tmp_path / "live"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", root], check=True)
    add(root / "bin/python", "demo==1")
    old = snapshot(root)
    apply(root, upgrade(wheels), quiet)
    assert output_of(root / "bin/demo") == f"demo 2 {root}"
    roll_back(root, None)
    assert snapshot(root) == old


def test_a_package_from_a_file_or_url_can_be_replaced_and_comes_back(live: Path, wheels: Path) -> None:
    add(live / "bin/python", "--reinstall", str(wheels / "demo-1-py3-none-any.whl"))
    info = next(live.glob("lib/python3*/site-packages/demo-1.dist-info/direct_url.json"))
    assert "demo-1" in info.read_text("utf-8")
    old = snapshot(live)
    apply(live, upgrade(wheels), quiet)
    assert list(live.glob("lib/python3*/site-packages/demo-*/direct_url.json")) == []
    roll_back(live, None)
    assert snapshot(live) == old


def test_a_script_that_names_a_python_that_is_gone_is_left_as_it_is(live: Path, wheels: Path) -> None:
    (live / "bin/old").write_text("#!/nowhere/env/bin/python\nprint('old')\n", "utf-8")
    before = (live / "bin/old").stat().st_ino
    apply(live, upgrade(wheels), quiet)
    assert (live / "bin/old").stat().st_ino == before


def test_an_environment_behind_a_link(live: Path, wheels: Path, tmp_path: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to(live)
    apply(link, upgrade(wheels), quiet)
    assert link.is_symlink()
    assert output_of(link / "bin/demo").startswith("demo 2 ")
    roll_back(link, None)
    assert output_of(live / "bin/demo") == f"demo 1 {live}"


def test_folders_that_lead_out_are_refused(plain: Path, tmp_path: Path) -> None:
    """Installing into a clone would write into what all share."""
    shutil.move(plain / SITE, tmp_path / "shared")
    (plain / SITE).symlink_to(tmp_path / "shared")
    assert refusal(plain).values["real"] == tmp_path / "shared"


def test_a_link_within_is_fine(plain: Path) -> None:
    (plain / "lib64").symlink_to("lib")
    refuse_unfit(plain)


def test_a_package_that_is_a_link_to_sources_is_not_replaced_through_it(plain: Path, tmp_path: Path) -> None:
    (tmp_path / "source/mine").mkdir(parents=True)
    (plain / SITE / "mine").symlink_to(tmp_path / "source/mine")
    with pytest.raises(ApplyError, match="refuse-linked"):
        refuse_linked(plain, {"my-package": ("mine",)})
    refuse_linked(plain, {"other": ("others",)})


# --- who owns it, where it lies --------------------------------------------------------------------------------------


def test_an_environment_of_another_user_is_refused(plain: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: plain.stat().st_uid + 4321)
    monkeypatch.setattr(os, "access", lambda *_: True)
    assert refusal(plain).key == "refuse-owner"


def _mounts(place: Path, *words: str | Path) -> Iterator[Path]:
    place.mkdir(exist_ok=True)
    command = ["mount", *map(str, words), str(place)]
    if os.geteuid() != 0 or subprocess.run(command, capture_output=True, check=False).returncode != 0:
        pytest.skip("may not mount here")
    try:
        yield place
    finally:
        subprocess.run(["umount", "--lazy", str(place)], check=True)


@pytest.fixture
def elsewhere(tmp_path: Path) -> Iterator[Path]:
    yield from _mounts(tmp_path / "elsewhere", "-t", "tmpfs", "-o", "size=64m", "tmpfs")


def test_an_environment_on_another_file_system_than_the_cache(elsewhere: Path, offline: Path, wheels: Path) -> None:
    root = elsewhere / "live"
    create_environment(root, sys.executable, ["demo==1"])
    old = snapshot(root)
    apply(root, upgrade(wheels), quiet)
    assert output_of(root / "bin/demo") == f"demo 2 {root}"
    roll_back(root, None)
    assert snapshot(root) == old


def test_a_file_system_that_may_not_be_written_is_refused(elsewhere: Path, offline: Path) -> None:
    root = elsewhere / "live"
    create_environment(root, sys.executable, ["demo==1"])
    subprocess.run(["mount", "-o", "remount,ro", elsewhere], check=True)
    assert refusal(root).key == "refuse-read-only"


def test_a_mount_inside_is_refused(plain: Path) -> None:
    for place in _mounts(plain / SITE, "-t", "tmpfs", "tmpfs"):
        assert refusal(plain).values["path"] == place


def test_an_environment_that_is_a_mount_is_refused(plain: Path) -> None:
    (plain.parent / "copy").mkdir()
    for _ in _mounts(plain, "--bind", plain):
        assert refusal(plain).key == "refuse-mount"


@pytest.fixture
def container(tmp_path: Path, plain: Path) -> Iterator[Path]:
    """What a container sees: a layer of its own above that of the image, which holds an environment."""
    layers = tmp_path / "layers"
    for name in ("image", "upper", "work"):
        (layers / name).mkdir(parents=True)
    shutil.copytree(plain, layers / "image/live", symlinks=True)
    if os.geteuid() != 0:
        pytest.skip("may not mount here")
    told = f"lowerdir={layers}/image,upperdir={layers}/upper,workdir={layers}/work"
    yield from _mounts(tmp_path / "container", "-t", "overlay", "-o", told, "overlay")


def test_an_environment_of_a_containers_image_is_refused_at_once(container: Path) -> None:
    """Its folders cannot be renamed; that is found before gigabytes are loaded, and the environment is there all the time."""
    root = container / "live"
    before = snapshot(root)
    with pytest.raises(ApplyError, match="refuse-image"):
        refuse_unfit(root)
    assert snapshot(root) == before
    assert around(root) == {""}


def test_an_environment_that_was_made_in_the_container_is_changed(container: Path) -> None:
    root = container / "live.new"
    shutil.copytree(container / "live", root, symlinks=True)
    apply(root, UPGRADE, quiet)
    assert modules(root)["demo.py"] == "version = 2\n"
    assert_settled(root)
    assert around(root) == {"", ".archfit", ".archfit-1"}


def test_a_rehearsal_that_was_cut_off_is_ended(plain: Path) -> None:
    """Between its two exchanges the environment's name is a link that leads to it."""
    probe = plain.with_name("live.archfit-probe")
    plain.rename(probe)
    plain.symlink_to(probe.name)
    before = snapshot(probe)
    apply(plain, UPGRADE, quiet)
    assert not plain.is_symlink()
    assert snapshot(plain.with_name("live.archfit-1")) == before
    assert_settled(plain)


def test_the_rehearsal_does_no_harm(plain: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(FITNESS, "_file_system", lambda _: FITNESS._OVERLAY)
    before = snapshot(plain)
    refuse_unfit(plain)
    assert (snapshot(plain), around(plain)) == (before, {""})

    def never(*_: object) -> None:
        raise OSError(errno.EXDEV, "Invalid cross-device link")

    monkeypatch.setattr(FITNESS, "rename_exchange", never)
    assert refusal(plain).key == "refuse-image"


# --- who uses it -----------------------------------------------------------------------------------------------------

WAIT = "import sys; print(1, flush=True); sys.stdin.read()"


class Running:
    """A process that waits until it is let go."""

    def __init__(self, *command: str | Path, **options: object) -> None:
        self.child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, **options)  # type: ignore[call-overload]

    def __enter__(self) -> int:
        assert self.child.stdout.readline()
        return int(self.child.pid)

    def __exit__(self, *_: object) -> None:
        self.child.communicate()


def ways(root: Path) -> dict[str, Running]:
    path = {**os.environ, "PATH": f"{root}/bin:{os.environ['PATH']}"}
    loads = (
        f"import mmap; f = open({str(root / SITE / 'lib/libdemo.so')!r}, 'rb'); m = mmap.mmap(f.fileno(), 0, prot=1); "
    )
    return {
        "its Python": Running(root / "bin/python", "-c", WAIT),
        "its Python, by the PATH": Running("python", "-c", WAIT, env=path),
        "a library": Running(sys.executable, "-c", loads + WAIT),
        "stands in it": Running(sys.executable, "-c", WAIT, cwd=root / "lib"),
    }


@pytest.mark.parametrize("way", range(4))
def test_an_environment_in_use_is_refused_with_the_process(plain: Path, way: int) -> None:
    all_ways = list(ways(plain).values())
    for other in all_ways[:way] + all_ways[way + 1 :]:
        other.child.communicate()
    with all_ways[way] as pid:
        assert [user.pid for user in users_of(plain)] == [pid]
        before = snapshot(plain)
        with pytest.raises(ApplyError, match="in-use") as caught:
            apply(plain, UPGRADE, quiet)
        assert str(pid) in str(caught.value.values["processes"])
        assert snapshot(plain) == before
        assert around(plain) == {""}
    assert users_of(plain) == ()


def test_with_force_it_goes_on(plain: Path) -> None:
    with Running(plain / "bin/python", "-c", WAIT):
        apply(plain, Change("a", "b", "", UPGRADE.install, UPGRADE.verify, force=True), quiet)
        with pytest.raises(ApplyError, match="in-use"):
            roll_back(plain, None)
        assert roll_back(plain, None, force=True).live.id == 1


def test_a_process_that_starts_meanwhile_is_seen(plain: Path) -> None:
    started: list[Running] = []

    def install_and_start(clone: Path) -> None:
        UPGRADE.install(clone)
        started.append(Running(plain / "bin/python", "-c", WAIT))
        started[0].__enter__()

    before = snapshot(plain)
    with pytest.raises(ApplyError, match="in-use"):
        apply(plain, Change("a", "b", "", install_and_start, UPGRADE.verify), quiet)
    started[0].__exit__()
    assert snapshot(plain) == before
    assert_settled(plain)


def test_other_processes_are_no_users(plain: Path, tmp_path: Path) -> None:
    """A shell in which it is active, a neighbour whose name begins alike, a Python that only knows its name."""
    active = {**os.environ, "VIRTUAL_ENV": str(plain)}
    (tmp_path / "live2").mkdir()
    with (
        Running(sys.executable, "-c", WAIT, env=active),
        Running(sys.executable, "-c", WAIT, cwd=tmp_path / "live2"),
        Running(sys.executable, "-c", WAIT + f" # {plain}/bin/python"),
    ):
        assert users_of(plain) == ()


# --- pins ------------------------------------------------------------------------------------------------------------


def test_a_package_without_a_hash_is_refused() -> None:
    with pytest.raises(ApplyError, match="plan-without-hash"):
        lock_of([LockedPackage("demo", "1", "2", None, None)])


def test_the_journal_of_an_environment_in_a_folder_that_may_not_be_read(plain: Path) -> None:
    assert read_history(plain).states == ()
    assert Journal(plain).strangers() == ()


def test_the_commands_on_a_torch_that_conda_installed(prefix: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Diagnosed and planned for; an upgrade is refused with the conda command, and nothing is there that was not before."""
    for package in (TORCH_2_4_1, VISION_0_19_1):
        worlds_install(site_packages(prefix), package)
    infos = [p.relative_to(prefix) for p in site_packages(prefix).glob("torch*.dist-info/METADATA")]
    (prefix / "conda-meta").mkdir()
    record = {"name": "pytorch", "version": "2.4.1", "files": [str(info) for info in infos]}
    (prefix / "conda-meta/pytorch-2.4.1-0.json").write_text(json.dumps(record), "utf-8")
    machine = ["--gpu", "RTX 5090", "--driver", "580.65.06", "--lang", "en"]
    assert run(["doctor", str(prefix), *machine]) == 4
    assert run(["plan", str(prefix), "--offline", *machine]) == 0
    before = snapshot(prefix)
    capsys.readouterr()
    assert run(["upgrade", str(prefix), *machine, "--yes"]) == 5
    told = capsys.readouterr().err
    assert "conda installed torch" in told
    assert f"conda install --prefix {prefix} --channel conda-forge 'pytorch-gpu>=2." in told
    assert snapshot(prefix) == before
    assert around(prefix) == {""}
