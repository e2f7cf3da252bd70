"""Writes the vectors: ``python3 generate.py [folder]``.

Standard library only, and nothing of the library under test. Each file stands
beside a JSON file that says what a reader must answer (see README.md). The
output is committed; a test compares it with a fresh run, byte for byte.
"""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from typing import Any

import besides
import refused
import sharded
import valid


def write_json(path: Path, value: Any) -> None:
    path.write_text(json.dumps(value, ensure_ascii=True, indent=1) + "\n", encoding="utf-8")


def generate(root: Path) -> int:
    count = 0
    for kind, vectors in (("valid", valid.vectors()), ("refused", refused.vectors())):
        folder = root / kind
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        for name, data, answer in vectors:
            path = folder / f"{name}.deathtensors"
            assert not path.exists(), name
            path.write_bytes(data)
            # Long metadata would make the expectation as large as its file.
            write_json(folder / f"{name}.json", shorten(answer))
            count += 1
    for kind, cases in (("valid", sharded.valid()), ("refused", sharded.refused())):
        folder = root / "sharded" / kind
        shutil.rmtree(folder, ignore_errors=True)
        for name, files, answer in cases:
            (folder / name).mkdir(parents=True)
            for file, data in files.items():
                (folder / name / file).write_bytes(data)
            write_json(folder / name / "expected.json", answer)
            count += 1
    folder = root / "besides"
    shutil.rmtree(folder, ignore_errors=True)
    for name, file, data, answer in besides.refused():
        (folder / name).mkdir(parents=True)
        (folder / name / file).write_bytes(data)
        write_json(folder / name / "expected.json", answer)
        count += 1
    return count


def shorten(value: Any) -> Any:
    """Strings over 5,000 characters as ``{"repeat": char, "times": n}``."""
    if isinstance(value, dict):
        return {k: shorten(v) for k, v in value.items()}
    if isinstance(value, list):
        return [shorten(v) for v in value]
    if isinstance(value, str) and len(value) > 5000:
        assert set(value) == {value[0]}
        return {"repeat": value[0], "times": len(value)}
    return value


if __name__ == "__main__":
    where = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent
    print(f"{generate(where)} vectors in {where}")
