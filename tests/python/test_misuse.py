"""What cannot be meant is refused in a line, and nothing is lost by it."""

from __future__ import annotations

import io
import json
import os
import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import deathtensors as dt
from helpers import run_python, safetensors_file

LONE = "lone\ud800"


@pytest.fixture
def file(tmp_path: Path) -> str:
    path = str(tmp_path / "a.deathtensors")
    dt.save(path, {"a": np.arange(6, dtype="<f4").reshape(2, 3)}, digests=True)
    return path


def cli(*words: str) -> int:
    return dt.main(list(words))


# --- targets that are the source


def test_a_file_is_not_converted_over_itself(file: str, tmp_path: Path) -> None:
    link = str(tmp_path / "link")
    os.symlink(file, link)
    before = Path(file).read_bytes()
    for target in (file, link):
        for act in (dt.write_manifest, dt.to_safetensors):
            with pytest.raises(dt.UsageError, match="the target is the source"):
                act(file, target)
        for words in (
            ("manifest", file, target),
            ("shard", file, target),
            ("extract", file, target, "a"),
        ):
            assert cli(*words) == 2
    foreign = tmp_path / "x.safetensors"
    foreign.write_bytes(safetensors_file([("a", "U8", [1], b"a")]))
    with pytest.raises(dt.UsageError, match="the target is the source"):
        dt.from_safetensors(foreign, foreign)
    assert Path(file).read_bytes() == before


def test_an_index_is_not_merged_over_itself_or_a_shard(tmp_path: Path) -> None:
    index = str(tmp_path / "i.deathtensors")
    (shard,) = dt.save_sharded(index, {"a": np.zeros(3)})
    assert cli("merge", index, index) == 2
    assert cli("merge", index, shard) == 2
    with dt.open_sharded(index) as model:
        assert model.keys() == ["a"]


# --- values


def test_a_tensor_whose_storage_was_freed(tmp_path: Path) -> None:
    freed = torch.ones(1000)
    freed.untyped_storage().resize_(0)
    cut = torch.ones(100)[90:]
    cut.untyped_storage().resize_(380)
    strided = torch.ones(10, 10).t()
    strided.untyped_storage().resize_(396)
    for value in (freed, cut, strided):
        with pytest.raises(dt.UsageError, match=r"'w'.*freed or is too small"):
            dt.save(tmp_path / "x", {"w": value})
    dt.save(tmp_path / "x", {"w": torch.ones(10, 10).t()[3:, ::2]})


def test_raw_data_must_be_of_the_dtype_declared(tmp_path: Path) -> None:
    path = tmp_path / "x"
    for data in (np.arange(2.0), memoryview(np.arange(2.0)), torch.arange(2.0).double()):
        for value in (data, lambda data=data: data):
            with pytest.raises(dt.UsageError, match="expected I64, found F64"):
                dt.save(path, {"w": ("I64", [2], value)})
    want = np.arange(4, dtype="<f4").reshape(2, 2)
    conjugate = torch.tensor([1 + 2j]).conj()
    tensors: dict[str, Any] = {
        "big": ("F32", [2, 2], want.astype(">f4")),
        "viewed": {"dtype": "F32", "shape": [2, 2], "data": want.T.copy().T},
        "called": ("F32", [2, 2], lambda: want.T.copy().T),
        "called big": ("F32", [2, 2], lambda: want.astype(">f4")),
        "graded": ("F32", [2, 2], lambda: torch.from_numpy(want.T.copy()).requires_grad_().t()),
        "bytes": ("F32", [2, 2], np.frombuffer(want.tobytes(), np.uint8)),
        "conj": ("C64", [1], lambda: conjugate),
    }
    dt.save(path, tensors)
    with dt.open(path) as f:
        for name in list(tensors)[:-1]:
            assert f.get_bytes(name) == want.tobytes(), name
        assert f.get_bytes("conj") == np.array([1 - 2j], "<c8").tobytes()


def test_what_a_function_returns_is_checked(tmp_path: Path) -> None:
    for returned, why in ((None, "returned None"), (np.zeros((2, 3), "<f4"), "another shape")):
        with pytest.raises(dt.UsageError, match=f"'w'.*{why}"):
            dt.save(tmp_path / "x", {"w": ("F32", [3, 2], lambda returned=returned: returned)})
    assert not (tmp_path / "x").exists()


def test_numpy_strings_are_refused(tmp_path: Path) -> None:
    kinds = [np.array(["x"]), np.array(["x"], object)]
    if hasattr(np.dtypes, "StringDType"):
        kinds.append(np.array(["x"], np.dtypes.StringDType()))
    for value in kinds:
        with pytest.raises(dt.UsageError, match="'w'"):
            dt.save(tmp_path / "x", {"w": value})


# --- names and other texts


def test_lone_surrogates(file: str, tmp_path: Path) -> None:
    data = np.zeros(1)
    calls: list[Callable[[], object]] = [
        lambda: dt.save(tmp_path / "x", {LONE: data}),
        lambda: dt.save(tmp_path / "x", {"w": data}, metadata={"w": {LONE: ""}}),
        lambda: dt.save(tmp_path / "x", {"w": data}, metadata={"w": {"k": LONE}}),
        lambda: dt.save(tmp_path / "x", {"w": data}, global_metadata={"k": LONE}),
        lambda: dt.save(tmp_path / LONE, {"w": data}),
        lambda: dt.open(tmp_path / LONE),
        lambda: dt.Schema().expect(LONE),
        lambda: dt.Schema().expect("a", metadata_keys=[LONE]),
    ]
    for call in calls:
        with pytest.raises(dt.UsageError) as caught:
            call()
        str(caught.value).encode()
    with dt.open(file) as f:
        for look in (f.info, f.get_bytes, f.get_buffer, f.get_tensor, f.stats, f.verify):
            with pytest.raises(dt.TensorNotFoundError) as missing:
                look(LONE)
            str(missing.value).encode()
        assert LONE not in f
    assert cli("stats", file, LONE) == 2
    assert cli("extract", file, str(tmp_path / "y"), LONE) == 2


def test_a_name_that_is_no_string(file: str) -> None:
    with dt.open(file) as f:
        for look in (f.info, f.get_bytes, f.get_tensor, f.stats):
            with pytest.raises(dt.UsageError, match="name must be a string"):
                look(5)  # type: ignore[operator]


# --- options


@pytest.mark.parametrize(
    "how",
    [
        {"compress_level": 2**70},
        {"compress_level": "x"},
        {"compress_level": 3.0},
        {"compress_level": 99},
        {"alignment": 2**64},
        {"checksum": "false"},
        {"compress": "no"},
        {"digests": 2},
        {"metadata": {"a": 0}},
        {"global_metadata": 0},
        {"global_metadata": ""},
    ],
)
def test_options_of_save(tmp_path: Path, how: dict[str, Any]) -> None:
    with pytest.raises(dt.UsageError):
        dt.save(tmp_path / "x", {"a": np.zeros(1)}, **how)
    assert not (tmp_path / "x").exists()


def test_flags_may_be_numpys_and_metadata_empty(tmp_path: Path) -> None:
    dt.save(tmp_path / "x", {"a": np.zeros(1)}, {}, {}, np.bool_(True), 0)  # type: ignore[arg-type]
    with dt.open(tmp_path / "x") as f:
        assert f.has_checksum()


@pytest.mark.parametrize(
    "how",
    [
        {"limits": {"rank": -1}},
        {"limits": {"rank": 2**70}},
        {"limits": {5: 1}},
        {"limits": "x"},
        {"backend": 5},
        {"root": b"00"},
        {"verify": "yes"},
    ],
)
def test_options_of_open(file: str, how: dict[str, Any]) -> None:
    with pytest.raises(dt.UsageError, match=next(iter(how))):
        dt.open(file, **how)


def test_other_arguments(file: str) -> None:
    with dt.open(file) as f:
        for start, count in ((2**70, None), (0, 2**70)):
            with pytest.raises(dt.UsageError, match="out of range"):
                f.get_tensor_slice("a", start, count, "numpy")
        assert dt.diff(f, file)["equal"] and dt.diff(f, f)["equal"]
        assert f.keys() == ["a"]
    with pytest.raises(dt.UsageError, match="dtype"):
        dt.Schema().expect("a", dtype=np.float64)  # type: ignore[arg-type]
    with pytest.raises(dt.UsageError, match="metadata_keys"):
        dt.Schema().expect("a", metadata_keys="k")
    with pytest.raises(dt.UsageError, match="open file"):
        dt.get_sparse(file, "s")  # type: ignore[arg-type]


# --- paths


def test_dots_after_a_link_are_the_systems(file: str, tmp_path: Path) -> None:
    (tmp_path / "far" / "inner").mkdir(parents=True)
    (tmp_path / "link").symlink_to(tmp_path / "far" / "inner")
    dt.save(tmp_path / "link" / ".." / "b.deathtensors", {"b": np.zeros(1)})
    assert (tmp_path / "far" / "b.deathtensors").exists()
    with dt.open("link/../b.deathtensors") as f:
        assert f.keys() == ["b"]
    with pytest.raises(dt.UsageError, match="the path is empty"):
        dt.open("")


# --- the command line


def test_the_command_line_takes_words(file: str, tmp_path: Path) -> None:
    for argv in ("info x", ["info", 5]):
        with pytest.raises(TypeError, match="argv"):
            dt.main(argv)  # type: ignore[arg-type]
    huge = "99999999999999999999GB"
    assert cli("shard", file, str(tmp_path / "m"), "--max-bytes", huge) == 2
    assert cli("shard", file, str(tmp_path / "m"), "--alignment", str(2**70)) == 2


def test_closed_output_is_quiet(file: str) -> None:
    command = f'"{sys.executable}" -m deathtensors info "{file}" >&-'
    done = subprocess.run(command, shell=True, capture_output=True, text=True, timeout=60)
    assert (done.returncode in (0, 1), done.stderr) == (True, "")


def test_names_outside_utf8_are_not_found(file: str) -> None:
    words = [sys.executable, "-m", "deathtensors", "stats", file, b"\xff"]
    done = subprocess.run(words, capture_output=True, timeout=60)
    assert done.returncode == 2 and b"Traceback" not in done.stderr


def test_tables_fit_also_where_letters_are_escaped(tmp_path: Path) -> None:
    dt.save(tmp_path / "x", {"é" * 60: np.zeros(1), "b": np.zeros(1)})
    done = subprocess.run(
        [sys.executable, "-m", "deathtensors", "list", "--long", "x"],
        capture_output=True,
        env={**os.environ, "COLUMNS": "60", "PYTHONIOENCODING": "ascii"},
        timeout=60,
        check=True,
    )
    head, first, second = done.stdout.decode("ascii").splitlines()[:3]
    assert max(map(len, (head, first, second))) <= 60
    assert first.index("F64") == second.index("F64") == head.index("dtype")


def test_long_names_take_time_in_proportion(monkeypatch: pytest.MonkeyPatch) -> None:
    from deathtensors.cli import _output

    looks = [0]
    plain = _output._width

    def counted(text: str) -> int:
        looks[0] += len(text)
        return plain(text)

    monkeypatch.setattr(_output, "_width", counted)
    for width in (0, 1, 2, 3, 10, 79, 80):
        for text in ("日本" * 5000, "é" * 10000, "a\u0301" * 5000, "aé日" * 3000, "é日"):
            looks[0] = 0
            short = _output.shorten(text, width)
            assert plain(short) <= width and looks[0] <= 8 * width + 8
            whole = plain(text) <= width
            # One column may be left where the next letter takes two.
            assert short == text if whole else plain(short) >= width - 2
            assert whole or width < 2 or short.partition("…")[0] == text[: short.index("…")]
            assert text.endswith(short.rpartition("…")[2])


def test_unsigned_integers_of_the_same_width_are_bit_patterns(tmp_path: Path) -> None:
    bits = np.array([0x3F80, 0xC000], np.uint16)
    dt.save(tmp_path / "x", {"w": ("BF16", [2], bits), "h": ("F16", [2], bits.astype(">u2"))})
    with dt.open(tmp_path / "x") as f:
        assert f.get_bytes("w") == f.get_bytes("h") == bits.tobytes()
        assert f.get_tensor("w").tolist() == [1.0, -2.0]


def test_addresses_that_are_none(tmp_path: Path) -> None:
    for url in ("http://[::1", "https://[x]/y", "http://h:99999/x", "zip://x::http://[::1"):
        with pytest.raises(dt.DeathTensorsError):
            dt.open(url)
    for url, kind in (
        ("zip://a.dt::file:///nowhere/x.zip", dt.MissingFileError),
        ("file:///nowhere/x", dt.MissingFileError),
        ("memory://none", dt.MissingFileError),
        ("ftp://127.0.0.1:9/x", dt.FileAccessError),  # nobody listens there
        ("nonsense://x", dt.UsageError),
    ):
        with pytest.raises(kind):
            dt.open(url)


def test_names_with_a_nul_are_no_paths(file: str) -> None:
    for work in (
        lambda: dt.open("a\0b"),
        lambda: dt.save("a\0b", {}),
        lambda: dt.from_safetensors("a\0b"),
        lambda: dt.to_safetensors(file, "a\0b"),
        lambda: dt.write_manifest(file, "a\0b"),
        lambda: dt.read_manifest("a\0b"),
    ):
        with pytest.raises(dt.UsageError, match="U\\+0000"):
            work()


class _Odd:
    """A file object whose answers make no sense."""

    def __init__(self, length: object, data: object = b"") -> None:
        self.length, self.data = length, data

    def seek(self, *_: object) -> object:
        return self.length

    tell = seek

    def read(self, *_: object) -> object:
        return b"" if _ == (0,) else self.data


@pytest.mark.parametrize("length", [-1, 2**63, 2**70])
def test_file_objects_of_impossible_length(length: int) -> None:
    with pytest.raises(dt.UsageError, match="bytes long"):
        dt.open(_Odd(length))  # type: ignore[arg-type]


class _Far(io.BytesIO):
    """A file that says that it stands where none can."""

    def tell(self) -> int:
        return 2**64


def test_a_file_object_that_stands_nowhere() -> None:
    with pytest.raises(dt.UsageError, match="bytes long"):
        dt.open(_Far(b"DTLEGION"))


class _Liar(str):
    """Text that says of itself what is not so."""

    def isascii(self) -> bool:
        return True

    def encode(self, *_: object) -> bytes:
        return b"fine"


def test_strings_that_lie(file: str, tmp_path: Path) -> None:
    bad = _Liar("\udc80")
    for work in (
        lambda: dt.save(tmp_path / "x", {bad: np.zeros(1)}),
        lambda: dt.save(tmp_path / "x", {"a": np.zeros(1)}, {"a": {bad: "x"}}),
        lambda: dt.save(tmp_path / "x", {"a": np.zeros(1)}, None, {"x": bad}),
        lambda: dt.save_file(tmp_path / "x", [("a", bad, [1], b"a", None)]),
        lambda: dt.Schema().expect(bad),
    ):
        with pytest.raises(dt.UsageError, match="lone surrogate"):
            work()
    with dt.open(file) as opened:
        for ask in (opened.info, opened.get_bytes, opened.get_tensor, opened.stats):
            with pytest.raises(dt.TensorNotFoundError):
                ask(bad)
        assert bad not in opened
        good = _Liar(opened.keys()[0])
        assert opened.get_bytes(good) == opened.get_bytes(opened.keys()[0])


def test_without_descriptors_everything_fails_in_our_words(file: str, tmp_path: Path) -> None:
    code = """
        import os, resource, sys
        import numpy, deathtensors as dt
        path = sys.argv[1]
        values = {"a": numpy.zeros(3)}
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (64, hard))
        held = []
        try:
            while True:
                held.append(os.open(path, os.O_RDONLY))
        except OSError:
            pass
        # The first use of each imports what it needs.
        for work in (lambda: dt.open(path), lambda: dt.open_sharded(path), lambda: dt.save("x", values),
                     lambda: dt.diff(path, path), lambda: dt.append(path, values), lambda: dt.main([]),
                     lambda: dt.Schema().validate(path), lambda: dt.write_manifest(path, "x"),
                     lambda: dt.to_safetensors(path, "x"), lambda: dt.read_manifest(path)):
            try:
                work()
            except dt.FileAccessError as error:
                assert error.code == "io.failed" and error.errno == 24, error
            else:
                sys.exit("it worked")
        for one in held:
            os.close(one)
        assert dt.diff(path, path)["equal"]
    """
    run_python(code, file)


def test_copies_that_no_memory_holds(tmp_path: Path) -> None:
    length = 1 << 43
    path = tmp_path / "x"
    dt.save_file(path, [("a", "U8", [0], b"", None)])
    header = Path(path).read_bytes()[24:].rstrip(b"\0 ").decode()
    text = json.loads(header)
    text["tensors"]["a"] |= {"shape": [length], "data_offsets": [0, length]}
    data = json.dumps(text).encode()
    data += b" " * (-len(data) % 8)
    head = Path(path).read_bytes()[:16] + struct.pack("<Q", len(data)) + data
    path.write_bytes(head)
    os.truncate(path, len(head) + length)
    with dt.open(path, backend="pread", limits={"memory_bytes": 2**63}) as f:
        for work in (lambda: f.get_bytes("a"), f.get_all_bytes, lambda: f.get_buffer("a")):
            with pytest.raises(dt.FileAccessError, match="not enough memory") as caught:
                work()
            assert caught.value.code == "io.failed"


@pytest.mark.parametrize("data", ["text", 100, None])
def test_file_objects_that_read_no_bytes(data: object) -> None:
    with pytest.raises(dt.UsageError, match="not bytes"):
        dt.open(_Odd(100, data))  # type: ignore[arg-type]


@pytest.mark.parametrize("framework", [None, 5, np.zeros(2), ["torch"], "jax"])
def test_frameworks_that_there_are_not(file: str, framework: Any) -> None:
    with dt.open(file) as opened, pytest.raises(dt.UsageError, match="framework"):
        opened.get_tensors(framework)


@pytest.mark.parametrize("count", [0, -1, 2**63, 2**31, 1.5, "2"])
def test_numbers_of_threads(count: Any) -> None:
    with pytest.raises(dt.UsageError):
        dt.set_num_threads(count)
