"""The command line: every command, its JSON, its exit codes, and no traceback."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any
from unicodedata import east_asian_width

import numpy as np
import pytest

import deathtensors as dt
from helpers import listing, parse_safetensors, run_python, safetensors_file

FINE, DIFFERENT, MISUSE, UNREADABLE = 0, 1, 2, 3


def run(*words: Any, env: dict[str, str] | None = None, cwd: Any = None) -> Any:
    """The command as a user runs it; never a traceback, errors in one line."""
    done = subprocess.run(
        [sys.executable, "-m", "deathtensors", *map(str, words)],
        capture_output=True,
        text=True,
        env={**{k: v for k, v in os.environ.items() if k != "COLUMNS"}, **(env or {})},
        cwd=cwd,
        timeout=120,
    )
    assert "Traceback" not in done.stderr + done.stdout
    if done.returncode:
        assert done.stderr.count("\n") <= 1, done.stderr
    return done


def as_json(*words: Any, code: int = FINE) -> Any:
    done = run(*words, "--json")
    assert done.returncode == code, done.stderr
    assert done.stdout.isascii()
    return json.loads(done.stdout)


@pytest.fixture
def model(tmp_path: Path) -> Path:
    path = tmp_path / "model.deathtensors"
    tensors = {
        "embed.weight": np.arange(3000.0, dtype=np.float32).reshape(1000, 3),
        "layers.0.weight": np.ones((4, 4), np.float16),
        "layers.1.weight": np.zeros((4, 4), np.float16),
        "step": np.array(7),
        "mask": np.array([True, False]),
    }
    notes = {"embed.weight": {"init": "normal"}}
    dt.save(path, tensors, notes, {"licence": "MIT"}, checksum=True, compress=True, digests=True)
    return path


# --- the program itself


def test_version_and_help_are_quick_and_load_no_framework() -> None:
    assert run("--version").stdout.strip() == f"deathtensors {dt.__version__}"
    text = run("--help").stdout
    for command in ("info", "list", "verify", "stats", "convert", "diff", "manifest", "append",
                    "shard", "merge", "extract", "root"):  # fmt: skip
        assert command in text
        assert run(command, "--help").returncode == FINE
    for word in ("exit", "0", "1", "2", "3"):
        assert word in text
    done = run_python(
        """
        import sys
        from deathtensors import main
        for words in (["--version"], ["--help"]):
            main(words)
        assert not {"torch", "numpy", "ml_dtypes"} & set(sys.modules)
        """
    )
    assert dt.__version__ in done.stdout


def test_no_command_loads_a_framework(model: Path, tmp_path: Path) -> None:
    run_python(
        """
        import sys
        from deathtensors import main
        path, out = sys.argv[1:]
        for words in (["info", path], ["list", path], ["verify", path], ["stats", path],
                      ["root", path], ["diff", path, path], ["manifest", path, out + ".json"],
                      ["convert", "to-safetensors", path, out + ".safetensors"],
                      ["convert", "from-safetensors", out + ".safetensors", out],
                      ["shard", path, out + ".s.deathtensors", "--max-bytes", "1KB"],
                      ["merge", out + ".s.deathtensors", out + ".m"],
                      ["extract", path, out + ".e", "step"]):
            assert main(words) == 0, words
        assert not {"torch", "numpy", "ml_dtypes", "safetensors"} & set(sys.modules)
        """,
        model,
        tmp_path / "out",
    )


def test_the_console_script_is_the_same_program() -> None:
    script = Path(sys.executable).with_name("deathtensors")
    done = subprocess.run([script, "--version"], capture_output=True, text=True, check=True)
    assert done.stdout == run("--version").stdout


def test_main_returns_the_exit_code(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert dt.main(["list", str(model)]) == FINE
    assert capsys.readouterr().out.split("\n")[0] == "embed.weight"
    assert dt.main(["list", "none"]) == UNREADABLE
    assert dt.main(["no-such-command"]) == MISUSE
    assert dt.main([]) == MISUSE


# --- looking


def test_info(model: Path) -> None:
    text = run("info", model).stdout
    for word in ("embed.weight", "F32", "1000", "MIT", "SHA-256", "zstd", "5 tensors", "3,035"):
        assert word in text, word
    found = as_json("info", model)
    assert [t["name"] for t in found["tensors"]] == dt.open(model).keys()
    assert found["metadata"] == {"licence": "MIT"}
    assert found["compressed"] is True and found["checksum"] is True
    assert found["root"] == dt.open(model).root
    assert found["file_bytes"] == model.stat().st_size
    assert found["tensors"][0]["metadata"] == {"init": "normal"}


def test_list(model: Path) -> None:
    assert run("list", model).stdout.split("\n")[:-1] == dt.open(model).keys()
    assert as_json("list", model) == dt.open(model).keys()


def test_stats(model: Path) -> None:
    assert "2999" in run("stats", model).stdout
    found = as_json("stats", model)
    with dt.open(model) as f:
        assert list(found) == f.keys()
        for name in f:
            assert found[name]["max"] == f.stats(name)["max"]
    one = as_json("stats", model, "step")
    assert one["step"]["min"] == one["step"]["max"] == 7
    assert "step" in run("stats", model, "step").stdout
    assert run("stats", model, "none").returncode == MISUSE


def test_json_stays_json_when_numbers_are_not(tmp_path: Path) -> None:
    path = tmp_path / "x"
    dt.save(path, {"nan": np.array([np.nan, np.inf]), "none": np.zeros(0)})
    found = as_json("stats", path)
    assert found["nan"]["nan"] == 1
    assert found["nan"]["mean"] is None and found["none"]["max"] is None


def test_root(model: Path, tmp_path: Path) -> None:
    assert run("root", model).stdout.strip() == dt.open(model).root
    assert as_json("root", model)["root"] == dt.open(model).root
    dt.save(tmp_path / "x", {})
    assert run("root", tmp_path / "x").returncode == DIFFERENT


# --- checking


def test_verify(model: Path, tmp_path: Path) -> None:
    done = run("verify", model)
    assert done.returncode == FINE and "OK" in done.stdout
    found = as_json("verify", model)
    assert found["verified"] is True and all(found["tensors"].values())
    assert run("verify", model, "step").returncode == FINE
    assert run("verify", model, "--root", dt.open(model).root).returncode == FINE
    assert run("verify", model, "--root", "0" * 64).returncode == DIFFERENT

    dt.save(tmp_path / "bare", {"w": np.ones(3)})
    done = run("verify", tmp_path / "bare")
    assert done.returncode == DIFFERENT and "WARN" in done.stdout


def test_verify_names_what_is_bad(tmp_path: Path) -> None:
    path = tmp_path / "x"
    dt.save(path, {"good": np.ones(9), "bad": np.ones(9)}, digests=True, checksum=True)
    data = bytearray(path.read_bytes())
    data[-40] ^= 1
    path.write_bytes(data)
    done = run("verify", path)
    assert done.returncode == DIFFERENT
    assert "BAD bad" in done.stdout and "BAD good" not in done.stdout
    found = as_json("verify", path, code=DIFFERENT)
    assert found["tensors"] == {"good": True, "bad": False}
    assert found["footer"] is False and found["verified"] is False
    assert run("verify", path, "good").returncode == FINE
    assert run("verify", path, "bad").returncode == DIFFERENT


def test_diff(model: Path, tmp_path: Path) -> None:
    done = run("diff", model, model)
    assert done.returncode == FINE and "identical" in done.stdout
    other = tmp_path / "other.deathtensors"
    dt.save(other, {"step": np.array(8), "new": np.ones(2)})
    done = run("diff", model, other)
    assert done.returncode == DIFFERENT
    for word in ("added", "new", "removed", "embed.weight", "value changed", "step"):
        assert word in done.stdout
    found = as_json("diff", model, other, code=DIFFERENT)
    assert found["added"] == ["new"] and found["value_changed"] == ["step"]
    assert as_json("diff", model, model)["equal"] is True


# --- converting and rearranging


def test_convert_with_the_words_of_030(tmp_path: Path) -> None:
    rows = [("b", "F32", [2], bytes(8)), ("a", "U8", [1], b"x")]
    (tmp_path / "m.safetensors").write_bytes(safetensors_file(rows, {"format": "pt"}))
    assert run("convert", "from-safetensors", "m.safetensors", cwd=tmp_path).returncode == FINE
    with dt.open(tmp_path / "m.deathtensors") as f:
        assert f.has_checksum() and not f.is_compressed()
    done = run(
        "convert", "from-safetensors", "m.safetensors", "c.deathtensors", "--no-checksum",
        "--compress", cwd=tmp_path,
    )  # fmt: skip
    assert done.returncode == FINE and "c.deathtensors" in done.stdout
    with dt.open(tmp_path / "c.deathtensors") as f:
        assert f.is_compressed() and not f.has_checksum()
    run("convert", "to-safetensors", "c.deathtensors", "back.safetensors", cwd=tmp_path)
    entries, metadata = parse_safetensors((tmp_path / "back.safetensors").read_bytes())
    assert list(entries) == ["b", "a"] and metadata == {"format": "pt"}
    found = as_json("convert", "to-safetensors", tmp_path / "m.deathtensors")
    assert Path(found["wrote"][0]["path"]).name == "m.safetensors"
    run("convert", "from-safetensors", "m.safetensors", "d.deathtensors", "--digests", cwd=tmp_path)
    assert dt.open(tmp_path / "d.deathtensors").has_digests()


def test_manifest(model: Path, tmp_path: Path) -> None:
    assert run("manifest", model).returncode == FINE
    assert list(dt.read_manifest(f"{model}.json")["tensors"]) == dt.open(model).keys()
    found = as_json("manifest", model, tmp_path / "out.json")
    assert found["wrote"][0]["path"] == str(tmp_path / "out.json")


def test_append(model: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.deathtensors"
    dt.save(other, {"x": np.ones(3), "y": np.zeros(2)}, {"x": {"k": "v"}})
    (tmp_path / "st.safetensors").write_bytes(safetensors_file([("z", "U8", [2], b"ab")]))
    assert run("append", model, other, tmp_path / "st.safetensors").returncode == FINE
    with dt.open(model, verify=True) as f:
        assert f.keys()[-3:] == ["x", "y", "z"]
        assert f.get_bytes("z") == b"ab"
        assert f.info("x")["metadata"] == {"k": "v"}
        assert f.is_compressed() and f.has_digests() and f.verify()
    before = model.read_bytes()
    done = run("append", model, other)
    assert done.returncode == MISUSE and "exists already" in done.stderr
    assert model.read_bytes() == before
    assert run("append", model, other, "--prefix", "again.").returncode == FINE
    assert "again.x" in dt.open(model).keys()
    assert not [name for name in listing(tmp_path) if name.startswith(".")]


def test_shard_merge_and_extract(model: Path, tmp_path: Path) -> None:
    index, merged = tmp_path / "s.deathtensors", tmp_path / "merged.deathtensors"
    found = as_json("shard", model, index, "--max-bytes", "1KB")
    assert len(found["wrote"]) > 2
    with dt.open_sharded(index, verify=True) as reader:
        assert reader.keys() == dt.open(model).keys()
        assert reader.metadata() == {"licence": "MIT"}
    assert run("merge", index, merged).returncode == FINE
    assert dt.diff(model, merged)["equal"]
    with dt.open(merged, verify=True) as f:
        assert f.is_compressed() and f.has_checksum() and f.has_digests()
    for words in (["info"], ["list"], ["verify"], ["stats"]):
        assert run(*words, index).returncode == FINE
    assert run("diff", index, model).returncode == FINE

    some = tmp_path / "some.deathtensors"
    assert run("extract", model, some, "layers.*", "step", "--no-compress").returncode == FINE
    with dt.open(some, verify=True) as f:
        assert f.keys() == ["layers.0.weight", "layers.1.weight", "step"]
        assert not f.is_compressed()
    assert run("extract", index, tmp_path / "one.safetensors", "step").returncode == FINE
    entries, _ = parse_safetensors((tmp_path / "one.safetensors").read_bytes())
    assert list(entries) == ["step"]
    done = run("extract", model, tmp_path / "no", "nothing.*")
    assert done.returncode == MISUSE and "nothing.*" in done.stderr
    assert not (tmp_path / "no").exists()


@pytest.mark.parametrize("size", ["0", "-1", "many", "1XB", ""])
def test_a_size_that_is_none_is_misuse(size: str, model: Path, tmp_path: Path) -> None:
    assert run("shard", model, tmp_path / "s", f"--max-bytes={size}").returncode == MISUSE


# --- exit codes and errors


@pytest.mark.parametrize(
    "words",
    [[], ["fly"], ["info"], ["info", "a", "b"], ["convert", "sideways", "a"], ["diff", "a"],
     ["--no-such-flag"], ["stats"], ["extract", "a", "b"]],
)  # fmt: skip
def test_misuse_is_2(words: list[str]) -> None:
    done = run(*words)
    assert done.returncode == MISUSE
    assert done.stderr.startswith("deathtensors: error: ")


def test_unreadable_files_are_3(tmp_path: Path) -> None:
    (tmp_path / "foreign").write_bytes(b"PK\3\4" + bytes(90))
    (tmp_path / "cut").write_bytes(b"DTLEGION")
    for name in ("missing", "foreign", "cut", "."):
        for words in (["info"], ["list"], ["verify"], ["stats"], ["root"], ["manifest"],
                      ["convert", "to-safetensors"]):  # fmt: skip
            done = run(*words, tmp_path / name)
            assert done.returncode == UNREADABLE, (words, name, done.stderr)
            assert done.stderr.startswith("deathtensors: error: ")
            assert str(tmp_path) in done.stderr


def test_a_safetensors_file_is_named_with_the_remedy(tmp_path: Path) -> None:
    path = tmp_path / "m.safetensors"
    path.write_bytes(safetensors_file([("w", "U8", [1], b"a")]))
    done = run("info", path)
    assert done.returncode == UNREADABLE
    assert "safetensors" in done.stderr and "convert from-safetensors" in done.stderr


def test_json_errors_leave_stdout_empty(tmp_path: Path) -> None:
    done = run("info", tmp_path / "missing", "--json")
    assert done.returncode == UNREADABLE and done.stdout == ""


# --- terminals


def test_a_broken_pipe_is_quiet(tmp_path: Path) -> None:
    path = tmp_path / "x"
    dt.save(path, {f"layers.{i}.weight": np.ones(1) for i in range(20_000)})
    for command in ("list", "info", "stats"):
        done = subprocess.run(
            f"{sys.executable} -m deathtensors {command} {path} | head -n 1",
            shell=True,
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert done.stdout.count("\n") == 1
        assert done.stderr == ""


@pytest.mark.parametrize("columns", [40, 60, 80, 200])
def test_tables_fit_the_terminal(columns: int, tmp_path: Path) -> None:
    path = tmp_path / "x"
    tensors = {"a.very.long.name." * 8 + str(i): np.ones((i + 1, 3), np.float32) for i in range(3)}
    tensors["重み" * 30] = np.ones(2)
    dt.save(path, tensors, {name: {"note": "x" * 100} for name in tensors})
    for words in (["info"], ["stats"], ["list", "--long"]):
        done = run(*words, path, env={"COLUMNS": str(columns)})
        assert done.returncode == FINE
        lines = done.stdout.splitlines()
        head = next(i for i, line in enumerate(lines) if line.startswith("name"))
        table = lines[head : head + 5]
        assert len(table) == 5
        for line in table:
            width = sum(2 if east_asian_width(c) in "WF" else 1 for c in line)
            assert width <= columns, line
        assert columns > 100 or any("…" in line for line in table)


def test_columns_stand_below_each_other(model: Path) -> None:
    lines = run("info", model, env={"COLUMNS": "100"}).stdout.splitlines()
    head = next(line for line in lines if line.startswith("name"))
    at = head.index("dtype")
    rows = lines[lines.index(head) + 1 :][:5]
    assert [row[at : at + 4].strip() for row in rows] == ["F32", "F16", "F16", "I64", "BOOL"]


def test_names_cannot_control_the_terminal(tmp_path: Path) -> None:
    path = tmp_path / "x"
    name = "evil\x1b[2J\x07\u202e\nline"
    dt.save(path, {name: np.ones(2)}, {name: {"k\x1b": "v\x1b[31m"}}, {"g\x1b": "\x9b31m\r"})
    other = tmp_path / "y"
    dt.save(other, {name: np.ones(3)}, {name: {"k": "\x1b"}})
    for words in (["info", path], ["list", path], ["stats", path], ["verify", path],
                  ["diff", path, other], ["list", "-l", path], ["stats", path, name],
                  ["stats", path, "none\x1b"], ["extract", path, other, name]):  # fmt: skip
        done = run(*words)
        for text in (done.stdout, done.stderr):
            assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u202e]", text), words


def test_output_in_a_plain_ascii_terminal(tmp_path: Path) -> None:
    path = tmp_path / "x"
    dt.save(path, {"重み.🙂": np.ones(2)}, global_metadata={"é": "ü"})
    for command in ("info", "list", "stats"):
        done = run(command, path, env={"PYTHONIOENCODING": "ascii", "LC_ALL": "C"})
        assert done.returncode == FINE
        assert done.stdout.isascii()


def test_no_progress_where_there_is_no_terminal(model: Path) -> None:
    assert run("verify", model).stderr == ""


def test_ctrl_c_is_quiet(tmp_path: Path) -> None:
    done = run_python(
        """
        import sys
        import deathtensors.cli as cli, deathtensors.cli._inspect as inspect_commands
        def stop(args):
            raise KeyboardInterrupt
        inspect_commands.run_list = stop
        sys.exit(cli.main(["list", "x"]))
        """,
        check=False,
    )
    assert done.returncode == 130 and "Traceback" not in done.stderr


def test_names_in_errors_are_shown_as_they_are(model: Path) -> None:
    """Whatever options of ours they look like."""
    for name in ("token=", "budget_bytes", "repo_type=dataset", "; the option timeout"):
        done = run("stats", model, name)
        assert done.returncode == MISUSE
        assert f"'{name}'" in done.stderr
