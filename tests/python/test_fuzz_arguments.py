"""Whatever a public function is given, it answers with a documented error or does its work."""

from __future__ import annotations

import datetime
import decimal
import inspect
import io
import os
from collections.abc import Callable, Iterator, Mapping
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import strategies as st

import deathtensors as dt
from deathtensors import huggingface
from deathtensors.remote import RemoteOptions
from fuzzing import ACTED_UPON, bounded, fuzzed

FILE, INDEX, SAFETENSORS = "f.deathtensors", "i.deathtensors", "s.safetensors"


class Own(Exception):
    """What a caller's own object raises: it is the caller's, and comes back as it is."""


def _raise(*_: Any, **__: Any) -> Any:
    raise Own


class Raises:
    """Raises whatever is asked of it."""

    __index__ = __int__ = __float__ = __bool__ = __len__ = __iter__ = __getitem__ = _raise
    __fspath__ = __array__ = __dlpack__ = __dlpack_device__ = __call__ = __contains__ = _raise


class Shy:
    """Cannot even be shown."""

    __repr__ = __str__ = __hash__ = _raise  # type: ignore[assignment]


class Text(str):
    """A str that is not what it seems."""

    def __str__(self) -> str:
        return "other"

    def __eq__(self, other: object) -> bool:
        return True

    def __hash__(self) -> int:
        return 7

    def __len__(self) -> int:
        return 1

    def encode(self, *_: Any) -> Any:
        return 5

    def startswith(self, *_: Any) -> Any:
        return True


class Number(int):
    """An int that is not what it seems."""

    def __index__(self) -> int:
        return 2**70

    def __eq__(self, other: object) -> bool:
        return True

    def __hash__(self) -> int:
        return 7


class Lies(Mapping[Any, Any]):
    """A mapping whose length, keys and values do not agree."""

    def __init__(self, *keys: Any) -> None:
        self._keys = keys

    def __len__(self) -> int:
        return 2**20

    def __iter__(self) -> Iterator[Any]:
        return iter(self._keys)

    def __getitem__(self, key: Any) -> Any:
        raise Own

    def __contains__(self, key: object) -> bool:
        return True


class Path8:
    def __fspath__(self) -> bytes:
        return b"f.deathtensors"


class PathNone:
    def __fspath__(self) -> Any:
        return None


class Reader:
    """A file object of sorts."""

    def __init__(self, told: Any, given: Any) -> None:
        self.told, self.given = told, given

    def seek(self, *_: Any) -> Any:
        return self.told

    tell = seek

    def read(self, *_: Any) -> Any:
        return self.given


def _endless() -> Iterator[str]:
    return iter(lambda: "a", "b")


HOSTILE: list[Callable[[], Any]] = [
    lambda: None, lambda: True, lambda: 0, lambda: -1, lambda: 1, lambda: 2**31, lambda: 2**63,
    lambda: 2**64, lambda: -(2**70), lambda: 10**400, lambda: 1.5, lambda: float("nan"),
    lambda: float("inf"), lambda: 1e300, lambda: 1j, lambda: decimal.Decimal(1),
    lambda: Fraction(1, 2), lambda: "", lambda: "a", lambda: "\0", lambda: "a\0b",
    lambda: "\udc80", lambda: "x" * 100_000, lambda: "é", lambda: "../m", lambda: "org--x/y",
    lambda: "/", lambda: ".", lambda: "~nobody-of-that-name/x", lambda: "http://[::1",
    lambda: "http://", lambda: "ftp://127.0.0.1:9/x", lambda: "zip://x.bin", lambda: "hf://",
    lambda: "hf://a/b", lambda: "hf://a/b@/c", lambda: "hf://../../x", lambda: "file:///",
    lambda: "http://127.0.0.1:99999/x", lambda: "http://127.0.0.1:1/\n", lambda: "memory://none",
    lambda: "memory://", lambda: "nonsense://x", lambda: "http://a b/", lambda: "http://\u2603:x/",
    lambda: "simplecache::", lambda: "::", lambda: "zip://a::b", lambda: "data:,x",
    lambda: "data://x", lambda: "reference://", lambda: "local://", lambda: "cached://x",
    lambda: b"", lambda: b"f.deathtensors", lambda: b"\xff\0", lambda: bytearray(b"x"),
    lambda: memoryview(b"abcd"), lambda: memoryview(b"abcdefgh").cast("d"), list,
    lambda: [1, "a", None], lambda: (), lambda: ("F32", [1], bytes(4)), lambda: ("F32", [1], b""),
    lambda: ("F32", [-1], b""), lambda: ("F32", [2**63, 2**63], b""), lambda: ("F33", [0], b""),
    lambda: ("F32", Raises(), b""), lambda: ("F32", [1], Raises()), lambda: ("F32", None, b""),
    lambda: ("F32", [1.5], b""), lambda: ("F32", ["1"], b""), lambda: ("F32", [0] * 65, b""),
    lambda: ("F32", [1], lambda: None), lambda: ("F32", [1], _raise), lambda: ("F32", [1], 5),
    lambda: ("F32", [1], lambda: np.zeros(3)), lambda: (Text("F32"), [1], bytes(4)),
    dict, lambda: {"a": None}, lambda: {None: None}, lambda: {"": b""}, lambda: {"a": "b"},
    lambda: {1: 2}, lambda: {"a": {}}, lambda: {"a\0": np.zeros(1)}, lambda: {"\ud800": "x"},
    lambda: {"x": "\ud800"}, lambda: {"n" * 5000: np.zeros(1)}, lambda: {"a": {"b": 1}},
    lambda: {"a": {"dtype": 1, "shape": 1, "data": 1}}, lambda: {"header_bytes": -1},
    lambda: {"header_bytes": 2**64}, lambda: {"token": 1}, lambda: {"retries": 10**9},
    lambda: {"timeout": float("nan")}, lambda: {"headers": {"a": "\n"}}, lambda: {"nonsense": 1},
    lambda: {"cache_dir": "\0"}, lambda: {"cache_dir": 7}, lambda: {"connections": 0},
    lambda: {"a": np.array(["x"])}, lambda: {"a": np.array([object()])},
    lambda: {"a": np.zeros(1, "M8[s]")}, lambda: {"a": np.zeros(1, "V3")},
    lambda: {"a": np.zeros(1, [("x", "f4")])}, lambda: {"a": np.zeros(1, np.longdouble)},
    lambda: {"a": torch.zeros(1, device="meta")}, lambda: {"a": torch.zeros(2).to_sparse()},
    lambda: {"a": torch.quantize_per_tensor(torch.zeros(2), 0.1, 0, torch.qint8)},
    lambda: {"a": torch.nn.Linear(1, 1)}, lambda: torch.nn.Linear(1, 1), lambda: torch.zeros(2),
    lambda: np.zeros(3), lambda: np.float32(1), lambda: np.int64(-1), lambda: np.bool_(True),
    lambda: np.array("x"), lambda: np.str_("a"), lambda: set(), lambda: {"a", 1}, lambda: range(3),
    lambda: _endless, lambda: object(), lambda: object, lambda: len, lambda: ..., Raises, Shy,
    lambda: Text("f.deathtensors"), lambda: Text("a"), lambda: Text(""), lambda: Number(1),
    lambda: Lies(), lambda: Lies("a"), lambda: Lies("a", "a"), lambda: Lies(None),
    lambda: {"a": Raises()}, lambda: {"a": Shy()}, lambda: {"a": Lies("dtype")}, Path8, PathNone,
    lambda: Path("f.deathtensors"), lambda: Path("none"), lambda: io.BytesIO(b"x"),
    lambda: io.StringIO("x"), lambda: Reader(0, b""), lambda: Reader(None, None),
    lambda: Reader(2**70, b"DTLEGION"), lambda: Reader(-1, b""), lambda: Reader(100, "text"),
    lambda: Reader(100, bytes(7)), lambda: Reader(Raises(), Raises()), lambda: datetime.date.max,
    lambda: RemoteOptions(), lambda: type, lambda: NotImplemented, lambda: Exception("x"),
    lambda: _raise, lambda: (lambda *_: 1 / 0), lambda: os.devnull,
]  # fmt: skip

#: Functions, with arguments that are right.
CALLS: dict[str, tuple[Callable[..., Any], dict[str, Any]]] = {
    "open": (dt.open, {"path": FILE}),
    "DtFile": (dt.DtFile, {"path": FILE}),
    "open_sharded": (dt.open_sharded, {"index_path": INDEX}),
    "save": (dt.save, {"path": "out", "tensors": {"a": np.zeros(3)}}),
    "save_file": (dt.save_file, {"path": "out", "tensors": [("a", "U8", [1], b"x", None)]}),
    "append": (dt.append, {"path": FILE, "tensors": {}}),
    "append_file": (dt.append_file, {"path": FILE, "tensors": []}),
    "save_sharded": (dt.save_sharded, {"path": "shards", "tensors": {"a": np.zeros(3)}}),
    "save_sparse": (
        dt.save_sparse,
        {"path": "sparse", "sparse_tensors": {"a": torch.eye(2).to_sparse()}},
    ),
    "get_sparse": (lambda **how: dt.get_sparse(dt.open(FILE), **how), {"name": "a"}),
    "from_safetensors": (dt.from_safetensors, {"src": SAFETENSORS, "dst": "out"}),
    "to_safetensors": (dt.to_safetensors, {"src": FILE, "dst": "out"}),
    "write_manifest": (dt.write_manifest, {"dt_path": FILE, "manifest_path": "m.json"}),
    "read_manifest": (dt.read_manifest, {"manifest_path": "manifest.json"}),
    "diff": (dt.diff, {"path_a": FILE, "path_b": FILE}),
    "expand_path": (dt.expand_path, {"path": "x"}),
    "set_num_threads": (dt.set_num_threads, {"n": 2}),
    "expect": (lambda **how: dt.Schema().expect(**how).validate(FILE), {"name": "a"}),
    "validate": (lambda **how: dt.Schema().validate(**how), {"path": FILE}),
    "main": (dt.main, {"argv": ["list", FILE]}),
    "RemoteOptions": (RemoteOptions, {}),
    **{
        f"file.{name}": (lambda _which=name, **how: getattr(dt.open(FILE), _which)(**how), {"name": "a"})
        for name in (
            "info", "get_bytes", "get_buffer", "get_tensor", "get_tensor_mmap", "get_tensor_slice",
            "stats", "verify",
        )
    },
    "file.__contains__": (lambda name: name in dt.open(FILE), {"name": "a"}),
    **{
        f"model.{name}": (
            lambda _which=name, **how: getattr(dt.open_sharded(INDEX), _which)(**how), {"name": "a"},
        )
        for name in ("info", "get_tensor", "get_tensor_slice", "which_shard", "verify", "stats")
    },
    "get_tensors": (lambda **how: dt.open(FILE).get_tensors(**how), {}),
    "verify_report": (lambda **how: dt.open(FILE).verify_report(**how), {}),
    **{
        name: (getattr(huggingface, name), {"repo_id": "org/name", **more})
        for name, more in {
            "load_from_hub": {"filename": "m.deathtensors"},
            "load_sharded_from_hub": {"index_filename": "m.deathtensors"},
            "list_repo_models": {},
            "hub_model_info": {},
            "push_to_hub": {"local_path": FILE, "token": "hf_x"},
            "push_sharded_to_hub": {"local_index_path": INDEX, "token": "hf_x"},
            "convert_safetensors_on_hub": {"safetensors_filename": "x.safetensors"},
        }.items()
    },
}  # fmt: skip
#: Parameters of the functions above that hide behind ``**how``.
HIDDEN = {
    "get_sparse": ["name"],
    "expect": ["name", "dtype", "shape", "metadata_keys"],
    "validate": ["path"],
    "get_tensors": ["framework", "progress"],
    "verify_report": ["progress"],
    **{f"file.{one}": ["name", "framework"] for one in ("get_tensor", "get_tensor_mmap")},
    **{
        f"{whose}.get_tensor_slice": ["name", "start", "count", "framework"]
        for whose in ("file", "model")
    },
    "model.get_tensor": ["name", "framework"],
    **{f"{whose}.verify": ["name", "progress"] for whose in ("file", "model")},
}


def parameters(name: str) -> list[str]:
    """What a function can be given by name."""
    if name in HIDDEN:
        return HIDDEN[name]
    if name.startswith(("file.", "model.")):
        return ["name"]
    return list(inspect.signature(CALLS[name][0]).parameters)


@pytest.fixture
def sound(impatient: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """The files that right arguments name; and a Hub that is not asked."""
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    _again()


def _again() -> None:
    tensors = {"a": np.arange(6.0).reshape(3, 2)}
    dt.save(FILE, tensors, digests=True)
    dt.save_sharded(INDEX, tensors)
    dt.to_safetensors(FILE, SAFETENSORS)
    dt.write_manifest(FILE, "manifest.json")


def allowed(error: BaseException) -> bool:
    """Whether it is documented: ours, or Python's own for a wrong type."""
    if isinstance(error, (dt.DeathTensorsError, Own, ZeroDivisionError)):
        return True  # the last comes out of a caller's own function
    return type(error) is TypeError


def positions(call: str) -> list[str]:
    return [one for one in parameters(call) if one not in ("self", "cls", "how", "args")]


PLACES = [(call, place) for call in CALLS for place in positions(call)]


def attempt(call: str, arguments: dict[str, Any]) -> None:
    function = CALLS[call][0]
    try:
        with bounded(memory=1 << 30):
            found = function(**arguments)
        if hasattr(found, "close"):
            found.close()
    except Exception as error:
        if not allowed(error):
            raise AssertionError(f"{call}: {type(error).__name__}: {error}"[:600]) from error
        if isinstance(error, dt.DeathTensorsError):
            assert error.code and error.kind, error
            assert not ACTED_UPON.search(str(error)), ascii(error)[:300]
            assert "\n" not in str(error) and len(str(error)) < 5000, str(error)[:300]
    finally:
        dt.set_num_threads(None)


@pytest.mark.parametrize(("call", "place"), PLACES, ids=str)
def test_every_place_of_every_function(sound: None, call: str, place: str) -> None:
    failures = []
    for make in HOSTILE:
        try:
            value = make()
            attempt(call, {**CALLS[call][1], place: value})
        except AssertionError as error:
            failures.append(str(error))
        if not os.path.exists(FILE) or Path(FILE).stat().st_size > 1000:
            _again()
    assert not failures, "\n".join(failures[:20])


@fuzzed(
    300,
    place=st.sampled_from(PLACES),
    other=st.integers(0, 10),
    first=st.sampled_from(HOSTILE),
    second=st.sampled_from(HOSTILE),
)
def test_two_at_once(sound: None, place: Any, other: int, first: Any, second: Any) -> None:
    call, one = place
    names = positions(call)
    _again()
    attempt(call, {**CALLS[call][1], one: first(), names[other % len(names)]: second()})
