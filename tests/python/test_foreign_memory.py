"""Memory that crosses between this library and others: NumPy, PyTorch, the buffer protocol and
DLPack. What is handed out lives as long as anybody has it, and never leads to the file; what
is handed in stays where it is until it is written."""

from __future__ import annotations

import array
import ctypes
import gc
import itertools
import threading
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import deathtensors as dt
from deathtensors import _deathtensors

VALUES = np.arange(60_000, dtype="<f4").reshape(600, 100)


def saved(tmp_path: Path, **options: Any) -> Path:
    path = tmp_path / "x.deathtensors"
    dt.save(path, {"w": VALUES, "empty": VALUES[:0], "byte": VALUES[0, :1].view("u1")}, **options)
    return path


def same(found: Any, wanted: np.ndarray[Any, Any] = VALUES) -> bool:
    return memoryview(found).tobytes() == wanted.tobytes()


# --- what is handed out

HANDED_OUT: dict[str, Callable[[Any], Any]] = {
    "numpy": lambda f: f.get_tensor("w", "numpy"),
    "torch": lambda f: f.get_tensor("w").numpy(),
    "torch through DLPack": lambda f: np.from_dlpack(f.get_tensor("w")),
    "numpy in torch": lambda f: torch.from_numpy(f.get_tensor("w", "numpy")).numpy(),
    "all": lambda f: f.get_tensors(framework="numpy")["w"],
    "slice": lambda f: f.get_tensor_slice("w", 0, framework="numpy"),
    "buffer": lambda f: f.get_buffer("w"),
    "part of a buffer": lambda f: f.get_buffer("w")[:].cast("f"),
    "bytes": lambda f: f.get_bytes("w"),
}
WAYS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "mapped": ({}, {"backend": "mmap"}),
    "read": ({}, {"backend": "pread"}),
    "decoded": ({"compress": True}, {}),
}


@pytest.mark.parametrize("what", HANDED_OUT)
@pytest.mark.parametrize("way", WAYS)
def test_it_outlives_everything_in_any_order(way: str, what: str, tmp_path: Path) -> None:
    options, how = WAYS[way]

    def close(place: dict[str, Any]) -> None:
        place["f"].close()

    def forget(place: dict[str, Any]) -> None:
        place["g"] = place.pop("f")
        del place["g"]
        place["f"] = dt.open(place["path"] if place["path"].exists() else place["other"])

    def drop_another(place: dict[str, Any]) -> None:
        place["another"] = None
        gc.collect(0)

    def replace(place: dict[str, Any]) -> None:
        dt.save(place["path"], {"w": VALUES + 1})

    def unlink(place: dict[str, Any]) -> None:
        place["path"].unlink()

    other = tmp_path / "other"
    dt.save(other, {"w": VALUES - 1})
    for order in itertools.permutations([close, forget, drop_another, replace]):
        path = saved(tmp_path, **options)
        f = dt.open(path, **how)
        found = HANDED_OUT[what](f)
        place = {"f": f, "path": path, "other": other, "another": HANDED_OUT[what](f)}
        del f
        for step in (*order, unlink):
            step(place)
            assert same(found), step.__name__
        place["f"].close()


@pytest.mark.parametrize("way", WAYS)
def test_writing_stays_here(way: str, tmp_path: Path) -> None:
    """Whatever is written to, by whomever: the file, and all that reads it anew, stay."""
    options, how = WAYS[way]
    path = saved(tmp_path, **options, digests=True)
    before = path.read_bytes()
    with dt.open(path, **how) as f:
        for what, get in HANDED_OUT.items():
            found = get(f)
            view = memoryview(found)
            if what == "bytes" or "buffer" in what:
                assert view.readonly
                with pytest.raises(ValueError, match="read-only"):
                    np.frombuffer(found, "u1")[0] = 1
                continue
            assert not view.readonly
            np.asarray(found)[...] = -1
            torch.from_numpy(np.asarray(found)).mul_(3)
            assert (np.asarray(found) == -3).all()
            assert f.get_bytes("w") == VALUES.tobytes() and same(f.get_buffer("w"))
            assert f.verify() and f.verify("w")
            assert f.stats("w")["min"] == 0
            # What is saved from written memory is what was written.
            dt.save(tmp_path / "copy", {"w": found})
            with dt.open(tmp_path / "copy") as copy:
                assert (copy.get_tensor("w", "numpy") == -3).all()
    assert path.read_bytes() == before
    with dt.open(path, verify=True) as f:
        assert same(f.get_tensor("w", "numpy"))


def test_many_threads_write_to_views_while_others_read_the_file(tmp_path: Path) -> None:
    path = saved(tmp_path, checksum=True)
    before = path.read_bytes()
    stop = threading.Event()

    def write(seed: int) -> None:
        view = f.get_tensor("w", "numpy")
        while not stop.is_set():
            view[seed::4] += 1

    with dt.open(path) as f:
        threads = [threading.Thread(target=write, args=(seed,)) for seed in range(4)]
        for thread in threads:
            thread.start()
        try:
            for _ in range(30):
                assert f.get_bytes("w") == VALUES.tobytes()
                assert f.verify() and f.stats("w")["max"] == VALUES.max()
        finally:
            stop.set()
            for thread in threads:
                thread.join()
        assert not same(f.get_tensor("w", "numpy"))
    assert path.read_bytes() == before


def test_views_of_views_keep_what_is_behind_them(tmp_path: Path) -> None:
    f = dt.open(saved(tmp_path))
    found = f.get_tensor("w", "numpy")
    array_there, part = weakref.ref(found), memoryview(found)[1:]
    del found
    gc.collect()
    assert array_there() is not None
    assert same(part, VALUES[1:])
    part.release()
    del part
    gc.collect()
    assert array_there() is None
    view = f.get_buffer("w")
    view_there, inner = weakref.ref(view), view[10:20]
    view.release()
    with pytest.raises(ValueError, match="released"):
        bytes(view)
    del view
    gc.collect()
    assert view_there() is None
    assert bytes(inner) == VALUES.tobytes()[10:20]


def test_the_compiled_buffers_themselves(tmp_path: Path) -> None:
    path = saved(tmp_path)
    file = _deathtensors.File(path)
    for name, size in (("w", VALUES.nbytes), ("empty", 0), ("byte", 4)):
        for writable in (True, False):
            buffer = file.buffer(name, writable=writable)
            assert len(buffer) == buffer.nbytes == memoryview(buffer).nbytes == size
            assert memoryview(buffer).readonly is not writable
            again = np.frombuffer(buffer, "u1") if size else None
            if again is not None:
                assert again.ctypes.data == np.frombuffer(buffer, "u1").ctypes.data
                address = ctypes.c_char * size
                if writable:
                    address.from_buffer(buffer)
                else:
                    with pytest.raises(TypeError, match="not writable"):
                        address.from_buffer(buffer)
    file.close()
    assert len(memoryview(buffer)) == 4
    assert np.frombuffer(again, "<f4")[0] == 0


# --- what is handed in


def meanwhile(path: Path, data: Any, act: Callable[[], None], **options: Any) -> None:
    """Saves, and acts in the middle of it."""
    acted: list[bool] = []

    def progress(done: int, total: int) -> None:
        if not acted:
            acted.append(True)
            act()

    count = memoryview(data).nbytes
    dt.save_file(path, [("w", "U8", [count], data, {})], progress=progress, **options)
    assert acted


@pytest.mark.parametrize("options", [{}, {"compress": True, "digests": True}], ids=str)
def test_what_is_being_written_cannot_be_resized(options: dict[str, Any], tmp_path: Path) -> None:
    size = 9 << 20
    for data in (bytearray(size), array.array("B", bytes(size))):

        def grow(data: Any = data) -> None:
            with pytest.raises(BufferError):
                data.append(1)
            with pytest.raises(BufferError):
                data.extend(b"12345678")
            with pytest.raises(BufferError):
                data.pop()

        meanwhile(tmp_path / "x", data, grow, **options)
        data.append(1)  # and afterwards it can
        assert len(data) == size + 1
    data = bytearray(size)
    view = memoryview(data)

    def release() -> None:
        view.release()
        with pytest.raises(BufferError):  # the view may go, what it showed stays
            data.append(1)

    meanwhile(tmp_path / "x", view, release, **options)
    data.append(1)


@pytest.mark.parametrize("options", [{}, {"compress": True}], ids=str)
def test_what_is_dropped_while_it_is_written_is_kept(
    options: dict[str, Any], tmp_path: Path
) -> None:
    """The caller's last reference goes while the bytes are being written."""
    path = tmp_path / "x"
    for make in (
        lambda: np.full(3 << 20, 7, "u1"),
        lambda: torch.full((3 << 20,), 7, dtype=torch.uint8),
        lambda: bytearray(b"\7" * (3 << 20)),
    ):
        tensors: dict[str, Any] = {
            f"t{nth}": ("U8", [3 << 20], value) if isinstance(value, bytearray) else value
            for nth, value in enumerate(make() for _ in range(3))
        }

        others: list[Any] = []

        def drop(
            done: int, total: int, tensors: dict[str, Any] = tensors, others: Any = others
        ) -> None:
            if tensors:
                tensors.clear()
                gc.collect()
                # Somebody else gets the memory, if it was given back.
                others.extend(np.full(3 << 20, 9, "u1") for _ in range(3))

        dt.save(path, tensors, progress=drop, **options)
        assert tensors == {}
        with dt.open(path) as f:
            assert f.keys() == ["t0", "t1", "t2"]
            assert all((f.get_tensor(name, "numpy") == 7).all() for name in f)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"compress": True},
        {"checksum": True, "digests": True},
        {"compress": True, "digests": True},
    ],
    ids=str,
)
def test_what_is_written_to_meanwhile_is_old_or_new(
    options: dict[str, Any], tmp_path: Path
) -> None:
    """As when a checkpoint is saved while training goes on: the file can be read, and each
    element is as it was at some moment. What was hashed may have been of another moment."""
    path = tmp_path / "x"
    stop = threading.Event()
    value = np.zeros(4 << 20, "u1")

    def write() -> None:
        for new in itertools.cycle((1, 0)):
            value[:] = new
            if stop.is_set():
                return

    thread = threading.Thread(target=write)
    thread.start()
    try:
        for _ in range(10):
            dt.save(path, {"w": value, "after": np.arange(10)}, **options)
            with dt.open(path) as f:
                assert np.isin(f.get_tensor("w", "numpy"), (0, 1)).all()
                assert same(f.get_tensor("after", "numpy"), np.arange(10))
                report = f.verify_report()
                assert report["tensors"]["after"] in (True, None)
                if "digests" not in options:
                    assert report["errors"] == []
    finally:
        stop.set()
        thread.join()
    dt.save(path, {"w": value}, **options)
    dt.open(path, verify=True).close()


def test_read_only_and_strided_and_empty_sources(tmp_path: Path) -> None:
    path = tmp_path / "x"
    locked = VALUES.copy()
    locked.flags.writeable = False
    dt.save(
        path,
        {
            "locked": locked,
            "from_file": np.frombuffer(VALUES.tobytes(), "<f4"),
            "columns": locked.T,
            "backwards": locked[::-1],
            "repeated": np.broadcast_to(locked[0], (3, 100)),
            "torch_empty": torch.empty(0, 5),
            "nothing": ("U8", [0], bytearray()),
            "no_view": ("F32", [0], memoryview(b"")),
            "every_other": ("U8", [120_000], memoryview(VALUES.tobytes())[::2]),
            "raw_columns": ("F32", [100, 600], VALUES.T),
        },
    )
    with dt.open(path) as f:
        assert same(f.get_buffer("locked")) and same(f.get_buffer("from_file"))
        assert same(f.get_buffer("columns"), np.ascontiguousarray(VALUES.T))
        assert same(f.get_buffer("backwards"), np.ascontiguousarray(VALUES[::-1]))
        assert same(f.get_buffer("repeated"), np.tile(VALUES[0], (3, 1)))
        assert same(f.get_buffer("every_other"), VALUES.view("u1").reshape(-1)[::2])
        assert same(f.get_buffer("raw_columns"), np.ascontiguousarray(VALUES.T))
        assert all(f.get_bytes(name) == b"" for name in ("torch_empty", "nothing", "no_view"))
    released = memoryview(b"abcd")
    released.release()
    with pytest.raises(ValueError):
        dt.save(path, {"w": ("U8", [4], released)})
    with dt.open(path) as f:
        assert "locked" in f  # what failed left the file


# --- DLPack tensors of others, which may be wrong in any way


class DlTensor(ctypes.Structure):
    _fields_ = [
        ("data", ctypes.c_void_p),
        ("device_type", ctypes.c_int32),
        ("device_id", ctypes.c_int32),
        ("ndim", ctypes.c_int32),
        ("code", ctypes.c_uint8),
        ("bits", ctypes.c_uint8),
        ("lanes", ctypes.c_uint16),
        ("shape", ctypes.c_void_p),
        ("strides", ctypes.c_void_p),
        ("byte_offset", ctypes.c_uint64),
    ]


class DlManagedTensor(ctypes.Structure):
    _fields_ = [
        ("tensor", DlTensor),
        ("manager", ctypes.c_void_p),
        ("deleter", ctypes.c_void_p),
    ]


DELETER = ctypes.CFUNCTYPE(None, ctypes.c_void_p)
new_capsule = ctypes.pythonapi.PyCapsule_New
new_capsule.restype = ctypes.py_object
new_capsule.argtypes = [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p]


class Exporter:
    """Sixteen bytes as a DLPack tensor, with fields changed."""

    def __init__(self, name: bytes = b"dltensor", **fields: Any) -> None:
        self.name = name
        self.deleted = 0
        self.bytes = (ctypes.c_uint8 * 16)(*range(16))
        lists = {
            key: (ctypes.c_int64 * len(fields[key]))(*fields[key])
            for key in ("shape", "strides")
            if isinstance(fields.get(key), list)
        }
        self.keep = lists
        usual: dict[str, Any] = {
            "data": ctypes.addressof(self.bytes), "device_type": 1, "ndim": 1, "code": 1,
            "bits": 8, "lanes": 1, "strides": None, "byte_offset": 0,
        }  # fmt: skip
        self.keep.setdefault("shape", (ctypes.c_int64 * 1)(16))
        usual["shape"] = ctypes.addressof(self.keep["shape"])
        usual.update({key: ctypes.addressof(value) for key, value in lists.items()})
        usual.update({k: v for k, v in fields.items() if not isinstance(v, list)})
        self.deleter = DELETER(self.delete)
        deleter = ctypes.cast(self.deleter, ctypes.c_void_p)
        self.managed = DlManagedTensor(DlTensor(**usual), None, deleter)

    def delete(self, _: int) -> None:
        self.deleted += 1

    def __dlpack__(self, **_: Any) -> Any:
        return new_capsule(ctypes.addressof(self.managed), self.name, None)


def save_dlpack(path: Path, exporter: Any, nbytes: int = 16) -> bytes:
    """Saves by the compiled module itself: ``save`` gives it only what torch exports, since
    torch and numpy crash on some of these tensors."""
    _deathtensors.save(str(path), [("w", "U8", [nbytes], exporter, None, None)], None)
    with dt.open(path) as f:
        return f.get_bytes("w")


def test_a_dlpack_tensor_is_written_and_given_back_once(tmp_path: Path) -> None:
    whole = bytes(range(16))
    for fields, wanted in (
        ({}, whole),
        ({"ndim": 2, "shape": [4, 4], "strides": [4, 1]}, whole),
        ({"ndim": 3, "shape": [1, 16, 1], "strides": [99, 1, -7]}, whole),
        ({"shape": [2], "bits": 64}, whole),
        ({"shape": [4], "byte_offset": 4}, whole[4:8]),
        ({"shape": [2], "bits": 16, "lanes": 2}, whole[:8]),
        ({"ndim": 0, "shape": None}, whole[:1]),
        ({"shape": [0], "data": None}, b""),
        ({"device_type": 3}, whole),
    ):
        exporter = Exporter(**fields)
        assert save_dlpack(tmp_path / "x", exporter, len(wanted)) == wanted, fields
        assert exporter.deleted == 1, fields


@pytest.mark.parametrize(
    "fields",
    [
        {"ndim": -1},
        {"ndim": 1, "shape": None},
        {"ndim": 2, "shape": [-4, -4]},
        {"ndim": 2, "shape": [-1, 0]},
        {"data": None},
        {"data": None, "byte_offset": 8},
        {"ndim": 2, "shape": [4, 4], "strides": [1, 4]},
        {"ndim": 1, "shape": [8], "strides": [2]},
        {"ndim": 1, "shape": [16], "strides": [-1]},
        {"ndim": 2, "shape": [1 << 62, 1 << 62]},
        {"ndim": 1, "shape": [1 << 62], "bits": 255, "lanes": 65535},
        {"ndim": 1, "shape": [(1 << 63) - 1]},
        {"ndim": 1, "shape": [(1 << 63) - 1], "bits": 16},
        {"byte_offset": (1 << 64) - 1},
        {"device_type": 2},
        {"device_type": -1},
    ],
    ids=str,
)
def test_a_dlpack_tensor_that_cannot_be_is_refused(fields: dict[str, Any], tmp_path: Path) -> None:
    exporter = Exporter(**fields)
    with pytest.raises((BufferError, dt.DeathTensorsError)):
        save_dlpack(tmp_path / "x", exporter)
    assert exporter.deleted == 1
    assert not (tmp_path / "x").exists()


def test_capsules_that_are_none(tmp_path: Path) -> None:
    """Another name, a capsule that somebody has taken already, and no capsule at all."""
    for name in (b"used_dltensor", b"dltensor_versioned", b"", b"else"):
        exporter = Exporter(name=name)
        with pytest.raises(TypeError):
            save_dlpack(tmp_path / "x", exporter)
        assert exporter.deleted == 0  # it is not ours to delete

    class Twice(Exporter):
        capsule: Any = None

        def __dlpack__(self, **_: Any) -> Any:
            self.capsule = self.capsule or super().__dlpack__()
            return self.capsule

    twice = Twice()
    assert save_dlpack(tmp_path / "x", twice) == bytes(range(16))
    with pytest.raises(TypeError):
        save_dlpack(tmp_path / "y", twice)
    assert twice.deleted == 1

    class Wrong(Exporter):
        def __dlpack__(self, **_: Any) -> Any:
            return b"dltensor"

    with pytest.raises(TypeError):
        save_dlpack(tmp_path / "y", Wrong())
    assert not (tmp_path / "y").exists()
