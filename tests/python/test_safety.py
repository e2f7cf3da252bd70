"""Opening and reading a file runs nothing that the file could name."""

from __future__ import annotations

import json
import sys
import tracemalloc
import unicodedata
from pathlib import Path

import pytest

import deathtensors as dt
from helpers import VECTORS, run_python

AUDIT = """
    import json, os, sys
    import numpy, ml_dtypes
    import deathtensors as dt

    # What is imported when first used, is imported now.
    for name in ("one", "zstd_table", "digests_footer", "dtype_bf16"):
        with dt.open(f"{sys.argv[1]}/valid/{name}.deathtensors", verify=True) as f:
            f.get_tensors(framework="numpy"); f.get_buffer(f.keys()[0]); f.all_stats(); repr(f)
            f.verify(f.keys()[0]); f.infos(); f.facts
    try:
        dt.open("no such file")
    except dt.DeathTensorsError:
        pass
    dt.open_sharded(f"{sys.argv[1]}/sharded/valid/one_shard/index.deathtensors").close()

    seen, watching = [], False

    def hook(event, arguments):
        if watching:
            seen.append((event, repr(arguments)[:200]))

    sys.addaudithook(hook)
    if len(sys.argv) > 2:  # show that the hook sees what it should
        import pickle
        watching = True
        eval("1 + 1"); exec("x = 1"); compile("1", "", "eval"); import colorsys
        pickle.loads(pickle.dumps(json.JSONDecoder))
        watching = False
        json.dump(seen, sys.stdout)
        sys.exit()

    paths = [os.path.join(folder, name) for folder, _, names in os.walk(sys.argv[1])
             for name in names if name.endswith(".deathtensors")]
    watching = True
    for path in paths:
        for open_one in (dt.open, dt.open_sharded):
            try:
                f = open_one(path)
                for name in f.keys():
                    f.info(name); f.get_bytes(name); f.stats(name)
                    try:
                        f.get_tensor(name, framework="numpy")
                    except dt.UsageError:
                        pass
                f.metadata(); f.verify(); f.close()
            except dt.DeathTensorsError:
                pass
    watching = False
    json.dump({"seen": seen, "count": len(paths)}, sys.stdout)
"""
#: Events that run code, load code, leave the process, or write.
FORBIDDEN = (
    "exec", "compile", "import", "pickle.", "marshal.", "code.", "cpython.run", "ctypes.",
    "os.", "subprocess.", "socket.", "shutil.", "tempfile.", "urllib.", "sqlite3.", "webbrowser.",
    "sys.addaudithook", "sys._getframe", "function.__new__",
)  # fmt: skip


def test_reading_every_vector_triggers_no_code() -> None:
    found = json.loads(run_python(AUDIT, VECTORS).stdout)
    assert found["count"] > 300
    bad = [event for event in found["seen"] if event[0].startswith(FORBIDDEN)]
    assert bad == []
    # Files may be opened, but only those asked for (and their shards).
    opened = [event[1] for event in found["seen"] if event[0] == "open"]
    assert all(str(VECTORS) in what for what in opened), opened


def test_the_audit_hook_would_have_noticed() -> None:
    events = {event for event, _ in json.loads(run_python(AUDIT, VECTORS, "control").stdout)}
    assert {"exec", "compile", "import", "pickle.find_class"} <= events


def test_names_in_a_file_are_only_strings(tmp_path: Path) -> None:
    marker = tmp_path / "executed"
    hostile = [
        f"__import__('os').system('touch {marker}')",
        "__class__", "__reduce__", "../../etc/passwd", "%s%n", "{0.__class__}", "$(touch x)",
    ]  # fmt: skip
    path = tmp_path / "x.deathtensors"
    notes = dict.fromkeys(hostile, f"cos\nsystem\n(S'touch {marker}'\ntR.")
    dt.save_file(path, [(n, "U8", [1], b"a", notes) for n in hostile], global_metadata=notes)
    with dt.open(path, verify=True) as f:
        assert f.keys() == hostile
        assert f.metadata() == notes
        assert list(f.get_tensors(framework="numpy")) == hostile
        repr(f)
        f._repr_html_()
    assert not marker.exists()


def test_the_notebook_table_escapes_names(tmp_path: Path) -> None:
    path = tmp_path / "<script>alert(1)</script>.deathtensors".replace("/", "")
    name = "<script>alert(1)</script>\x1b[31m\u202e"
    dt.save_file(path, [(name, "U8", [1], b"a", {})])
    with dt.open(path) as f:
        page = f._repr_html_()
    assert "<script" not in page
    assert "&lt;script&gt;" in page
    assert "\x1b" not in page and "\u202e" not in page


def test_the_notebook_table_describes_what_it_shows(tmp_path: Path) -> None:
    path = tmp_path / "x.deathtensors"
    dt.save_file(path, [(f"w{i}", "U8", [0], b"", {}) for i in range(20_000)])
    with dt.open(path) as f:
        f._repr_html_()  # imports what it needs
        tracemalloc.start()
        page = f._repr_html_()
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert page.count("<td>w") == 50 and "19,950 more" in page
    assert most < 3 << 20  # a description takes half a kilobyte, a name a tenth of that


#: What Unicode calls Default_Ignorable_Code_Point and has in another category than Cf.
IGNORED = [0x34F, 0x115F, 0x1160, 0x17B4, 0x17B5, *range(0x180B, 0x1810), 0x2065, 0x3164,
           *range(0xFE00, 0xFE10), 0xFFA0, *range(0xFFF0, 0xFFF9), *range(0xE0000, 0xE1000)]  # fmt: skip


def test_all_of_unicode_that_is_not_seen_is_escaped() -> None:
    from deathtensors._text import printable

    for code in range(sys.maxunicode + 1):
        letter = chr(code)
        kind = unicodedata.category(letter)
        escaped = printable(letter) != letter
        if kind in ("Cc", "Cf", "Cs", "Zl", "Zp") or code in IGNORED:
            assert escaped and printable(letter).isascii(), hex(code)
        elif kind != "Cn":  # which a newer Unicode may have given a meaning
            assert not escaped, hex(code)


def test_marks_of_direction_are_shown_nowhere(tmp_path: Path) -> None:
    marks = "\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\u3164"
    path = tmp_path / f"x{marks}.deathtensors"
    dt.save_file(path, [(f"w{marks}", "U8", [1], b"a", {})])
    with dt.open(path) as f, pytest.raises(dt.TensorNotFoundError) as caught:
        page = f._repr_html_()
        f.close()
        page += f._repr_html_()
        dt.open(path).get_bytes(f"v{marks}")
    assert not set(marks) & set(page + str(caught.value))


@pytest.mark.parametrize("line", ["\x1b[2J", "\u202e", "\r", "\n", "\x07"])
def test_error_lines_are_safe_to_print(line: str, tmp_path: Path) -> None:
    path = tmp_path / "x.deathtensors"
    dt.save_file(path, [("w", "U8", [1], b"a", {})])
    with dt.open(path) as f, pytest.raises(dt.TensorNotFoundError) as caught:
        f.get_bytes(f"no{line}such")
    assert line not in str(caught.value)
    assert caught.value.tensor == f"no{line}such"
