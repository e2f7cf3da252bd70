"""Attacks that no other test shows, and that docs/attacks.md names no test in vain."""

from __future__ import annotations

import io
import json
import os
import re
import struct
import sys
import zipfile
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors

import deathtensors as dt
from binary import assemble, dumps, entry, header
from deathtensors.cli import main
from helpers import ROOT, parse, run_python

PAGE = ROOT / "docs" / "attacks.md"


# --- the page


def named_tests() -> list[tuple[str, str]]:
    return re.findall(r"`([\w./]+\.(?:py|rs|js))::([^`]+)`", PAGE.read_text("utf-8"))


def test_every_test_that_the_page_names_exists() -> None:
    assert len(named_tests()) > 50
    for file, name in named_tests():
        text = (ROOT / file).read_text("utf-8")
        pattern = {
            ".py": rf"^ *def {re.escape(name)}\(",
            ".rs": rf"^ *fn {re.escape(name)}\(",
            ".js": rf"^ *test\([\"'`]{re.escape(name)}[\"'`]",
        }[Path(file).suffix]
        assert re.search(pattern, text, re.MULTILINE), f"{file} has no {name}"


def test_every_vector_that_the_page_names_exists() -> None:
    patterns = re.findall(r"`(tests/vectors/[^`]+)`", PAGE.read_text("utf-8"))
    assert patterns
    for pattern in patterns:
        assert list(ROOT.glob(pattern)), pattern


def test_every_attack_names_a_test() -> None:
    sections = PAGE.read_text("utf-8").split("\n## ")[1:]
    assert len(sections) >= 18
    for section in sections:
        assert "::" in section, section.splitlines()[0]


def test_the_documented_counts_are_those_of_what_is_there() -> None:
    """As far as they need no run; `make counts` prints all."""
    spec = spec_from_file_location("counts", ROOT / "tests" / "tools" / "counts.py")
    assert spec is not None and spec.loader is not None
    counts = module_from_spec(spec)
    spec.loader.exec_module(counts)
    page = (ROOT / "docs" / "reliability.md").read_text("utf-8")
    for what, count, _ in counts.counted():
        assert f"| {what} | {count} |" in page


# --- files that are two things at once


def polyglot(path: Path) -> None:
    """A file of tensors that is a zip archive too: the archive stands after the data."""
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as archive:
        archive.writestr("evil.py", "raise SystemExit('run')")
    dt.save(path, {"w": ("U8", [3], b"abc")})
    path.write_bytes(path.read_bytes() + made.getvalue())


def test_a_file_that_is_a_zip_too_is_only_tensors(tmp_path: Path) -> None:
    path = tmp_path / "x.deathtensors"
    polyglot(path)
    assert zipfile.is_zipfile(path)
    with dt.open(path, verify=True) as f:
        assert f.keys() == ["w"]
        assert f.get_bytes("w") == b"abc"
    # What is made of it holds the tensors alone.
    assert main(["extract", str(path), "clean.deathtensors", "w"]) == 0
    dt.to_safetensors(path, "clean.safetensors")
    for name in ("clean.deathtensors", "clean.safetensors"):
        assert not zipfile.is_zipfile(name)
        assert b"evil" not in Path(name).read_bytes()


def test_with_a_footer_nothing_can_be_added(tmp_path: Path) -> None:
    path = tmp_path / "x.deathtensors"
    dt.save(path, {"w": ("U8", [3], b"abc")}, checksum=True)
    path.write_bytes(path.read_bytes() + b"PK\5\6" + bytes(18))
    assert zipfile.is_zipfile(path)
    with pytest.raises(dt.IntegrityError):
        dt.open(path, verify=True)


def test_no_file_is_of_both_tensor_formats(tmp_path: Path) -> None:
    """The magic is a header length that safetensors refuses."""
    path = tmp_path / "x.deathtensors"
    dt.save(path, {"w": ("U8", [3], b"abc")})
    assert struct.unpack("<Q", path.read_bytes()[:8])[0] > 1 << 60
    with pytest.raises(safetensors.SafetensorError):
        safetensors.deserialize(path.read_bytes())


# --- files that change


TRUNCATED = """
    import os, sys
    import deathtensors as dt
    f = dt.open(sys.argv[1], backend=sys.argv[2])
    os.truncate(sys.argv[1], int(sys.argv[3]))
    try:
        f.get_bytes("w")
    except dt.DeathTensorsError as error:
        print(error.kind)
"""


@pytest.mark.parametrize("options", [{}, {"compress": True}], ids=str)
@pytest.mark.parametrize("length", [0, 4096, 300_000])
def test_a_file_that_is_cut_while_it_is_open_is_an_error_with_pread(
    options: dict[str, Any], length: int, tmp_path: Path
) -> None:
    path = tmp_path / "x"
    values = np.random.default_rng(0).integers(0, 256, 1 << 20, np.uint8)
    dt.save(path, {"w": values}, **options)
    assert run_python(TRUNCATED, path, "pread", length).stdout in ("io\n", "format\n")


def test_a_mapped_file_that_is_cut_is_an_error_or_a_bus_error_and_nothing_else(
    tmp_path: Path,
) -> None:
    """The kernel's answer to a read beyond the end, of which SECURITY.md warns."""
    path = tmp_path / "x"
    dt.save(path, {"w": np.ones(1 << 20, np.uint8)})
    done = run_python(TRUNCATED, path, "mmap", 4096, check=False)
    assert (done.returncode, done.stdout) in ((0, "io\n"), (-7, ""))


@pytest.mark.parametrize("backend", ["mmap", "pread"])
@pytest.mark.parametrize("options", [{}, {"compress": True}, {"checksum": True}], ids=str)
def test_a_file_that_grows_while_it_is_open_is_read_as_it_was(
    backend: str, options: dict[str, Any], tmp_path: Path
) -> None:
    path = tmp_path / "x"
    dt.save(path, {"w": np.arange(100_000)}, **options)
    with dt.open(path, backend=backend) as f:
        with open(path, "ab") as file:
            file.write(b"DTLEGION" * 5000)
        assert np.array_equal(f.get_tensor("w", framework="numpy"), np.arange(100_000))
        assert f.verify() == bool(options.get("checksum"))


# --- many small things


MANY = """
    import json, resource, sys, time
    import deathtensors as dt
    dt.open(sys.argv[2]).close()
    def peak():
        with open("/proc/self/status") as lines:
            return next(int(l.split()[1]) * 1024 for l in lines if l.startswith("VmHWM:"))
    with open("/proc/self/clear_refs", "w") as clear:
        clear.write("5")
    before, started = peak(), time.process_time()
    try:
        with dt.open(sys.argv[1], backend="pread") as f:
            found = len(f)
    except dt.DeathTensorsError as error:
        found = error.code
    print(json.dumps({"found": found, "seconds": time.process_time() - started, "bytes": peak() - before}))
"""


@pytest.mark.parametrize("kind", ["tiny", "shared", "twice", "unknown"])
def test_the_cost_of_a_header_is_in_proportion_to_its_length(kind: str, tmp_path: Path) -> None:
    """Hundreds of thousands of tensors, of one span, with one name twice at the ends,
    and of fields that are ignored."""
    count = 300_000
    tensors = {
        f"t{n}": entry("U8", [1], 0 if kind == "shared" else n) for n in range(count)
    }  # fmt: skip
    text = dumps(header(tensors))
    if kind == "twice":
        text = text[:-2] + b',"t0":' + dumps(entry("U8", [0], 0)) + b"}}"
    elif kind == "unknown":
        text = (
            text[:-1] + b',"more":{' + b",".join(b'"k%d":[[{}]]' % n for n in range(count)) + b"}}"
        )
    path, small = tmp_path / "x", tmp_path / "small"
    path.write_bytes(assemble(text, bytes(count)))
    dt.save(small, {"w": ("U8", [1], b"a")})
    told = json.loads(run_python(MANY, path, small).stdout)
    assert told["found"] == ("header.duplicate_key" if kind == "twice" else count)
    assert told["bytes"] < 6 * len(text)
    # About 100 ns a byte would be slow already; quadratic work would take hours.
    assert told["seconds"] < 10


# --- names that lead elsewhere


def test_a_shard_behind_a_link_is_its_folders_business_but_must_be_the_shard(
    tmp_path: Path,
) -> None:
    folder, other = tmp_path / "folder", tmp_path / "other"
    folder.mkdir()
    other.mkdir()
    tensors = {"a": ("U8", [3], b"abc"), "b": ("U8", [3], b"def")}
    shards = [Path(p) for p in dt.save_sharded(folder / "x.deathtensors", tensors, 3, digests=True)]
    shards[0].rename(other / "shard")
    shards[0].symlink_to(other / "shard")
    with dt.open_sharded(folder / "x.deathtensors") as model:
        assert model.get_bytes("a") == b"abc"
    # The link may lead to any file; what is there is a shard of this model or refused.
    dt.save(other / "shard", {"a": ("U8", [3], b"evil"[:3])})
    secret = other / "secret"
    secret.write_text("root:x:0:0\n" * 99)
    with dt.open_sharded(folder / "x.deathtensors") as model, pytest.raises(dt.IntegrityError):
        model.get_bytes("a")
    shards[0].unlink()
    shards[0].symlink_to(secret)
    with dt.open_sharded(folder / "x.deathtensors") as model:
        with pytest.raises(dt.FormatError) as caught:
            model.get_bytes("a")
    # The first eight bytes are shown, to tell what kind of file it is.
    assert "root:x:0:" not in str(caught.value)


def test_a_link_is_written_through_only_where_the_system_would(tmp_path: Path) -> None:
    """In a folder like /tmp, the kernel follows no links that strangers put there."""
    shared, target = tmp_path / "shared", tmp_path / "target"
    shared.mkdir()
    shared.chmod(0o1777)
    target.write_bytes(b"precious")
    link = shared / "x.deathtensors"
    link.symlink_to(target)
    if os.geteuid() == 0:
        os.lchown(link, 12345, 12345)
    try:
        with open(link, "r+b"):
            followed = True
    except PermissionError:
        followed = False
    try:
        dt.save(link, {"w": ("U8", [1], b"a")})
        saved = True
    except dt.FileAccessError as error:
        saved = False
        assert error.code == "io.failed"
    assert saved == followed
    assert (target.read_bytes() == b"precious") == (not followed)


def test_an_extracted_tensor_is_never_written_by_its_name(tmp_path: Path) -> None:
    evil = ["../evil", "/evil", "..\\evil", "con"]
    path = tmp_path / "in" / "x.deathtensors"
    path.parent.mkdir()
    dt.save_file(path, [(name, "U8", [1], b"a", {}) for name in evil])
    assert main(["extract", str(path), str(tmp_path / "in" / "y.deathtensors"), *evil]) == 0
    dt.save_sharded(tmp_path / "in" / "z.deathtensors", dt.open(path).get_tensors("numpy"), 1)
    dt.to_safetensors(path)
    assert {p.name for p in tmp_path.iterdir()} == {"in"}
    assert all(p.is_file() for p in path.parent.iterdir())


# --- sidecars and digests


def test_a_manifest_that_lies_changes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "x.deathtensors"
    dt.save(path, {"w": ("U8", [4], b"abcd")}, digests=True)
    manifest = Path(dt.write_manifest(path))
    lying = json.loads(manifest.read_text())
    lying["tensors"]["w"].update(dtype="I8", shape=[2], data_offsets=[2, 4], nbytes=2)
    lying["root_sha256"] = "0" * 64
    manifest.write_text(json.dumps(lying))
    for verify in (False, True):
        with dt.open(path, verify=verify) as f:
            assert (f.info("w")["dtype"], f.get_bytes("w")) == ("U8", b"abcd")
            assert f.root != "0" * 64


def test_a_digest_of_one_tensor_is_not_another_ones(tmp_path: Path) -> None:
    """Swapped digests, a digest as metadata, and a root of another file."""
    path = tmp_path / "x"
    values = {"a": ("U8", [4], b"aaaa"), "b": ("U8", [4], b"bbbb")}
    dt.save(path, values, digests=True)
    root, data = dt.open(path).root, path.read_bytes()
    assert root is not None
    digests = [t["sha256"] for t in parse(path)["header"]["tensors"].values()]
    first, second = (digest.encode() for digest in digests)
    swapped = data.replace(first, b"?").replace(second, first).replace(b"?", second)
    path.write_bytes(swapped)
    with dt.open(path) as f:
        for name in values:
            with pytest.raises(dt.IntegrityError):
                f.verify(name)
    with pytest.raises(dt.IntegrityError):
        dt.open(path, root=root)
    dt.save_file(path, [("a", "U8", [4], b"aaaa", {"sha256": digests[1]})])
    with dt.open(path) as f:
        assert not f.has_digests()
        assert f.verify() is False
    with pytest.raises(dt.IntegrityError):
        dt.open(path, root=root)


# --- hostile words


HOSTILE = [
    "<img src=x onerror=alert(1)>", "</script><script>alert(1)</script>", "\x1b]0;title\x07",
    "\u202egpj.exe", "javascript:alert(1)", "${7*7}", "{{7*7}}", "'; DROP TABLE t; --",
    "=cmd|' /C calc'!A0", "`id`", "$(id)", "%s%s%n", "\u0085\u2028", "a" * 4096,
]  # fmt: skip


def test_hostile_words_are_shown_as_text_everywhere(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "x.deathtensors"
    notes = dict(zip(HOSTILE, reversed(HOSTILE)))
    dt.save_file(path, [(name, "U8", [1], b"a", notes) for name in HOSTILE], global_metadata=notes)
    with dt.open(path) as f:
        page = f._repr_html_()
        assert f.keys() == HOSTILE
        shown = [repr(f), page]
    for words in (["info"], ["list", "-l"], ["stats"], ["verify"]):
        main([words[0], *words[1:], str(path)])
        said = capsys.readouterr()
        shown += [said.out, said.err]
    for text in shown:
        assert not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e]", text)
    assert "<img" not in page and "<script" not in page
    assert sys.getsizeof(page) < 1 << 20
