"""Many files at once give what one after the other gives."""

from __future__ import annotations

from pathlib import Path

import pytest

from archfit.binary.library import read_library
from archfit.binary.many import Wanted, read_libraries
from archfit.errors import FormatError

DATA = Path(__file__).parents[1] / "data"
LIBRARIES = sorted(DATA.glob("*.so"))


@pytest.mark.parametrize("threads", [1, 2, 8, 100])
def test_the_answers_stand_in_the_order_of_the_questions(threads: int) -> None:
    files = [Wanted(path, path.name) for path in LIBRARIES]
    assert read_libraries(files, threads=threads) == [read_library(path, path.name) for path in LIBRARIES]


def test_each_file_is_searched_as_it_was_asked_for() -> None:
    searches = ((), "all", (".rodata",))
    files = [Wanted(path, path.name, search) for path in LIBRARIES for search in searches]
    assert read_libraries(files) == [read_library(f.path, f.name, search=f.search) for f in files]


def test_a_file_that_cannot_be_read_has_its_error_in_its_place(tmp_path: Path) -> None:
    broken = tmp_path / "libbroken.so"
    broken.write_bytes(b"no library at all")
    missing = tmp_path / "libmissing.so"
    found = read_libraries([Wanted(path, path.name) for path in (broken, LIBRARIES[0], missing)])
    assert isinstance(found[0], FormatError)
    assert found[1] == read_library(LIBRARIES[0], LIBRARIES[0].name)
    assert isinstance(found[2], FileNotFoundError)


@pytest.mark.parametrize("threads", [1, 8])
def test_progress_is_the_bytes_of_each_file_and_of_one_that_cannot_be_read(threads: int, tmp_path: Path) -> None:
    broken = tmp_path / "libbroken.so"
    broken.write_bytes(b"no library at all")
    told: list[int] = []
    read_libraries([Wanted(path, path.name) for path in (*LIBRARIES, broken)], told.append, threads=threads)
    assert sorted(told) == sorted(path.stat().st_size for path in (*LIBRARIES, broken))


def test_nothing_to_read_is_nothing_read() -> None:
    assert read_libraries([]) == []


def test_what_stops_the_caller_stops_the_reading() -> None:
    told: list[int] = []

    def stop(count: int) -> None:
        told.append(count)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        read_libraries([Wanted(path, path.name) for path in LIBRARIES * 50], stop, threads=1)
    assert len(told) == 1
