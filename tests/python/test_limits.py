"""Limits: one table everywhere, each refused just below what a file needs."""

from __future__ import annotations

import inspect
import io
import json
import re
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import deathtensors as dt
from binary import assemble, dumps, entry, header
from deathtensors import _deathtensors, huggingface
from deathtensors.cli import main
from helpers import ROOT
from hub import Hub
from webserver import Web

TABLE = [(name, default, code) for name, default, code, _ in _deathtensors.LIMIT_TABLE]

# --- one table


def _number(text: str) -> int:
    found = re.match(r"(\d+)\^(\d+)|[\d,]+", text)
    assert found is not None, text
    if found[1]:
        return int(found[1]) ** int(found[2])
    return int(found[0].replace(",", ""))


def test_the_table_is_that_of_the_specification() -> None:
    text = (ROOT / "docs" / "format_spec.md").read_text()
    rows = re.findall(r"^\| `(\w+)` \| (\d[^|]*) \| `([\w.]+)` \|$", text.split("## 14.")[1], re.M)
    assert [(name, _number(default), code) for name, default, code in rows] == TABLE


def test_the_table_is_that_of_javascript() -> None:
    constants = (ROOT / "web" / "src" / "limits.ts").read_text()
    body = re.search(r"LIMITS: .*?freeze\(\{(.*?)\}\)", constants, re.S)
    types = (ROOT / "web" / "src" / "types.ts").read_text()
    interface = re.search(r"export interface Limits \{(.*?)^\}", types, re.S | re.M)
    assert body is not None and interface is not None
    wanted = [re.sub(r"_(\w)", lambda found: found[1].upper(), name) for name, _, _ in TABLE]
    assert re.findall(r"^  (\w+): number;$", interface[1], re.M) == wanted
    found = dict(re.findall(r"(\w+): (.*?),\n", body[1]))
    # Both languages understand what they are written as.
    assert [(name, eval(value.replace("<<", " << "))) for name, value in found.items()] == [
        (name, default) for name, (_, default, _) in zip(wanted, TABLE)
    ]


def test_the_table_is_what_python_has() -> None:
    assert {name: default for name, default, _ in TABLE} == dt.LIMITS
    codes = {code for code, kind, _ in _deathtensors.CODES if kind == "limit"}
    assert {code for _, _, code in TABLE} == codes | {"header.depth"}
    assert all(meaning and "\n" not in meaning for *_, meaning in _deathtensors.LIMIT_TABLE)


# --- each limit at what a file needs, however it is read


def _opener(how: str, path: Path, web: Web) -> Callable[..., Any]:
    if how == "sharded":
        return lambda **options: dt.open_sharded(path.parent / "sharded.deathtensors", **options)
    if how == "file object":
        return lambda **options: dt.open(io.BytesIO(path.read_bytes()), **options)
    if how == "http":
        web.files["/m.deathtensors"] = path.read_bytes()
        return lambda **options: dt.open(f"{web.url}/m.deathtensors", **options)
    return lambda **options: dt.open(path, backend=how, **options)


WAYS = ["mmap", "pread", "file object", "http", "sharded"]
NAME, METADATA = "a tensor of this length", {"key": "value"}
VALUES = np.arange(60_000, dtype="uint8").reshape(30, 20, 100)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    made = tmp_path / "m.deathtensors"
    tensors = {NAME: VALUES, "b": VALUES[0]}
    dt.save(made, tensors, metadata={NAME: METADATA}, compress=True)
    dt.save_sharded(
        tmp_path / "sharded.deathtensors", tensors, metadata={NAME: METADATA}, compress=True
    )
    return made


def _needs(path: Path, how: str) -> dict[str, int]:
    """What reading everything needs at least, of each limit."""
    headers = [path]
    if how == "sharded":
        # The index is a file of its own; what it lists counts as the model's tensors.
        headers = [path.parent / "sharded.deathtensors", *path.parent.glob("sharded-*")]
    lengths = [int.from_bytes(one.read_bytes()[16:24], "little") for one in headers]
    return {
        "header_bytes": max(lengths),
        "tensors": 2,
        "name_bytes": len(NAME),
        "metadata_bytes": sum(len(key) + len(value) + 8 for key, value in METADATA.items()),
        "rank": 3,
        "depth": 4,
        "inflated_bytes": VALUES.nbytes + VALUES[0].nbytes,
        # Both share a frame, which is decoded beside the copies.
        "memory_bytes": 2 * (VALUES.nbytes + VALUES[0].nbytes),
    }


@pytest.mark.parametrize("how", WAYS)
def test_each_limit_at_what_a_file_needs_and_below(how: str, path: Path, web: Web) -> None:
    opened = _opener(how, path, web)

    def read(limits: dict[str, int]) -> None:
        with opened(limits=limits) as f:
            for name, array in f.get_tensors("numpy").items():
                assert array.tobytes() == (VALUES if name == NAME else VALUES[0]).tobytes()

    needs = _needs(path, how)
    assert list(needs) == list(dt.LIMITS)
    read(needs)
    for name, _, code in TABLE:
        with pytest.raises(dt.DeathTensorsError) as caught:
            read({name: needs[name] - 1})
        error = caught.value
        assert error.code == code, error
        assert isinstance(error, dt.LimitError) or code == "header.depth"
        assert error.expected is not None and error.found is not None
        assert str(needs[name] - 1) in error.expected and error.expected in str(error)
        assert str(needs[name]) in error.found and error.found in str(error)
        if name in ("name_bytes", "metadata_bytes", "rank", "inflated_bytes", "memory_bytes"):
            assert error.tensor in (NAME, "b"), error


# --- memory


def _refused(need: int, tensor: str | None, work: Callable[[dict[str, int]], Any]) -> None:
    """The work passes with that much memory, and is refused with a byte less."""
    work({"memory_bytes": need})
    with pytest.raises(dt.LimitError) as caught:
        work({"memory_bytes": need - 1})
    error = caught.value
    assert (error.code, error.tensor) == ("limit.memory", tensor), error
    assert error.expected == f"at most {need - 1} bytes" and error.found == f"{need} bytes"


@pytest.fixture
def plain(tmp_path: Path) -> Path:
    made = tmp_path / "plain.deathtensors"
    dt.save(made, {"large": np.zeros((100, 1000), "uint8"), "small": np.ones(10_000, "uint8")})
    return made


@pytest.mark.parametrize("how", ["mmap", "pread", "file object", "http"])
def test_views_need_nothing_and_copies_their_bytes(how: str, plain: Path, web: Web) -> None:
    opened = _opener(how, plain, web)

    def reading(method: str, *arguments: Any) -> Callable[[dict[str, int]], Any]:
        def work(limits: dict[str, int]) -> Any:
            with opened(limits=limits) as f:
                return getattr(f, method)(*arguments)

        return work

    _refused(100_000, "large", reading("get_bytes", "large"))
    _refused(110_000, "small", reading("get_all_bytes"))
    little = {"memory_bytes": 16 * int.from_bytes(plain.read_bytes()[16:24], "little")}
    of_tensors = [
        (100_000, "large", reading("get_tensor", "large", "numpy")),
        (90_000, "large", reading("get_tensor_slice", "large", 5, 90, "numpy")),
        (100_000, "large", reading("get_buffer", "large")),
        (110_000, "small", reading("get_tensors", "numpy")),
    ]
    for need, name, work in of_tensors:
        if how == "mmap":
            work(little)
        else:
            _refused(need, name, work)
    for method in ("all_stats", "verify", "verify_report", "infos"):
        reading(method)(little)


def test_a_sharded_model_counts_all_shards_of_a_call(tmp_path: Path) -> None:
    index = tmp_path / "s.deathtensors"
    tensors = {name: np.full(100_000, nth, "uint8") for nth, name in enumerate("abc")}
    shards = dt.save_sharded(index, tensors, max_shard_bytes=100_000)
    assert len(shards) == 3

    def read(limits: dict[str, int]) -> None:
        with dt.open_sharded(index, backend="pread", limits=limits) as model:
            assert len(model.get_tensors("numpy")) == 3

    _refused(300_000, "c", read)


def test_pinned_rows_from_elsewhere_count_with_their_tensor(tmp_path: Path, web: Web) -> None:
    path = tmp_path / "p.deathtensors"
    dt.save(path, {"w": np.zeros((100, 1000), "uint8")}, digests=True)
    opened = _opener("http", path, web)
    with dt.open(path) as f:
        root = f.root

    def read(limits: dict[str, int]) -> None:
        with opened(root=root, limits=limits) as f:
            f.get_tensor_slice("w", 0, 3, "numpy")

    _refused(103_000, "w", read)


def test_a_lying_header_is_refused_before_anything_is_set_aside(tmp_path: Path) -> None:
    path = tmp_path / "lie.deathtensors"
    # A terabyte of zeros, of which the file holds what zstd needs to say so.
    path.write_bytes(
        assemble(dumps(header({"w": entry("U8", [1 << 40], 0)})), bytes(1 << 25), flags=1)
    )
    with dt.open(path, limits={"memory_bytes": 1 << 30}) as f:
        with pytest.raises(dt.LimitError, match="expected at most 1073741824 bytes") as caught:
            f.get_tensor("w", "numpy")
    assert caught.value.tensor == "w"


# --- whatever opens a file

#: What opens no file of others, or is handed one that is open.
WITHOUT = {
    "DtFile", "ShardedReader", "Schema", "save", "save_file", "save_sharded", "save_sparse",
    "get_sparse", "set_num_threads", "get_num_threads", "expand_path", "file_magic",
    "format_version", "library_author", "library_version", "supported_dtypes", "main",
}  # fmt: skip
HUB_WITHOUT = {"list_repo_models", "hub_model_info", "HubCachedFile"}


def _callables(module: Any) -> Iterator[tuple[str, Any]]:
    for name in module.__all__:
        value = getattr(module, name)
        if callable(value) and not (isinstance(value, type) and issubclass(value, Exception)):
            yield name, value


def test_whatever_opens_a_file_takes_limits() -> None:
    for module, without in ((dt, WITHOUT), (huggingface, HUB_WITHOUT)):
        missing = {
            name
            for name, value in _callables(module)
            if "limits" not in inspect.signature(value).parameters
        }
        assert missing <= without, missing
    for opened in (dt.DtFile, dt.ShardedReader, dt.Schema.validate, dt.Schema.problems):
        assert "limits" in inspect.signature(opened).parameters


CALLS: dict[str, Callable[..., Any]] = {
    "open": lambda **how: dt.open("m.deathtensors", **how),
    "open_sharded": lambda **how: dt.open_sharded("sharded.deathtensors", **how).get_bytes("b"),
    "verify_report": lambda **how: dt.open_sharded("sharded.deathtensors", **how).verify_report(),
    "diff": lambda **how: dt.diff("m.deathtensors", "m.deathtensors", **how),
    "append": lambda **how: dt.append("m.deathtensors", {"c": np.zeros(1)}, **how),
    "append_file": lambda **how: dt.append_file("m.deathtensors", [], **how),
    "to_safetensors": lambda **how: dt.to_safetensors("m.deathtensors", "out", **how),
    "from_safetensors": lambda **how: dt.from_safetensors("m.safetensors", "out", **how),
    "from_safetensors elsewhere": lambda **how: dt.from_safetensors(
        io.BytesIO(Path("m.safetensors").read_bytes()), "out", **how
    ),
    "write_manifest": lambda **how: dt.write_manifest("m.deathtensors", "out", **how),
    "read_manifest": lambda **how: dt.read_manifest("m.json", **how),
    "validate": lambda **how: dt.Schema().allow_extra().validate("m.deathtensors", **how),
    "problems": lambda **how: dt.Schema().problems("m.deathtensors", **how),
}


@pytest.mark.parametrize("call", CALLS)
def test_limits_reach_the_file(call: str, path: Path, tmp_path: Path) -> None:
    dt.to_safetensors(path, "m.safetensors")
    dt.write_manifest(path, "m.json")
    before = path.read_bytes()
    with pytest.raises(dt.LimitError) as caught:
        CALLS[call](limits={"rank": 2})
    assert caught.value.code == "limit.rank"
    assert path.read_bytes() == before and not Path("out").exists()
    with pytest.raises(dt.LimitError) as caught:
        CALLS[call](limits={"memory_bytes": 1000})
    assert caught.value.code == "limit.memory"
    with pytest.raises(dt.UsageError, match=r"one of header_bytes, tensors, .*memory_bytes"):
        CALLS[call](limits={"ranks": 2})
    CALLS[call](limits={"rank": 3})


def test_limits_reach_the_hub(path: Path, hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", hub.token)
    dt.to_safetensors(path, "m.safetensors")
    hub.put("tester/model", {"m.deathtensors": path, "m.safetensors": Path("m.safetensors")})
    low: Any = {"limits": {"rank": 2}}
    calls: list[Callable[[], Any]] = [
        lambda: huggingface.load_from_hub("tester/model", "m.deathtensors", **low),
        lambda: huggingface.load_from_hub("tester/model", "m.deathtensors", lazy=True, **low),
        lambda: huggingface.convert_safetensors_on_hub(
            "tester/model", "m.safetensors", "n.dt", **low
        ),
        lambda: huggingface.push_to_hub("tester/model", path, **low),
        lambda: huggingface.push_to_hub("tester/model", "m.safetensors", **low),
        lambda: huggingface.push_sharded_to_hub("tester/model", "sharded.deathtensors", **low),
    ]
    for call in calls:
        with pytest.raises(dt.LimitError) as caught:
            call()
        assert caught.value.code == "limit.rank"


def test_limits_may_be_raised(tmp_path: Path) -> None:
    deep = {"w": entry("U8", [0] * 65, 0)}
    path = tmp_path / "deep.deathtensors"
    path.write_bytes(assemble(dumps(header(deep)), b""))
    with pytest.raises(dt.LimitError):
        dt.open(path)
    with dt.open(path, limits={"rank": 65}) as f:
        assert f.info("w")["shape"] == [0] * 65


def test_threads_share_no_count(plain: Path) -> None:
    failures: list[BaseException] = []

    def read(f: dt.DtFile) -> None:
        try:
            for _ in range(20):
                assert len(f.get_bytes("large")) == 100_000
        except BaseException as error:
            failures.append(error)

    with dt.open(plain, limits={"memory_bytes": 100_000}) as f:
        threads = [threading.Thread(target=read, args=(f,)) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert not failures


# --- the command line

COMMANDS: dict[str, list[str]] = {
    "info": ["m.deathtensors"],
    "list": ["m.deathtensors"],
    "stats": ["m.deathtensors"],
    "verify": ["m.deathtensors"],
    "root": ["m.deathtensors"],
    "diff": ["m.deathtensors", "m.deathtensors"],
    "convert": ["to-safetensors", "m.deathtensors", "out"],
    "manifest": ["m.deathtensors", "out"],
    "append": ["m.deathtensors", "m.deathtensors", "--prefix", "x"],
    "shard": ["m.deathtensors", "out"],
    "merge": ["sharded.deathtensors", "out"],
    "extract": ["m.deathtensors", "out", "b"],
}


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_takes_limits(
    command: str, path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = [command, *COMMANDS[command]]
    before = path.read_bytes()
    for given, code, said in (
        ("rank=2", 3, "too many dimensions (expected at most 2, found 3 or more)"),
        ("memory_bytes=1KB", 3, "memory than the limit (expected at most 1000 bytes, found "),
        ("colour=2", 2, "one of the names header_bytes, tensors, name_bytes"),
        ("rank", 2, "NAME=VALUE"),
        ("rank=2MB", 2, "not a number"),
        ("memory_bytes=much", 2, "not a size"),
        ("rank=-1", 2, "not a number"),
    ):
        assert main([*arguments, "--limit", given]) == code, given
        told = capsys.readouterr()
        assert said in told.err and told.out == "", told
        assert path.read_bytes() == before and not Path("out").exists()
    # The last of a name counts; several hold together.
    enough = ["--limit", "rank=2", "--limit", "rank=3", "--limit", "memory_bytes=1 MiB"]
    assert main([*arguments, *enough]) == (1 if command in ("root", "verify") else 0)


def test_the_help_names_every_limit(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["info", "--help"]) == 0
    told = " ".join(capsys.readouterr().out.split())
    for name in dt.LIMITS:
        assert name in told


def test_converting_takes_limits(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    dt.to_safetensors(path, "m.safetensors")
    arguments = ["convert", "from-safetensors", "m.safetensors", "out", "--json"]
    assert main([*arguments, "--limit", "tensors=1"]) == 3
    assert "expected at most 1, found 2 or more" in capsys.readouterr().err
    assert main([*arguments, "--limit", "tensors=2"]) == 0
    assert json.loads(capsys.readouterr().out)["wrote"][0]["path"] == "out"
