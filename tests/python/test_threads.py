"""Many threads and one open file: everything at once, and the file changed meanwhile."""

from __future__ import annotations

import io
import os
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from zlib import crc32

import numpy as np
import pytest

import deathtensors as dt

THREADS = 8
FULL = {"compress": True, "digests": True, "checksum": True}


def content(generation: int = 0) -> dict[str, Any]:
    """Tensors that tell which generation they are of, and which one is which."""
    rng = np.random.default_rng(7)
    sizes = [0, 1, 1000, 70_000, 300_000]
    tensors = {
        f"t{i}": rng.integers(0, 250, (size, 3), np.uint8) + np.uint8(generation)
        for i, size in enumerate(sizes)
    }
    return {**tensors, "generation": np.full(5, generation, np.int64)}


@pytest.fixture(params=["mapped", "pread", "pinned", "file object", "sharded"])
def opened(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Callable[..., Any]]:
    """Writes the content, and opens it in one of the ways that there are."""
    path = tmp_path / "x.deathtensors"

    def open_it(options: dict[str, Any]) -> Any:
        if request.param == "sharded":
            dt.save_sharded(path, content(), max_shard_bytes=400_000, **options)
            return dt.open_sharded(path)
        dt.save(path, content(), **{**options, "digests": request.param == "pinned"})
        if request.param == "file object":
            return dt.open(io.BytesIO(path.read_bytes()))
        if request.param == "pinned":
            with dt.open(path) as f:
                root = f.root
            return dt.open(path, root=root)
        return dt.open(path, backend="pread" if request.param == "pread" else "mmap")

    yield open_it
    dt.set_num_threads(None)


def ask(f: Any, nth: int) -> str:
    """One of the things that a reader can be asked, as something that compares."""
    name = f"t{nth % 5}"
    questions: tuple[Callable[[], Any], ...] = (
        lambda: crc32(f.get_bytes(name)),
        lambda: crc32(f.get_tensor(name, "numpy")),
        lambda: {k: crc32(v.numpy()) for k, v in f.get_tensors().items()},
        lambda: crc32(f.get_buffer(name)),
        lambda: [(k, crc32(v)) for k, v in f.items("numpy")],
        lambda: f.stats(name),
        lambda: f.all_stats(),
        lambda: f.verify(name) if f.root else f.verify(),
        lambda: f.verify_report(),
        lambda: f.infos(),
        lambda: crc32(f.get_tensor_slice("t4", nth * 7000, 500, framework="numpy")),
    )
    return repr(questions[nth % len(questions)]())


@pytest.mark.parametrize("options", [{}, {"compress": True}], ids=str)
def test_everything_at_once(options: dict[str, Any], opened: Callable[..., Any]) -> None:
    """Every thread gets what one alone gets, also while the number of threads changes."""
    with opened(options) as f:
        wanted = [ask(f, nth) for nth in range(40)]
        assert len(set(wanted)) > 15
        assert np.frombuffer(f.get_bytes("t4"), np.uint8).tobytes() == content()["t4"].tobytes()
    with opened(options) as f:
        start = threading.Barrier(THREADS)

        def work(thread: int) -> None:
            start.wait()
            for step in range(40):
                nth = (step * (2 * thread + 1) + 5 * thread) % 40
                if thread == 0:
                    dt.set_num_threads(1 + step % 4)
                assert ask(f, nth) == wanted[nth], nth

        with ThreadPoolExecutor(THREADS) as pool:
            list(pool.map(work, range(THREADS)))


@pytest.mark.parametrize("options", [{}, {"compress": True}], ids=str)
def test_closing_ends_everything_with_one_error(
    options: dict[str, Any], opened: Callable[..., Any]
) -> None:
    """Whoever was at work gets the right answer, whoever comes later hears that it is closed."""
    with opened(options) as f:
        wanted = [ask(f, nth) for nth in range(11)]
    for _ in range(3):
        f = opened(options)
        working = threading.Semaphore(0)

        def work(nth: int, f: Any = f, working: Any = working) -> int:
            answers = 0
            try:
                while True:
                    assert ask(f, nth) == wanted[nth], nth
                    answers += 1
                    working.release()
            except dt.UsageError as error:
                assert error.code == "usage.closed"
                return answers

        with ThreadPoolExecutor(11) as pool:
            working_ones = [pool.submit(work, nth) for nth in range(11)]
            # In the middle of work, and not before it has begun.
            for _ in range(22):
                assert working.acquire(timeout=60)
            f.close()
            answers = [one.result(timeout=60) for one in working_ones]
        assert sum(answers) >= 22


@pytest.mark.parametrize("backend", ["mmap", "pread"])
@pytest.mark.parametrize("options", [{}, FULL], ids=str)
def test_readers_keep_their_view_while_the_file_is_replaced(
    options: dict[str, Any], backend: str, tmp_path: Path
) -> None:
    """A writer replaces the file again and again. Whoever opened it reads one generation, to
    the end, and arrays of it stay as they were."""
    path = tmp_path / "x.deathtensors"
    bytes_of = [{k: v.tobytes() for k, v in content(n).items()} for n in range(6)]
    dt.save(path, content(0), **options)
    stop = threading.Event()

    def replace() -> None:
        try:
            for nth in range(30):
                dt.save(path, content(nth % 6), **options)
        finally:
            stop.set()

    def read(_: int) -> set[int]:
        seen, kept = set(), []
        while not stop.is_set():
            with dt.open(path, backend=backend) as f:
                generation = int(f.get_tensor("generation", "numpy")[0])
                for _ in range(2):
                    for name, wanted in bytes_of[generation].items():
                        assert f.get_bytes(name) == wanted
                if options:
                    assert f.verify()
                kept.append((generation, f.get_tensor("t3", "numpy")))
            seen.add(generation)
        for generation, array in kept:
            assert array.tobytes() == bytes_of[generation]["t3"]
        return seen

    with ThreadPoolExecutor(THREADS) as pool:
        readers = pool.map(read, range(THREADS - 1))
        pool.submit(replace).result(timeout=120)
        seen = set().union(*readers)
    assert len(seen) > 1
    assert os.listdir(tmp_path) == ["x.deathtensors"]


@pytest.mark.parametrize("options", [{}, {"compress": True}, FULL], ids=str)
def test_a_file_cut_meanwhile_is_an_error(options: dict[str, Any], tmp_path: Path) -> None:
    """Without a map: right bytes before, an error after, nothing else."""
    path = tmp_path / "x.deathtensors"
    wanted = {name: value.tobytes() for name, value in content().items()}
    for cut in (0.9, 0.5, 0.01):
        dt.save(path, content(), **options)
        working = threading.Semaphore(0)

        def read(thread: int, f: dt.DtFile, working: Any = working) -> str:
            for nth in range(100_000):
                name = ("t4", "t3")[(nth + thread) % 2]
                try:
                    found = f.get_bytes(name) if thread % 2 else f.get_tensor(name, "numpy")
                    assert bytes(found) == wanted[name]
                    if thread == 2:
                        f.stats(name)
                        f.verify()
                except dt.DeathTensorsError as error:
                    # Under a pinned root one would hear that the digest differs.
                    return error.code
                finally:
                    working.release()
            return "never"

        with dt.open(path, backend="pread") as f:
            with ThreadPoolExecutor(THREADS) as pool:
                readers = [pool.submit(read, nth, f) for nth in range(THREADS)]
                for _ in range(2 * THREADS):
                    assert working.acquire(timeout=60)
                os.truncate(path, int(path.stat().st_size * cut))
                assert {reader.result(timeout=120) for reader in readers} == {"io.failed"}
            # And it stays one, for who comes later.
            with pytest.raises(dt.FileAccessError):
                f.get_bytes("t4")
