"""Whatever happens to a file, it is read or refused: nothing else, within bounds."""

from __future__ import annotations

import io
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch  # noqa: F401  before memory is bounded
from hypothesis import strategies as st

import deathtensors as dt
from deathtensors import _deathtensors
from fuzzing import ACTED_UPON, bounded, command, fuzzed, hurt, hurts
from helpers import safetensors_file

CODES = {code: kind for code, kind, _ in _deathtensors.CODES}
#: What the Python side adds.
CODES |= {"not_found.file": "not_found", "sparse.invalid": "format"}


class Files(dict[str, bytes]):
    """Files by name, which are not shown when a test fails."""

    def __repr__(self) -> str:
        return "files"


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Files:
    """Sound files of every kind."""
    folder = tmp_path_factory.mktemp("sound")
    random = np.random.default_rng(7)
    tensors: dict[str, Any] = {
        "a": random.standard_normal((17, 5)),
        "b": np.arange(300_000, dtype="<i4").reshape(1000, 300) // 9,
        "c": ("F4", [4, 2], b"\x12\x34\x56\x78"),
        "é\u202e": np.zeros((0, 3), "<f2"),
        "s": np.array(True),
    }
    tensors["tied"] = tensors["a"]
    metadata = {"a": {"k": "v", "": "\x1b"}}
    for name, how in {
        "plain": {},
        "footer": {"checksum": True},
        "digests": {"digests": True},
        "aligned": {"alignment": 64, "checksum": True, "digests": True},
        "zstd": {"compress": True},
        "all": {"compress": True, "checksum": True, "digests": True},
    }.items():
        dt.save(folder / name, tensors, metadata, {"said": "x"}, **how)
    dt.save_sharded(folder / "index", tensors, 4000, metadata, digests=True)
    found = Files({one.name: one.read_bytes() for one in sorted(folder.iterdir())})
    found["safetensors"] = safetensors_file(
        [("a", "F32", [2, 3], bytes(24)), ("b", "BF16", [0], b""), ("c", "U8", [], b"x")],
        {"k": "v"},
    )
    return found


def survives(what: Callable[[], Any]) -> Any:
    """Do it, or be refused."""
    try:
        return what()
    except dt.DeathTensorsError as error:
        assert type(error) is not dt.DeathTensorsError
        assert CODES.get(error.code or "", error.kind) == error.kind, error.code
        assert error.code in CODES, error.code
        line = str(error)
        assert line and len(line) < 5000, line
        assert "\n" not in line and not ACTED_UPON.search(line), ascii(line)
        assert isinstance(error, (ValueError, KeyError))
        return None


def read_all(source: Any, **how: Any) -> None:
    with dt.open(source, **how) as file:
        repr(file), file._repr_html_(), file.metadata(), file.facts, file.root, file.infos()
        for name in file:
            survives(lambda name=name: file.get_bytes(name))
            survives(lambda name=name: file.get_tensor(name, "numpy"))
            survives(lambda name=name: file.get_tensor(name))
            survives(lambda name=name: file.get_tensor_slice(name, 1, 2, "numpy"))
            survives(lambda name=name: file.verify(name))
            survives(lambda name=name: file.stats(name))
        survives(file.verify)
        survives(lambda: file.get_tensors("numpy"))
        survives(file.all_stats)


KINDS = st.sampled_from(["plain", "footer", "digests", "aligned", "zstd", "all"])


def _hurt(files: Files, kind: str, other: str, how: Any, name: str) -> None:
    Path(name).write_bytes(hurt(files[kind], files[other], how))


@fuzzed(400, kind=KINDS, other=KINDS, how=hurts)
def test_reading(files: Files, kind: str, other: str, how: Any) -> None:
    _hurt(files, kind, other, how, "x")
    with bounded():
        survives(lambda: read_all("x"))
        survives(lambda: read_all("x", backend="pread"))
        survives(lambda: read_all(io.BytesIO(Path("x").read_bytes())))
        survives(lambda: dt.open("x", verify=True).close())


@fuzzed(150, kind=KINDS, other=KINDS, how=hurts)
def test_commands(files: Files, kind: str, other: str, how: Any) -> None:
    _hurt(files, kind, other, how, "x")
    Path("sound").write_bytes(files[kind])
    with bounded():
        for words in (
            ("info", "x"), ("list", "-l", "x"), ("stats", "x"), ("verify", "x"), ("root", "x"),
            ("info", "--json", "x"), ("verify", "--json", "x"), ("diff", "x", "sound"),
            ("diff", "sound", "x", "--json"), ("manifest", "x", "m"), ("verify", "x", "a"),
            ("extract", "x", "out", "*"), ("extract", "x", "o.safetensors", "a"),
        ):  # fmt: skip
            status, text = command(*words)
            assert status in (0, 1, 2, 3), (words, text)
            assert not ACTED_UPON.search(text), words


@fuzzed(120, kind=KINDS, other=KINDS, how=hurts)
def test_writing_from_it(files: Files, kind: str, other: str, how: Any) -> None:
    _hurt(files, kind, other, how, "x")
    before = Path("x").read_bytes()
    with bounded():
        survives(lambda: dt.to_safetensors("x", "y"))
        if survives(lambda: dt.append("x", {"new": np.ones(3)}) or True) is None:
            assert Path("x").read_bytes() == before
        survives(lambda: dt.read_manifest(dt.write_manifest("x")))
        survives(lambda: dt.diff("x", "x"))
    assert not [one for one in os.listdir() if one.startswith(".")]


@fuzzed(200, how=hurts)
def test_safetensors(files: Files, how: Any) -> None:
    data = hurt(files["safetensors"], files["plain"], how)
    Path("x.safetensors").write_bytes(data)
    with bounded():
        survives(lambda: dt.from_safetensors("x.safetensors", "y"))
        survives(lambda: dt.from_safetensors(io.BytesIO(data), "z", compress=True))
        survives(lambda: read_all("y")) if os.path.exists("y") else None


@fuzzed(200, which=st.sampled_from([0, 1, 2]), how=hurts, other=KINDS)
def test_sharded(files: Files, which: int, how: Any, other: str) -> None:
    names = ["index", *sorted(name for name in files if name.startswith("index-"))]
    for name in names:
        Path(name).write_bytes(files[name])
    _hurt(files, names[which], other, how, names[which])

    def read() -> None:
        with dt.open_sharded("index") as model:
            repr(model)
            for name in model:
                survives(lambda name=name: model.get_bytes(name))
                survives(lambda name=name: model.get_tensor(name, "numpy"))
            survives(model.verify)
            survives(lambda: model.get_tensors("numpy"))

    with bounded():
        survives(read)
        for words in (("info", "index"), ("verify", "index"), ("merge", "index", "out")):
            status, text = command(*words)
            assert status in (0, 1, 2, 3), (words, text)


@fuzzed(150, how=hurts)
def test_manifests(files: Files, how: Any) -> None:
    Path("sound").write_bytes(files["all"])
    dt.write_manifest("sound", "m.json")
    data = Path("m.json").read_bytes()
    Path("m.json").write_bytes(hurt(data, files["plain"], how))
    with bounded():
        survives(lambda: dt.read_manifest("m.json"))


@fuzzed(150, data=st.binary(max_size=600), start=st.sampled_from([b"", b"DTLEGION", b"PK\3\4"]))
def test_anything(data: bytes, start: bytes) -> None:
    Path("x").write_bytes(start + data)
    with bounded():
        survives(lambda: read_all("x"))
        survives(lambda: dt.from_safetensors("x", "y"))
        survives(lambda: dt.read_manifest("x"))
        survives(lambda: dt.open_sharded("x"))
