"""What may be in the things that are handed out: the wheel, the source distribution, the
npm package. As a program it checks the archives that it is given."""

from __future__ import annotations

import os
import re
import stat
import struct
import sys
import tarfile
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[2]

_VERSION = r"[0-9]+\.[0-9]+\.[0-9]+"
_INFO = rf"deathtensors-{_VERSION}\.dist-info"
_VIEWER = r"viewer/(assets/index-[\w-]{8}\.(js|css)|icon\.svg|index\.html|sample\.deathtensors)"
_PACKAGE = rf"deathtensors/(py\.typed|_deathtensors\.pyi|(\w+/)?\w+\.py|{_VIEWER})"
_CRATE = r"(Cargo\.toml|src/(\w+/)*\w+\.rs|(tests|benches|examples)/(\w+/)*\w+\.(rs|txt))"

#: The names of the files that belong in each, as regular expressions.
WHEEL = re.compile(
    rf"{_PACKAGE}|deathtensors/_deathtensors\.[\w-]+\.(so|pyd)"
    rf"|{_INFO}/(METADATA|WHEEL|RECORD|entry_points\.txt|licenses/LICENSE)"
)
SDIST = re.compile(
    rf"deathtensors-{_VERSION}/"
    rf"(PKG-INFO|LICENSE|README\.md|pyproject\.toml|Cargo\.(toml|lock)"
    rf"|{_PACKAGE}|python/({_PACKAGE}|{_CRATE}|LICENSE|README\.md)|(core|native)/{_CRATE})"
)
NPM = re.compile(
    r"package/(package\.json|README\.md|LICENSE|dist/index\.js|dist/(\w+/)*\w+\.d\.ts)"
)


class Member(NamedTuple):
    """A file in an archive."""

    name: str
    mode: int
    data: bytes


def members(archive: Path) -> Iterator[Member]:
    """Everything in an archive; links and the like come with the mode of what they are."""
    if archive.suffix == ".whl":
        with zipfile.ZipFile(archive) as wheel:
            for item in wheel.infolist():
                yield Member(item.filename, item.external_attr >> 16, wheel.read(item))
        return
    with tarfile.open(archive) as tar:
        for entry in tar:
            kind = stat.S_IFREG if entry.isfile() else stat.S_IFLNK
            file = tar.extractfile(entry) if entry.isfile() else None
            yield Member(entry.name, kind | entry.mode, file.read() if file else b"")


def private_paths() -> list[bytes]:
    """Folders of this machine that nothing may name."""
    cargo = Path(os.environ.get("CARGO_HOME", Path.home() / ".cargo"))
    return [os.fsencode(path) for path in (ROOT, cargo)]


def faults(member: Member, allowed: re.Pattern[str]) -> list[str]:
    """What is wrong with a file, a line each."""
    found = []
    if not allowed.fullmatch(member.name):
        found.append("does not belong here")
    if not stat.S_ISREG(member.mode) or member.mode & 0o7000 or member.mode & 0o022:
        found.append(f"has the mode {member.mode:o}")
    found += [f"names {path.decode()}" for path in private_paths() if path in member.data]
    found += [f"has a section {name}" for name in debug_sections(member.data)]
    return [f"{member.name} {what}" for what in found]


def debug_sections(data: bytes) -> list[str]:
    """Names of the debug information in a 64-bit little-endian ELF file."""
    if data[:6] != b"\x7fELF\x02\x01":
        return []
    (offset,) = struct.unpack_from("<Q", data, 0x28)
    size, count, names = struct.unpack_from("<HHH", data, 0x3A)
    headers = [struct.unpack_from("<IIQQQQ", data, offset + size * n) for n in range(count)]
    base = headers[names][4]
    found = (data[base + h[0] : data.index(b"\0", base + h[0])].decode() for h in headers)
    return [name for name in found if name.startswith((".debug", ".zdebug", ".gnu.debug"))]


def allowed_in(archive: Path) -> re.Pattern[str]:
    """The names that belong in an archive, by what it is called."""
    if archive.suffix == ".whl":
        return WHEEL
    return SDIST if archive.name.endswith(".tar.gz") else NPM


def check(archive: Path) -> list[str]:
    """What is wrong with an archive, a line each."""
    inside = list(members(archive))
    found = [fault for member in inside for fault in faults(member, allowed_in(archive))]
    return found or ([] if inside else [f"{archive.name} is empty"])


def main(arguments: list[str]) -> int:
    """Checks the archives; the exit code."""
    wrong = 0
    for path in map(Path, arguments):
        found = check(path)
        print(f"{path.name}: {len(list(members(path)))} files, {path.stat().st_size} bytes")
        for line in found:
            print(f"  {line}", file=sys.stderr)
        wrong += len(found)
    return 1 if wrong or not arguments else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
