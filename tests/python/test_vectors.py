"""Every conformance vector is accepted, or refused with its code, cheaply."""

from __future__ import annotations

import filecmp
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import deathtensors as dt
from deathtensors import _deathtensors
from helpers import VECTORS, parse, run_python, sha256

MEBIBYTE = 1 << 20


def restore(value: Any) -> Any:
    """Undoes the generator's shortening of long strings."""
    if isinstance(value, dict):
        if set(value) == {"repeat", "times"}:
            return value["repeat"] * value["times"]
        return {k: restore(v) for k, v in value.items()}
    return [restore(v) for v in value] if isinstance(value, list) else value


def load(kind: str) -> dict[str, dict[str, Any]]:
    found = {}
    for path in sorted((VECTORS / kind).glob("*.deathtensors")):
        found[path.stem] = restore(json.loads(path.with_suffix(".json").read_text("utf-8")))
    return found


def load_sharded(kind: str) -> dict[str, dict[str, Any]]:
    folders = sorted(p for p in (VECTORS / "sharded" / kind).iterdir() if p.is_dir())
    return {p.name: json.loads((p / "expected.json").read_text("utf-8")) for p in folders}


VALID, REFUSED = load("valid"), load("refused")
SHARDED, SHARDED_REFUSED = load_sharded("valid"), load_sharded("refused")
BESIDES = {
    p.parent.name: json.loads(p.read_text("utf-8"))
    for p in sorted((VECTORS / "besides").glob("*/expected.json"))
}


def path_of(kind: str, name: str) -> Path:
    return VECTORS / kind / f"{name}.deathtensors"


# --- the set itself


def test_the_committed_vectors_are_those_that_the_generator_makes(tmp_path: Path) -> None:
    subprocess.run([sys.executable, VECTORS / "generate.py", tmp_path], check=True)

    def same(a: Path, b: Path) -> None:
        compared = filecmp.dircmp(a, b)
        assert not compared.left_only and not compared.right_only, (a, compared.left_only)
        _, different, errors = filecmp.cmpfiles(a, b, compared.common_files, shallow=False)
        assert not different and not errors, different
        for folder in compared.common_dirs:
            same(a / folder, b / folder)

    for kind in ("valid", "refused", "sharded", "besides"):
        same(VECTORS / kind, tmp_path / kind)


def test_every_code_that_a_file_can_cause_has_a_vector() -> None:
    kinds = ("format", "unsupported", "limit", "integrity")
    codes = {code for code, kind, _ in _deathtensors.CODES if kind in kinds}
    answers = (*REFUSED.values(), *SHARDED_REFUSED.values(), *BESIDES.values())
    covered = {answer["code"] for answer in answers}
    assert codes - covered == set()
    assert covered <= codes | {"not_found.file"}


def test_there_are_as_many_vectors_as_promised() -> None:
    assert len(VALID) >= 40
    assert len(REFUSED) >= 120


def test_every_dtype_has_a_vector() -> None:
    dtypes = {t["dtype"] for answer in VALID.values() for t in answer["tensors"].values()}
    assert dtypes == set(dt.supported_dtypes())


# --- valid files


@pytest.mark.parametrize("backend", ["mmap", "pread"])
@pytest.mark.parametrize("name", VALID)
def test_valid_files_are_read_as_expected(name: str, backend: str) -> None:
    answer = VALID[name]
    with dt.open(path_of("valid", name), verify=True, backend=backend) as f:
        assert f.keys() == answer["keys"] == list(f)
        assert len(f) == len(answer["keys"])
        assert f.metadata() == answer["global_metadata"]
        assert f.is_compressed() == answer["compressed"]
        assert f.has_checksum() == answer["checksum"]
        assert f.root == answer["root"]
        for tensor, wanted in answer["tensors"].items():
            assert tensor in f
            info = f.info(tensor)
            assert list(info["data_offsets"]) == wanted["data_offsets"]
            for field in ("dtype", "shape", "nbytes", "metadata"):
                assert info[field] == wanted[field], field
            data = f.get_bytes(tensor)
            assert len(data) == wanted["nbytes"]
            assert sha256(data) == wanted["sha256"]
            assert bytes(f.get_buffer(tensor)) == data
        if answer["digests"]:
            assert f.has_digests()
            assert all(f.verify(tensor) for tensor in f)
        assert f.verify() == (answer["checksum"] or answer["root"] is not None)


@pytest.mark.parametrize("name", [n for n, a in VALID.items() if a["canonical"]])
def test_the_writer_makes_exactly_the_canonical_bytes(name: str, tmp_path: Path) -> None:
    """What was put together by hand from the specification is what is written."""
    answer, wanted = VALID[name], path_of("valid", name)
    blob = parse(wanted)["blob"]
    tensors = [
        (n, t["dtype"], t["shape"], blob[slice(*t["data_offsets"])], t["metadata"])
        for n, t in answer["tensors"].items()
    ]
    path = tmp_path / "again.deathtensors"
    dt.save_file(
        path,
        tensors,
        global_metadata=answer["global_metadata"],
        checksum=answer["checksum"],
        digests=answer["root"] is not None,
    )
    assert path.read_bytes() == wanted.read_bytes()


def test_ties_are_written_as_in_the_vector(tmp_path: Path) -> None:
    data = parse(path_of("valid", "aliases"))["blob"]
    path = tmp_path / "tied.deathtensors"
    dt.save(path, {"a": ("F32", [4], data), "tied": ("F32", [4], data)})
    assert path.read_bytes() == path_of("valid", "aliases").read_bytes()


# --- refused files

MEASURE = """
    import json, sys, time
    import deathtensors as dt

    def peak():
        with open("/proc/self/status") as status:
            fields = dict(line.split(":", 1) for line in status)
        return int(fields["VmHWM"].split()[0]) * 1024

    def attempt(path, when):
        with dt.open(path) as f:
            if when == "open":
                return
            for name in f.keys():
                f.get_bytes(name)
            if when == "verify":
                f.verify()

    attempt(sys.argv[1], "verify")
    found = {}
    for path, when in json.load(open(sys.argv[2])):
        with open("/proc/self/clear_refs", "w") as clear:
            clear.write("5")  # the peak starts again from what is resident
        before, started, error = peak(), time.perf_counter(), None
        try:
            attempt(path, when)
        except dt.DeathTensorsError as e:
            error = {"code": e.code, "kind": e.kind, "tensor": e.tensor, "line": str(e)}
        found[path] = {
            "error": error,
            "seconds": time.perf_counter() - started,
            "bytes": peak() - before,
        }
    json.dump(found, open(sys.argv[3], "w"))
"""


@pytest.fixture(scope="module")
def attempts(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What happened to each refused file, tried in a process of their own: one that
    aborts would take the test run with it."""
    folder = tmp_path_factory.mktemp("attempts")
    work = [[str(path_of("refused", name)), answer["when"]] for name, answer in REFUSED.items()]
    (folder / "work.json").write_text(json.dumps(work))
    run_python(MEASURE, path_of("valid", "footer"), folder / "work.json", folder / "found.json")
    found: dict[str, Any] = json.loads((folder / "found.json").read_text())
    return {Path(path).stem: what for path, what in found.items()}


@pytest.mark.parametrize("name", REFUSED)
def test_refused_files_are_refused_with_their_code(name: str, attempts: dict[str, Any]) -> None:
    answer, error = REFUSED[name], attempts[name]["error"]
    assert error is not None, f"accepted, although {answer['why']}"
    assert error["code"] == answer["code"], error["line"]
    if answer["tensor"] is not None:
        assert error["tensor"] == answer["tensor"]
    assert "\n" not in error["line"] and len(error["line"]) < 2000


@pytest.mark.parametrize("name", REFUSED)
def test_refusing_is_cheap(name: str, attempts: dict[str, Any]) -> None:
    assert attempts[name]["bytes"] < 64 * MEBIBYTE
    assert attempts[name]["seconds"] < 1.0


@pytest.mark.parametrize("backend", ["mmap", "pread"])
def test_both_backends_refuse_alike(backend: str) -> None:
    for name, answer in REFUSED.items():
        with pytest.raises(dt.DeathTensorsError) as caught:
            with dt.open(path_of("refused", name), backend=backend) as f:
                for tensor in f.keys():
                    f.get_bytes(tensor)
                f.verify()
        assert caught.value.code == answer["code"], name


@pytest.mark.parametrize("name", [n for n, a in REFUSED.items() if a["when"] == "verify"])
def test_damage_is_found_when_it_is_asked_for(name: str) -> None:
    answer = REFUSED[name]
    with dt.open(path_of("refused", name)) as f:
        report = f.verify_report()
        assert report["errors"]
        if answer["tensor"] is not None:
            assert report["tensors"][answer["tensor"]] is False
            with pytest.raises(dt.IntegrityError):
                f.verify(answer["tensor"])
    with pytest.raises(dt.IntegrityError) as caught:
        dt.open(path_of("refused", name), verify=True)
    assert caught.value.code == answer["code"]


@pytest.mark.parametrize("length", range(0, 700, 13))
def test_a_file_cut_anywhere_is_refused_or_read_as_what_is_left(
    length: int, tmp_path: Path
) -> None:
    for name in ("digests_footer", "zstd_table_footer"):
        whole = path_of("valid", name).read_bytes()
        path = tmp_path / "cut.deathtensors"
        path.write_bytes(whole[: min(length, len(whole) - 1)])
        with pytest.raises(dt.DeathTensorsError):
            dt.open(path, verify=True)


def attempt(how: str, path: Path, limits: dict[str, int] | None) -> None:
    if how == "open":
        dt.open(path, limits=limits)
    elif how == "read":
        with dt.open(path, limits=limits) as f:
            f.get_bytes("w")
    elif how == "sparse":
        with dt.open(path) as f:
            dt.get_sparse(f, "w")
    elif how == "manifest":
        dt.read_manifest(path)
    else:
        {"from_safetensors": dt.from_safetensors, "to_safetensors": dt.to_safetensors}[how](
            path, "out"
        )


@pytest.mark.parametrize("name", BESIDES)
def test_what_is_wrong_elsewhere_is_refused_with_its_code(name: str, tmp_path: Path) -> None:
    answer = BESIDES[name]
    (path,) = (VECTORS / "besides" / name).glob("file.*")
    with pytest.raises(dt.DeathTensorsError) as caught:
        attempt(answer["how"], path, answer.get("limits"))
    assert caught.value.code == answer["code"], str(caught.value)
    assert list(tmp_path.iterdir()) == []


# --- limits


def test_limits_can_be_lowered() -> None:
    path = path_of("valid", "dtypes_all")
    with dt.open(path) as f:
        count = len(f)
        header_bytes = f.facts["header_bytes"]
    for limits, code in (
        ({"tensors": count - 1}, "limit.tensors"),
        ({"header_bytes": header_bytes - 1}, "limit.header_bytes"),
        ({"name_bytes": 3}, "limit.name_bytes"),
        ({"rank": 1}, "limit.rank"),
        ({"depth": 3}, "header.depth"),
    ):
        with pytest.raises(dt.DeathTensorsError) as caught:
            dt.open(path, limits=limits)
        assert caught.value.code == code
    with dt.open(path, limits={"tensors": count, "header_bytes": header_bytes}) as f:
        assert len(f) == count
    with pytest.raises(dt.LimitError):
        dt.open(path_of("valid", "metadata"), limits={"metadata_bytes": 10})


# --- shards


@pytest.mark.parametrize("name", SHARDED)
def test_valid_shards_are_read_as_expected(name: str) -> None:
    answer = SHARDED[name]
    folder = VECTORS / "sharded" / "valid" / name
    with dt.open_sharded(folder / "index.deathtensors", verify=True) as reader:
        assert reader.keys() == answer["keys"]
        assert reader.metadata() == answer["global_metadata"]
        assert reader.shard_paths() == [str(folder / shard) for shard in answer["shards"]]
        for tensor, digest in answer["sha256"].items():
            assert reader.which_shard(tensor) == answer["which_shard"][tensor]
            assert sha256(reader.get_bytes(tensor)) == digest


@pytest.mark.parametrize("name", SHARDED_REFUSED)
def test_refused_shards_are_refused_with_their_code(name: str) -> None:
    answer = SHARDED_REFUSED[name]
    path = VECTORS / "sharded" / "refused" / name / "index.deathtensors"
    with pytest.raises(dt.DeathTensorsError) as caught:
        with dt.open_sharded(path) as reader:
            assert answer["when"] != "open", f"accepted, although {answer['why']}"
            for tensor in reader.keys():
                reader.get_bytes(tensor)
    assert caught.value.code == answer["code"], str(caught.value)
