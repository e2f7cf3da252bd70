"""Arrays and other objects in, arrays out: exact and without copies."""

from __future__ import annotations

import array
import ctypes
import gc
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest

import deathtensors as dt
from helpers import NUMPY_DTYPES, bits, data_for, listing, run_python
from test_torch import mapped

OPTIONS = [{}, {"compress": True, "checksum": True}]


def array_of(dtype: str, shape: list[int]) -> np.ndarray[Any, Any]:
    return np.frombuffer(bytearray(data_for(dtype, shape)), NUMPY_DTYPES[dtype]).reshape(shape)


@pytest.mark.parametrize("options", OPTIONS, ids=str)
@pytest.mark.parametrize("dtype", NUMPY_DTYPES)
def test_every_dtype_comes_back_bit_for_bit(
    dtype: str, options: dict[str, Any], tmp_path: Path
) -> None:
    arrays = {str(s): array_of(dtype, s) for s in ([], [1], [5], [3, 4], [2, 3, 2], [0], [3, 0])}
    path = tmp_path / "x.deathtensors"
    dt.save(path, arrays, **options)
    with dt.open(path, verify=True) as f:
        for name, value in arrays.items():
            assert f.info(name)["dtype"] == dtype
            back = f.get_tensor(name, framework="numpy")
            assert back.dtype == NUMPY_DTYPES[dtype]
            assert back.shape == value.shape
            assert bits(back) == bits(value)


def views() -> dict[str, Any]:
    base = np.arange(48.0).reshape(6, 8)
    read_only = base.copy()
    read_only.flags.writeable = False
    return {
        "fortran": np.asfortranarray(base),
        "transposed": base.T,
        "strided": base[::2, ::-3],
        "column": base[:, 2],
        "reversed": base[::-1],
        "broadcast": np.broadcast_to(np.arange(3.0), (4, 3)),
        "read_only": read_only,
        "big_f8": base.astype(">f8"),
        "big_i2": np.arange(-5, 5, dtype=">i2"),
        "big_u4": np.arange(5, dtype=">u4").reshape(5, 1),
        "big_c8": (base + 1j * base).astype(">c8"),
        "big_f2_strided": base.astype(">f2")[:, ::2],
        "field": np.array([(1, 2.5), (3, 4.5)], dtype=[("a", "i4"), ("b", "f8")])["b"],
        "zero_dim": np.array(3.5),
        "scalar": np.float32(2.5),
        "bool_scalar": np.bool_(True),
        "bf16_strided": base.astype(ml_dtypes.bfloat16)[:, ::2],
        "fp8_turned": base.astype(ml_dtypes.float8_e4m3fn).T,
        "memmap_like": np.ndarray((2, 3), "<i4", bytes(range(24))),
        "unaligned": np.frombuffer(b"x" + bytes(range(16)), "<f8", offset=1),
    }


@pytest.mark.parametrize("options", OPTIONS, ids=str)
@pytest.mark.parametrize("name", views())
def test_any_byte_order_and_stride_is_saved(
    name: str, options: dict[str, Any], tmp_path: Path
) -> None:
    value = views()[name]
    path = tmp_path / "x.deathtensors"
    dt.save(path, {"w": value}, **options)
    with dt.open(path) as f:
        back = f.get_tensor("w", framework="numpy")
    assert back.shape == np.shape(value)
    assert back.dtype == np.asarray(value).dtype.newbyteorder("<")
    assert np.array_equal(back, np.asarray(value))


def test_an_array_is_a_writable_view_and_the_file_stays(tmp_path: Path) -> None:
    path = tmp_path / "x.deathtensors"
    values = np.random.default_rng(0).standard_normal((100, 50))
    dt.save(path, {"w": values}, checksum=True)
    before = path.read_bytes()
    f = dt.open(path)
    whole, rows = f.get_tensor("w", "numpy"), f.get_tensor_slice("w", 3, 2, framework="numpy")
    assert mapped(path, whole.ctypes.data) and mapped(path, rows.ctypes.data)
    assert whole.flags.writeable and whole.flags.aligned
    whole[:] = 0
    assert path.read_bytes() == before
    assert f.verify()
    f.close()
    del f
    gc.collect()
    assert not whole.any()
    with dt.open(path) as f:
        assert np.array_equal(f.get_tensor("w", "numpy"), values)


def test_buffers_are_read_only_views(tmp_path: Path) -> None:
    path = tmp_path / "x.deathtensors"
    dt.save_file(path, [("w", "F32", [3], data_for("F32", [3]), {}), ("e", "U8", [0], b"", {})])
    f = dt.open(path)
    view = f.get_buffer("w")
    assert isinstance(view, memoryview) and view.readonly
    assert (view.nbytes, view.itemsize) == (12, 1)
    with pytest.raises(TypeError):
        view[0] = 1
    f.close()
    assert bytes(view) == data_for("F32", [3])
    with dt.open(path) as f:
        assert bytes(f.get_buffer("e")) == b""
        assert isinstance(f.get_bytes("w"), bytes)


class OnlyDlpack:
    """An array of some other framework."""

    def __init__(self, value: np.ndarray[Any, Any]) -> None:
        self.value = value

    def __dlpack__(self, **kwargs: Any) -> Any:
        return self.value.__dlpack__(**kwargs)

    def __dlpack_device__(self) -> Any:
        return self.value.__dlpack_device__()


class OnlyArray:
    """An object that knows how to become an array."""

    def __array__(self, dtype: Any = None, copy: Any = None) -> np.ndarray[Any, Any]:
        return np.arange(6.0).reshape(2, 3)


def objects() -> dict[str, tuple[Any, str, list[int], bytes]]:
    grid = np.arange(12, dtype="<i4").reshape(3, 4)
    doubles = array.array("d", [1.0, 2.0])
    return {
        "bytes": (b"abc", "U8", [3], b"abc"),
        "bytearray": (bytearray(b"abc"), "U8", [3], b"abc"),
        "memoryview": (memoryview(b"abcdef")[::2], "U8", [3], b"ace"),
        "cast": (memoryview(bytes(range(12))).cast("i", [3, 1]), "I32", [3, 1], bytes(range(12))),
        "array": (doubles, "F64", [2], doubles.tobytes()),
        "ctypes": ((ctypes.c_int16 * 3)(1, -2, 3), "I16", [3], b"\1\0\xfe\xff\3\0"),
        "dlpack": (OnlyDlpack(grid), "I32", [3, 4], grid.tobytes()),
        "dlpack_strided": (OnlyDlpack(grid[:, ::2]), "I32", [3, 2], grid[:, ::2].tobytes()),
        "array_protocol": (OnlyArray(), "F64", [2, 3], np.arange(6.0).tobytes()),
        "tuple": (("F16", [2], b"abcd"), "F16", [2], b"abcd"),
        "tuple_view": (("F32", (1,), memoryview(b"abcd")), "F32", [1], b"abcd"),
        "mapping": ({"dtype": "I64", "shape": [1], "data": b"abcdefgh"}, "I64", [1], b"abcdefgh"),
        "sub_byte": (("F6_E3M2", [2, 2], b"abc"), "F6_E3M2", [2, 2], b"abc"),
    }


@pytest.mark.parametrize("options", OPTIONS, ids=str)
@pytest.mark.parametrize("name", objects())
def test_other_objects_are_saved(name: str, options: dict[str, Any], tmp_path: Path) -> None:
    value, dtype, shape, data = objects()[name]
    path = tmp_path / "x.deathtensors"
    dt.save(path, {"w": value}, **options)
    with dt.open(path) as f:
        assert (f.info("w")["dtype"], f.info("w")["shape"]) == (dtype, shape)
        assert f.get_bytes("w") == data


def test_metadata_comes_from_the_mapping_and_the_argument(tmp_path: Path) -> None:
    path = tmp_path / "x.deathtensors"
    value = {"dtype": "U8", "shape": [1], "data": b"a", "metadata": {"k": "own", "own": "1"}}
    dt.save(path, {"w": value, "v": b"x"}, metadata={"w": {"k": "argument"}, "v": {"a": "b"}})
    with dt.open(path) as f:
        assert f.info("w")["metadata"] == {"k": "argument", "own": "1"}
        assert f.info("v")["metadata"] == {"a": "b"}


def test_writing_does_not_copy_a_dlpack_object_through_the_interpreter(tmp_path: Path) -> None:
    """A source is exported when it is its turn, and released after it."""
    exported = []

    class Counting(OnlyDlpack):
        def __dlpack__(self, **kwargs: Any) -> Any:
            exported.append(True)
            return super().__dlpack__(**kwargs)

    path = tmp_path / "x.deathtensors"
    dt.save(path, {"w": Counting(np.arange(10))})
    assert exported
    with dt.open(path) as f:
        assert np.array_equal(f.get_tensor("w", "numpy"), np.arange(10))


def bad_values() -> dict[str, Any]:
    return {
        "object": np.array([object()]),
        "str": np.array(["a"]),
        "bytes_array": np.array([b"a"]),
        "datetime": np.array(["2020-01-01"], "datetime64[D]"),
        "structured": np.zeros(2, [("a", "i4")]),
        "longdouble": np.zeros(2, np.longdouble),
        "masked": np.ma.masked_array([1.0, 2.0], [True, False]),
        "int4": np.zeros(2, ml_dtypes.int4),
        "list": [1, 2, 3],
        "float": 1.5,
        "none": None,
        "text": "text",
        "tuple_short": ("F32", [1]),
        "tuple_dtype": (32, [1], b"abcd"),
        "shape_negative": ("F32", [-1], b"abcd"),
        "shape_float": ("F32", [1.0], b"abcd"),
        "mapping_without_data": {"dtype": "F32", "shape": [1]},
    }


@pytest.mark.parametrize("name", bad_values())
def test_what_is_no_tensor_is_refused_by_name(name: str, tmp_path: Path) -> None:
    with pytest.raises(dt.UsageError) as caught:
        dt.save(tmp_path / "x", {"fine": np.ones(2), "layer.w": bad_values()[name]})
    assert caught.value.tensor == "layer.w"
    assert isinstance(caught.value, ValueError)
    assert listing(tmp_path) == []


@pytest.mark.parametrize(
    "arguments",
    [
        {"tensors": [("w", np.ones(2))]},
        {"tensors": {1: np.ones(2)}},
        {"tensors": {"w": np.ones(2)}, "metadata": {"w": {"k": 1}}},
        {"tensors": {"w": np.ones(2)}, "metadata": {"w": {1: "v"}}},
        {"tensors": {"w": np.ones(2)}, "metadata": {"other": {"k": "v"}}},
        {"tensors": {"w": np.ones(2)}, "global_metadata": {"k": None}},
        {"tensors": {"w": np.ones(2)}, "global_metadata": ["k"]},
    ],
)
def test_wrong_arguments_are_misuse(arguments: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(dt.UsageError):
        dt.save(tmp_path / "x", **arguments)
    assert listing(tmp_path) == []


def test_the_same_array_under_two_names_is_tied(tmp_path: Path) -> None:
    path = tmp_path / "x.deathtensors"
    values = np.arange(10.0)
    dt.save(path, {"a": values, "b": values, "c": values[:], "d": values.copy(), "e": values[::2]})
    with dt.open(path) as f:
        offsets = [f.info(name)["data_offsets"] for name in f]
        assert offsets[0] == offsets[1] == offsets[2]
        assert len(set(offsets)) == 3
        loaded = f.get_tensors(framework="numpy")
    assert np.shares_memory(loaded["a"], loaded["b"])
    assert not np.shares_memory(loaded["a"], loaded["d"])
    assert np.array_equal(loaded["e"], values[::2])


@pytest.mark.parametrize("missing", ["torch", "numpy", "ml_dtypes"])
def test_a_missing_package_is_named(missing: str, tmp_path: Path) -> None:
    dt.save_file(tmp_path / "x", [("w", "BF16", [2], b"abcd", {})])
    done = run_python(
        """
        import sys
        sys.modules[sys.argv[2]] = None  # as if it were not installed
        import deathtensors as dt
        f = dt.open(sys.argv[1])
        assert f.get_bytes("w") == b"abcd" and f.stats("w")["count"] == 2
        try:
            f.get_tensor("w", framework="torch" if sys.argv[2] == "torch" else "numpy")
        except ImportError as error:
            assert isinstance(error, dt.DeathTensorsError)
            print(error)
        """,
        tmp_path / "x",
        missing,
    )
    assert missing in done.stdout and "pip install" in done.stdout


def test_raw_bytes_need_no_framework(tmp_path: Path) -> None:
    done = run_python(
        """
        import sys
        for name in ("torch", "numpy", "ml_dtypes", "safetensors"):
            sys.modules[name] = None
        import array
        import deathtensors as dt
        dt.save("x.deathtensors", {"w": ("F32", [2], bytes(8)), "a": array.array("d", [1.0])},
                compress=True, checksum=True, digests=True)
        with dt.open("x.deathtensors", verify=True) as f:
            print(f.keys(), f.verify(), f.stats("a")["mean"])
        dt.to_safetensors("x.deathtensors")
        dt.from_safetensors("x.safetensors", "y.deathtensors")
        print(dt.diff("x.deathtensors", "y.deathtensors", compare_bytes=True)["value_changed"])
        """,
        cwd=tmp_path,
    )
    assert done.stdout.split("\n")[:2] == ["['w', 'a'] True 1.0", "[]"]
