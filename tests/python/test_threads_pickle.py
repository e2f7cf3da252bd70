"""One open file serves many threads and processes."""

from __future__ import annotations

import copy
import multiprocessing
import os
import pickle
import threading
import time
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.utils.data

import deathtensors as dt

OPTIONS = [{}, {"compress": True}, {"digests": True, "checksum": True}]


def content(count: int = 40) -> dict[str, Any]:
    rng = np.random.default_rng(0)
    sizes = rng.integers(1, 200_000, count)
    return {f"t{i}": rng.standard_normal(int(size)).astype("f4") for i, size in enumerate(sizes)}


@pytest.fixture(params=OPTIONS, ids=str)
def path(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    where = tmp_path / "x.deathtensors"
    dt.save(where, content(), **request.param)
    return where


def test_one_file_many_threads(path: Path) -> None:
    wanted = content()
    failures: list[BaseException] = []
    start = threading.Barrier(8)

    def work(seed: int) -> None:
        rng = np.random.default_rng(seed)
        try:
            start.wait()
            for _ in range(60):
                name = f"t{rng.integers(40)}"
                value = wanted[name]
                what = rng.integers(6)
                if what == 0:
                    assert f.get_bytes(name) == value.tobytes()
                elif what == 1:
                    assert np.array_equal(f.get_tensor(name, "numpy"), value)
                elif what == 2:
                    first = int(rng.integers(len(value)))
                    part = f.get_tensor_slice(name, first, framework="numpy")
                    assert np.array_equal(part, value[first:])
                elif what == 3:
                    assert f.stats(name)["count"] == len(value)
                elif what == 4:
                    assert f.info(name)["nbytes"] == value.nbytes
                else:
                    assert bytes(f.get_buffer(name)) == value.tobytes()
        except BaseException as error:  # shown by the test, not lost with the thread
            failures.append(error)

    with dt.open(path) as f:
        threads = [threading.Thread(target=work, args=(i,)) for i in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert failures == []


def test_closing_while_others_read_is_safe(path: Path) -> None:
    for _ in range(10):
        f = dt.open(path)

        def read(f: dt.DtFile = f) -> int:
            count = 0
            try:
                while True:
                    f.get_bytes(f"t{count % 40}")
                    count += 1
            except dt.UsageError as error:
                assert error.code == "usage.closed"
            return count

        with ThreadPoolExecutor(4) as pool:
            readers = [pool.submit(read) for _ in range(4)]
            time.sleep(0.01)
            f.close()
            assert all(reader.result() >= 0 for reader in readers)


def test_long_work_lets_other_threads_run(tmp_path: Path) -> None:
    """Saving with compression takes a while; a counter must go on meanwhile."""
    values = {
        f"t{i}": np.random.default_rng(i).integers(0, 99, 1 << 23, np.uint8) for i in range(4)
    }
    path = tmp_path / "x.deathtensors"
    ticks, stop = [0], threading.Event()

    def tick() -> None:
        while not stop.is_set():
            ticks[0] += 1
            time.sleep(0.001)

    thread = threading.Thread(target=tick)
    thread.start()
    try:
        for work in (
            lambda: dt.save(path, values, compress=True, compress_level=9, checksum=True),
            lambda: dt.open(path, verify=True).close(),
            lambda: dt.open(path).all_stats(),
            lambda: dt.open(path).get_tensors(framework="numpy"),
            lambda: [dt.open(path).get_bytes(f"t{i}") for i in range(4)],
            lambda: dt.diff(path, path, compare_bytes=True),
        ):
            before, started = ticks[0], time.perf_counter()
            work()
            took = time.perf_counter() - started
            # A held lock would allow about one tick in each.
            assert ticks[0] - before >= min(5, took / 0.02) or took < 0.05
    finally:
        stop.set()
        thread.join()


def test_a_file_pickles_by_path(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(path.parent)
    with dt.open(path.name) as f:
        text = pickle.dumps(f)
        assert len(text) < 2000
        monkeypatch.chdir("/")  # a worker may have another current folder
        with pickle.loads(text) as again:
            assert again.keys() == f.keys()
            assert again.get_bytes("t3") == f.get_bytes("t3")
        with copy.copy(f) as again:
            assert again.get_bytes("t0") == f.get_bytes("t0")


def test_options_travel_with_the_pickle(tmp_path: Path) -> None:
    path = tmp_path / "x"
    dt.save(path, {"w": np.ones(3)}, digests=True)
    with dt.open(path) as f:
        root = f.root
    with dt.open(path, root=root, backend="pread", limits={"rank": 3}) as f:
        text = pickle.dumps(f)
    dt.save(path, {"w": np.zeros(3)}, digests=True)
    with pytest.raises(dt.IntegrityError):
        pickle.loads(text)


def test_a_sharded_reader_pickles_too(tmp_path: Path) -> None:
    path = tmp_path / "x.deathtensors"
    dt.save_sharded(path, content(10), max_shard_bytes=1_000_000)
    with dt.open_sharded(path) as reader, pickle.loads(pickle.dumps(reader)) as again:
        assert again.keys() == reader.keys()
        assert again.get_bytes("t5") == reader.get_bytes("t5")


def read_in_worker(f: Any, name: str) -> tuple[int, bytes]:
    return os.getpid(), f.get_bytes(name)


@pytest.mark.parametrize("method", ["spawn", "forkserver"])
def test_other_processes(method: str, path: Path) -> None:
    wanted = content()
    context = multiprocessing.get_context(method)
    with dt.open(path) as f, ProcessPoolExecutor(2, mp_context=context) as pool:
        found = [pool.submit(read_in_worker, f, f"t{i}") for i in range(6)]
        for i, future in enumerate(found):
            pid, data = future.result(timeout=120)
            assert pid != os.getpid()
            assert data == wanted[f"t{i}"].tobytes()


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_after_a_fork_the_open_file_still_reads(path: Path) -> None:
    """Threads do not survive a fork: a pool of them must not be waited for."""
    wanted = content()
    with dt.open(path) as f:
        f.get_tensors(framework="numpy")  # so that every pool has been started
        f.all_stats()
        pid = os.fork()
        if pid == 0:
            try:
                fine = f.get_tensors(framework="numpy").keys() == wanted.keys()
                fine = fine and f.get_bytes("t7") == wanted["t7"].tobytes()
                fine = fine and len(f.all_stats()) == 40
                with dt.open(path) as g:
                    fine = fine and np.array_equal(g.get_tensor("t9", "numpy"), wanted["t9"])
                dt.save(f"{path}.child", wanted, compress=True)
                os._exit(0 if fine else 1)
            finally:
                os._exit(2)
        until = time.monotonic() + 60
        while time.monotonic() < until:
            done, status = os.waitpid(pid, os.WNOHANG)
            if done:
                break
            time.sleep(0.01)
        else:
            os.kill(pid, 9)
            os.waitpid(pid, 0)
            pytest.fail("the child hangs")
        assert os.waitstatus_to_exitcode(status) == 0
        assert f.get_bytes("t7") == wanted["t7"].tobytes()
    with dt.open(f"{path}.child") as f:
        assert f.keys() == list(wanted)


class Rows(torch.utils.data.Dataset[Any]):
    def __init__(self, f: dt.DtFile) -> None:
        self.f = f

    def __len__(self) -> int:
        return 200

    def __getitem__(self, i: int) -> torch.Tensor:
        return self.f.get_tensor_slice("table", i, 1)[0]


@pytest.mark.parametrize("method", ["fork", "spawn"])
@pytest.mark.parametrize("options", [{}, {"compress": True}], ids=str)
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_data_loader_workers(options: dict[str, Any], method: str, tmp_path: Path) -> None:
    table = torch.randn(200, 64)
    path = tmp_path / "x.deathtensors"
    dt.save(path, {"table": table}, **options)
    with dt.open(path) as f:
        loader = torch.utils.data.DataLoader(
            Rows(f), batch_size=32, num_workers=2, multiprocessing_context=method
        )
        assert torch.equal(torch.cat(list(loader)), table)


def test_the_number_of_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    usual = dt.get_num_threads()
    assert 1 <= usual <= (os.cpu_count() or 1)
    try:
        dt.set_num_threads(3)
        assert dt.get_num_threads() == 3
        for wrong in (0, -1, 1.5, "2"):
            with pytest.raises((ValueError, TypeError)):
                dt.set_num_threads(wrong)  # type: ignore[arg-type]
        assert dt.get_num_threads() == 3
    finally:
        dt.set_num_threads(None)
    assert dt.get_num_threads() == usual
