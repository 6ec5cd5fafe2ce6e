"""Compile extensions with progress; where it fails, say what the log shows."""

from __future__ import annotations

from time import monotonic
from typing import TYPE_CHECKING

from archfit import api
from archfit.session import Session

if TYPE_CHECKING:
    from rich.progress import Progress as Bar

_EVERY_S = 60.0  # a log gets a line a minute


def announce_compiling(session: Session, prepared: api.Prepared) -> None:
    """Say what will be compiled, and for which GPUs."""
    if not prepared.to_compile:
        return
    capabilities = ", ".join(str(gpu.capability) for gpu in prepared.before.environment.devices)
    session.screen.out.print(session.messages.ui("rebuild-will", capabilities=capabilities), soft_wrap=True)
    for wanted in prepared.to_compile:
        session.screen.out.print(f"  {wanted}", soft_wrap=True)


def compile_extensions(session: Session, prepared: api.Prepared) -> api.Prepared:
    """Compile what the plan asks for; the environment is not touched.

    Raises:
        BuildError: a package cannot be compiled; what its log shows was printed.
    """
    if not prepared.to_compile:
        return prepared
    watcher = _Watcher(session)
    try:
        done = api.compile_extensions(prepared, watcher.see, talk=not session.as_json)
    except api.CompileFailed as error:
        if error.explanation and not session.as_json:
            from archfit.report.explanation import show_explanation  # needs RE2, which few commands do

            show_explanation(session.messages, session.talk, error.explanation)
        raise
    finally:
        watcher.stop()
    for built in done.built:
        key = "rebuild-kept" if built.cached else "rebuild-done"
        told = session.messages.ui(
            key,
            package=f"{built.package} {built.version}",
            targets=" ".join(built.targets),
            seconds=f"{built.seconds:.0f}",
            compiler=built.compiler,
            log=built.log,
        )
        session.talk.print(f"  {told}", soft_wrap=True, markup=False)
    return done


class _Watcher:
    """Turns what a build tells into a bar, or into lines where nobody watches."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._bar: Bar | None = None
        self._stage = ""
        self._began = self._spoke = monotonic()

    def see(self, progress: api.BuildProgress) -> None:
        ui = self._session.messages.ui
        if (step := f"{progress.package} {progress.stage}") != self._stage:
            self._stage, self._began, self._spoke = step, monotonic(), monotonic()
            self._begin(ui(f"rebuild-{progress.stage}", package=progress.package), bar=progress.stage != "environment")
        if progress.stage != "compile" or not progress.file:
            return
        if self._bar and progress.total:
            done, total = progress.done, progress.total
            text = ui("rebuild-compiling", package=progress.package, file=progress.file, done=done, total=total)
            self._bar.update(self._bar.task_ids[0], description=text, completed=done, total=total)
        elif not self._session.talk.is_terminal and progress.total and monotonic() - self._spoke >= _EVERY_S:
            self._spoke = monotonic()
            minutes = f"{(monotonic() - self._began) / 60:.0f}"
            self._session.talk.print(
                ui("rebuild-line", package=progress.package, done=progress.done, total=progress.total, minutes=minutes)
            )

    def _begin(self, sentence: str, *, bar: bool) -> None:
        """A line where the installer draws its own bars."""
        self.stop()
        if bar and self._session.talk.is_terminal:
            self._bar = self._session.progress()
            self._bar.add_task(sentence, total=None)
            self._bar.start()
        else:
            self._session.talk.print(f"  {sentence}", markup=False)

    def stop(self) -> None:
        if self._bar:
            self._bar.stop()
            self._bar = None
