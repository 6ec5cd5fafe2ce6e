"""A Jetson: its driver comes with JetPack, and JetPack decides which builds of torch can run."""

from __future__ import annotations

import shlex

from archfit.catalog import JetPack
from archfit.model import Option, Requires, Step, Text, Unsolved
from archfit.planner.situation import Situation

_PAGE = "https://developer.nvidia.com/embedded/jetpack"


def jetpack_option(situation: Situation) -> Option:
    """A newer JetPack: with it the wheels of servers run."""
    wanted = _opened(situation)
    values = {
        "release": wanted.release if wanted else "?",
        "cuda": str(wanted.cuda) if wanted else "?",
        "driver": str(situation.driver),
        "gpus": ", ".join(gpu.name for gpu in situation.gpus),
    }
    commands = (f"cat /etc/nv_tegra_release   # which JetPack is there; newer ones: {_PAGE}",)
    return Option(
        kind="driver",
        summary=Text("jetpack", values),
        steps=(Step("driver", "jetpack", None, values["release"], None, (Text("jetpack-why", values),)),),
        requires=Requires(),
        risks=(Text("risk-jetpack"),),
        pip=commands,
        uv=commands,
    )


def jetson_risks(situation: Situation) -> tuple[Text, ...]:
    """What must be so on a Jetson for a build from PyPI to run."""
    wanted = _opened(situation)
    if situation.tegra is None or wanted is None:
        return ()
    return (Text("risk-tegra", {"gpu": situation.tegra.name, "release": wanted.release, "cuda": str(wanted.cuda)}),)


def jetson_unsolved(situation: Situation) -> list[Unsolved]:
    """Where builds for an older JetPack are; what they hold has not been measured."""
    gpu = situation.tegra
    if gpu is None:
        return []
    rows = [row for row in situation.catalog.jetpacks if row.index and gpu.capability in row.capabilities]
    if not rows:
        return [Unsolved(Text("jetson-unknown", {"gpu": gpu.name}))]
    python = shlex.quote(str(situation.environment.python))
    return [
        Unsolved(
            Text(
                "jetson-index", {"gpu": gpu.name, "release": row.release, "cuda": str(row.cuda), "python": row.python}
            ),
            f"{python} -m pip install torch torchvision --index-url {row.index}",
        )
        for row in rows
    ]


def _opened(situation: Situation) -> JetPack | None:
    """The first JetPack on which PyPI's own wheels run."""
    gpu = situation.tegra
    rows = situation.catalog.jetpacks if gpu else ()
    return next((row for row in rows if not row.index and gpu and gpu.capability in row.capabilities), None)
