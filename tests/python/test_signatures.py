"""The published names have the published signatures, and nothing is undocumented."""

from __future__ import annotations

import inspect
import pathlib
import time
from typing import Any

import pytest

import deathtensors as dt
from helpers import DTYPE_BITS, run_python

GIB = 1024**3
#: name -> parameters, ``=`` for defaults; what stands behind them must be keyword-only.
FUNCTIONS = {
    "save": "path, tensors, metadata=None, global_metadata=None, checksum=False, compress=False, "
    "compress_level=3",
    "open": "path, verify=False",
    "save_file": "path, tensors, global_metadata=None, checksum=False, compress=False, "
    "compress_level=3",
    "append": "path, tensors, metadata=None, extra_global_metadata=None",
    "append_file": "path, tensors, extra_global_metadata=None",
    "save_sharded": f"path, tensors, max_shard_bytes={5 * GIB}, metadata=None, "
    "global_metadata=None, checksum=True, compress=False, compress_level=3",
    "open_sharded": "index_path, verify=False",
    "save_sparse": "path, tensors, **kwargs",
    "get_sparse": "f, name",
    "from_safetensors": "src, dst=None, checksum=True, compress=False",
    "to_safetensors": "src, dst=None",
    "diff": "path_a, path_b",
    "write_manifest": "dt_path, manifest_path=None",
    "read_manifest": "manifest_path",
    "expand_path": "path",
    "supported_dtypes": "",
    "file_magic": "",
    "format_version": "",
    "library_version": "",
    "library_author": "",
    "main": "argv=None",
}
READER = {
    "keys": "",
    "info": "name",
    "metadata": "",
    "get_bytes": "name",
    "get_tensor": "name, framework='torch'",
    "get_tensors": "framework='torch'",
    "get_tensor_slice": "name, start=0, count=None, framework='torch'",
    "stats": "name",
    "verify": "",
    "close": "",
}
METHODS = {
    "DtFile": {
        **READER,
        "get_buffer": "name",
        "get_tensor_mmap": "name",
        "all_stats": "",
        "has_checksum": "",
        "is_compressed": "",
    },
    "ShardedReader": {**READER, "which_shard": "name", "shard_paths": ""},
    "Schema": {
        "expect": "name, dtype=None, shape=None, metadata_keys=None",
        "allow_extra": "allow=True",
        "validate": "path_or_file",
    },
}
CONSTANTS = {
    "MAGIC": b"DTLEGION",
    "FORMAT_VERSION": 1,
    "CANONICAL_EXTENSION": ".deathtensors",
    "LEGACY_EXTENSION": ".dt",
    "__version__": "0.4.0",
    "__author__": "death legion",
}


def check(function: Any, published: str) -> None:
    parameters = list(inspect.signature(function).parameters.values())
    shown = []
    for parameter in parameters:
        if parameter.kind is parameter.VAR_KEYWORD:
            shown.append(f"**{parameter.name}")
        elif parameter.kind is parameter.POSITIONAL_OR_KEYWORD and parameter.name != "self":
            default = parameter.default
            shown.append(
                parameter.name if default is parameter.empty else f"{parameter.name}={default!r}"
            )
    wanted = [part.strip() for part in published.split(",")] if published else []
    # More may follow what was published, where a caller of 0.3.0 does not notice.
    assert shown[: len(wanted)] == wanted, (function, shown)
    for extra in shown[len(wanted) :]:
        assert "=" in extra, f"{extra} is required, unlike in 0.3.0"
    for parameter in parameters:
        if parameter.kind is parameter.KEYWORD_ONLY:
            assert parameter.default is not parameter.empty


@pytest.mark.parametrize("name", FUNCTIONS)
def test_functions_have_their_published_signatures(name: str) -> None:
    check(getattr(dt, name), FUNCTIONS[name])


@pytest.mark.parametrize("kind", METHODS)
def test_methods_have_their_published_signatures(kind: str) -> None:
    for name, published in METHODS[kind].items():
        check(getattr(getattr(dt, kind), name), published)


def test_constructors_have_their_published_signatures() -> None:
    check(dt.DtFile, "path, verify=False")
    check(dt.ShardedReader, "index_path, verify=False")
    check(dt.Schema, "")


@pytest.mark.parametrize("kind", ["DtFile", "ShardedReader"])
def test_readers_are_containers_and_context_managers(kind: str) -> None:
    for name in ("__len__", "__contains__", "__iter__", "__enter__", "__exit__", "__repr__"):
        assert callable(getattr(getattr(dt, kind), name))


def test_constants() -> None:
    for name, value in CONSTANTS.items():
        assert getattr(dt, name) == value
    assert dt.file_magic() == dt.MAGIC
    assert dt.format_version() == dt.FORMAT_VERSION
    assert dt.library_version() == dt.__version__
    assert dt.library_author() == dt.__author__


def test_dtypes_are_those_of_the_specification_in_order() -> None:
    assert dt.supported_dtypes() == list(DTYPE_BITS)


def test_all_is_complete() -> None:
    published = {*FUNCTIONS, *METHODS, *CONSTANTS, "DeathTensorsError"}
    assert published <= set(dt.__all__)
    assert len(dt.__all__) == len(set(dt.__all__))
    for name in dt.__all__:
        assert hasattr(dt, name)
        assert name in dir(dt)
    space: dict[str, Any] = {}
    exec("from deathtensors import *", space)
    assert set(dt.__all__) <= set(space)


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no_such_name"):
        dt.no_such_name  # noqa: B018


def test_everything_public_has_a_docstring_and_annotations() -> None:
    for name in dt.__all__:
        thing = getattr(dt, name)
        if inspect.isfunction(thing):
            check_documented(thing)
        elif inspect.isclass(thing):
            assert thing.__doc__
            for _, method in inspect.getmembers(thing, inspect.isfunction):
                if not method.__name__.startswith("_") and method.__module__.startswith(
                    "deathtensors"
                ):
                    check_documented(method)


def check_documented(function: Any) -> None:
    assert inspect.getdoc(function), function
    signature = inspect.signature(function)
    assert signature.return_annotation is not signature.empty, function
    for parameter in signature.parameters.values():
        assert parameter.name == "self" or parameter.annotation is not parameter.empty, function


def test_the_package_is_typed() -> None:
    folder = pathlib.Path(dt.__file__).parent
    assert (folder / "py.typed").exists()
    assert (folder / "_deathtensors.pyi").exists()


def test_importing_loads_no_framework() -> None:
    done = run_python(
        """
        import sys
        import deathtensors
        heavy = {"torch", "numpy", "ml_dtypes", "safetensors", "huggingface_hub", "argparse",
                 "asyncio", "multiprocessing", "json", "hashlib", "typing"}
        print(sorted(heavy & set(sys.modules)))
        """,
        # Without the packages of the environment, some of which import things at startup.
    )
    assert set(eval(done.stdout)) <= {"typing", "json", "hashlib"}


def test_importing_is_fast() -> None:
    """Generous, for a loaded machine; benches/ has the exact figure."""

    def best(code: str) -> float:
        times = []
        for _ in range(5):
            started = time.perf_counter()
            run_python(code)
            times.append(time.perf_counter() - started)
        return min(times)

    assert best("import deathtensors") - best("pass") < 0.1
