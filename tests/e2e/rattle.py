"""`create` and `install` of conda prefixes with rattler, the library of pixi, in the words of conda."""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
from pathlib import Path

import rattler


async def main() -> None:
    """Solve and link; what is installed stays as it is where the solution allows."""
    words = argparse.ArgumentParser()
    words.add_argument("--cache", type=Path, required=True)
    words.add_argument("command", choices=["create", "install"])
    words.add_argument("--prefix", type=Path, required=True)
    words.add_argument("--channel", action="append", required=True)
    words.add_argument("--dry-run", action="store_true")
    words.add_argument("specs", nargs="+")
    told = words.parse_args()
    records = [rattler.PrefixRecord.from_path(path) for path in (told.prefix / "conda-meta").glob("*.json")]
    specs = [rattler.MatchSpec(spec) for spec in told.specs]
    named = {spec.name.normalized for spec in specs}
    kept = [rattler.MatchSpec(name) for record in records if (name := record.name.normalized) not in named]
    found = await rattler.solve(
        sources=[rattler.Channel(f"{os.environ['ARCHFIT_TEST_CHANNELS']}/{channel}") for channel in told.channel],
        specs=[*specs, *kept],
        gateway=rattler.Gateway(cache_dir=told.cache / "repodata"),
        locked_packages=records,
        virtual_packages=rattler.VirtualPackage.detect(rattler.VirtualPackageOverrides.from_env()),
    )
    for record in found:
        print(record.name.normalized, record.version, record.build)
    if not told.dry_run:
        await rattler.install(found, told.prefix, cache_dir=told.cache / "pkgs", show_progress=False)


asyncio.run(main())
sys.stdout.flush()
os._exit(0)  # py-rattler 0.28 at times aborts while Python ends (PyGILState_Release), its work done
