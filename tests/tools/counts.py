"""Prints the table at the top of docs/reliability.md.

    python tests/tools/counts.py

What can be counted is counted now; the rest is taken from what the last runs left in
build/, and a row says which command leaves it.
"""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
BUILD = ROOT / "build"


def main() -> None:
    print("| what | how many | by |", "|---|---|---|", sep="\n")
    for what, count, command in [*counted(), *left_by_runs()]:
        print(f"| {what} | {count} | `{command}` |")


def counted() -> list[tuple[str, str, str]]:
    """The rows that need no run."""
    page = (ROOT / "docs/attacks.md").read_text("utf-8")
    attacks = page.count("\n## ")
    proofs = len(set(re.findall(r"`([\w./]+::[^`]+)`", page)))
    vectors = ROOT / "tests/vectors"
    valid, refused, besides, models = (
        len(list(vectors.glob(pattern)))
        for pattern in ("valid/*.json", "refused/*.json", "besides/*", "sharded/*/*")
    )
    crashers = len(list((ROOT / "fuzz/crashers").glob("*/*")))
    return [
        ("attacks, each with the tests that show its answer", f"{attacks}; {proofs} tests",
         "pytest tests/python/test_attacks.py"),
        ("vectors: valid files; refused files, each with one fault; other formats; sharded models",
         f"{valid}; {refused}; {besides}; {models}", "make vectors"),
        ("inputs that broke a property once, and are tried again", f"{crashers}",
         "cargo test --package deathtensors-fuzz"),
    ]  # fmt: skip


def left_by_runs() -> list[tuple[str, str, str]]:
    """The rows that the last runs left."""
    faults = last(r"\| together \| \| (\d+) \|", BUILD / "faults.md")
    jobs = str(
        len(re.findall(r"^\| .* \| \d+ \| \d+ \|$", read(BUILD / "faults.md"), re.MULTILINE))
    )
    fuzz = re.findall(r"^\| \w+ \| (\d+) \|", read(BUILD / "fuzz.md"), re.MULTILINE)
    executions = f"{sum(map(int, fuzz)):,} in {len(fuzz)} targets" if fuzz else "not run"
    python = last(r"(\d+) inputs", BUILD / "logs/pytest.log")
    tests = last(r"(\d+) tests,", BUILD / "logs/pytest.log")
    rust = total(r"test result: ok\. (\d+) passed", BUILD / "logs/cargo_test.log")
    node = last(r"^# pass (\d+)", BUILD / "logs/npm_package_in_Node.log")
    sanitized = total(r"^\| [^|]*\| (\d+) \|", BUILD / "sanitizers.md")
    return [
        ("writes cut short, at every call and by every fault", f"{faults} in {jobs} jobs",
         "make faults"),
        ("inputs that libFuzzer tried", executions, "make fuzz"),
        ("inputs that hypothesis tried", python, "make python"),
        ("tests in Rust", rust, "make rust"),
        ("tests in Python", tests, "make python"),
        ("tests of the npm package in Node", node, "make web"),
        ("tests under AddressSanitizer, ThreadSanitizer and Valgrind", sanitized,
         "make sanitizers"),
    ]  # fmt: skip


def read(path: Path) -> str:
    return path.read_text("utf-8") if path.is_file() else ""


def last(pattern: str, path: Path) -> str:
    found = re.findall(pattern, read(path), re.MULTILINE)
    return f"{int(found[-1]):,}" if found else "not run"


def total(pattern: str, path: Path) -> str:
    found = re.findall(pattern, read(path), re.MULTILINE)
    return f"{sum(map(int, found)):,}" if found else "not run"


if __name__ == "__main__":
    main()
