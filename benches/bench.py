"""What the rows are made of: workloads, input files, and contenders by name."""

from __future__ import annotations

import functools
import gc
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cold
import memory
import workloads
from libraries import Job
from measure import Absent, Contender, Row, Target, clock
from old_release import OldRelease

OURS = "deathtensors"
OLD = "deathtensors 0.3.0"
SAFETENSORS = "safetensors"
TORCH = "torch"
ZTENSOR = "zTensor"
HASH = "SHA-256 (hashlib)"
WRITE = "plain write"
READ = "plain read"
PASS = "one pass over the bytes"

_LIBRARIES = {SAFETENSORS: "safetensors_", ZTENSOR: "ztensor_"}
Workload = tuple[str, int]


@dataclass
class Bench:
    """Everything that a row needs. Input files are made when a row first asks."""

    folder: Path
    build: Path
    threads: int
    quick: bool
    old: Callable[[], OldRelease]
    _makers: dict[str, Callable[[str], object]] = field(default_factory=dict)
    _made: set[str] = field(default_factory=set)
    _in_memory: list[Path] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.mixed: Workload = ("mixed", (32 if self.quick else 512) << 20)
        self.small: Workload = ("small", 20_000)
        self.dtype_bytes = (4 if self.quick else 64) << 20
        self.sizes = {
            "mixed": f"{self.mixed[1] >> 20} MiB",
            "dtype_bytes": f"{self.dtype_bytes >> 20} MiB",
            "small": "20,000 tensors",
            "minilm": "MiniLM",
            "threads": str(self.threads),
        }

    @functools.cached_property
    def minilm(self) -> Workload:
        return (str(workloads.minilm(self.build)), 0)

    # --- files

    def file(self, name: str, make: Callable[[str], object], folder: Path | None = None) -> str:
        """The path of an input file. It is made when a contender first needs it, so
        that what cannot be made costs only that contender its place."""
        path = str((folder or self.folder) / name)
        self._makers.setdefault(path, make)
        return path

    def need(self, *paths: Any) -> None:
        """Makes those of the input files that are not there yet."""
        for path in paths:
            if path not in self._makers or path in self._made:
                continue
            Path(path).unlink(missing_ok=True)
            try:
                self._makers[path](path)
            except ModuleNotFoundError as e:
                raise Absent(f"{e.name} is not installed") from e
            with open(path, "rb+") as file:
                os.fsync(file.fileno())
            self._made.add(path)

    def ours_file(self, workload: Workload, name: str = "plain", **options: Any) -> str:
        def make(path: str) -> None:
            _save("ours", workload, path, options).prepare()()

        return self.file(f"{_stem(workload)}.{name}.deathtensors", make)

    def old_file(self, workload: Workload, name: str = "plain", **options: Any) -> str:
        def make(path: str) -> None:
            self.old().time(_save("ours", workload, path, options), burst=1)

        return self.file(f"{_stem(workload)}.{name}.old.deathtensors", make)

    def peer_file(self, label: str, workload: Workload, name: str = "", **options: Any) -> str:
        library = _LIBRARIES.get(label, "torch_")

        def make(path: str) -> None:
            _save(library, workload, path, options).prepare()()

        return self.file(f"{_stem(workload)}{name}.{library}", make)

    def raw_file(self, workload: Workload) -> str:
        def make(path: str) -> None:
            job = Job("plain", "write_gathered", {"workload": workload, "path": path})
            job.prepare()()

        return self.file(f"{_stem(workload)}.raw", make)

    def zstd_file(self, workload: Workload) -> str:
        raw = self.raw_file(workload)

        def make(path: str) -> None:
            self.need(raw)
            if not shutil.which("zstd"):
                raise Absent("zstd is not installed")
            command = ["zstd", "-q", "-f", "-3", f"-T{self.threads}", raw, "-o", path]
            subprocess.run(command, check=True)

        return self.file(f"{_stem(workload)}.zst", make)

    def in_memory(self, room: int) -> Path | None:
        """A folder on a file system in memory, if there is one with that much room."""
        home = Path("/dev/shm")
        if not self._in_memory and home.is_dir() and shutil.disk_usage(home).free > room:
            self._in_memory.append(Path(tempfile.mkdtemp(prefix="deathtensors-bench-", dir=home)))
        return self._in_memory[0] if self._in_memory else None

    def clean_up(self, keep: bool) -> None:
        """Removes what was made; ``keep`` leaves it on the disk, not in memory."""
        for folder in self._in_memory:
            shutil.rmtree(folder, ignore_errors=True)
        if not keep:
            shutil.rmtree(self.folder, ignore_errors=True)

    def output(self, name: str) -> str:
        return str(self.folder / f"out.{name}")

    # --- contenders

    def ours(self, work: str, label: str = OURS, **arguments: Any) -> Contender:
        return self.here("ours", work, label, **arguments)

    def peer(self, label: str, work: str, **arguments: Any) -> Contender:
        return self.here(_LIBRARIES[label], work, label, **arguments)

    def plain(self, label: str, work: str, **arguments: Any) -> Contender:
        return self.here("plain", work, label, **arguments)

    def here(self, library: str, work: str, label: str, **arguments: Any) -> Contender:
        """In this process."""
        job = Job(library, work, arguments)
        held: list[Callable[[int], float]] = []

        def prepare() -> None:
            self.need(*arguments.values())
            if not held:
                try:
                    held.append(clock(job.prepare()))
                except ModuleNotFoundError as e:
                    raise Absent(f"{e.name} is not installed") from e

        return Contender(label, lambda burst: held[0](burst), before=prepare)

    def by_old(self, work: str, **arguments: Any) -> Contender:
        """In the old release's process, by its clock."""
        job = Job("ours", work, arguments)

        def prepare() -> None:
            self.need(*arguments.values())
            self.old().prepare(job)

        return Contender(OLD, lambda burst: self.old().time(job, burst), before=prepare)

    def shell(self, label: str, *command: str) -> Contender:
        """A command, its start included."""
        return self._command(label, lambda: command)

    def old_python(self, label: str, *arguments: str) -> Contender:
        """The old release's interpreter, its start included."""
        return self._command(label, lambda: (str(self.old().python), *arguments))

    def _command(self, label: str, command: Callable[[], tuple[str, ...]]) -> Contender:
        def prepare() -> None:
            self.need(*command())
            if not shutil.which(command()[0]):
                raise Absent(f"{command()[0]} is not installed")

        def run() -> None:
            quiet = subprocess.DEVNULL
            subprocess.run(command(), check=True, stdout=quiet, stdin=quiet)

        return Contender(label, clock(run), before=prepare, burst=1)

    def memory_of(
        self, label: str, work: str, library: str = "ours", **arguments: Any
    ) -> Contender:
        """The peak memory of a job in a fresh process."""
        job = Job(library, work, arguments)

        def run(_: int) -> float:
            if label == OLD:
                return memory.peak(job, self.old().python, self.old().environment)
            return memory.peak(job, sys.executable)

        return Contender(label, run, before=lambda: self.need(*arguments.values()))

    def size_of(self, label: str, path: str) -> Contender:
        """Bytes on disk."""
        return Contender(label, lambda _: float(os.path.getsize(path)), lambda: self.need(path))

    # --- ways to run them

    def fresh(self, contender: Contender, path: str) -> Contender:
        """Each run writes a file that was not there, and that goes away after."""

        def remove() -> None:
            Path(path).unlink(missing_ok=True)

        return _around(contender, before=remove, after=remove)

    def on_copy(self, contender: Contender, source: str, path: str) -> Contender:
        """Each run changes a new copy of a file, which is on the disk before."""

        def copy() -> None:
            self.need(source)
            shutil.copyfile(source, path)
            with open(path, "rb+") as file:
                os.fsync(file.fileno())

        def remove() -> None:
            Path(path).unlink(missing_ok=True)

        return _around(contender, before=copy, after=remove)

    def cold(self, contender: Contender, path: str) -> Contender:
        """Each run finds nothing of the file in the page cache."""

        def drop() -> None:
            self.need(path)
            gc.collect()
            cold.drop(path)

        return _around(contender, before=drop)


def _around(
    contender: Contender,
    before: Callable[[], object],
    after: Callable[[], object] = lambda: None,
) -> Contender:
    first, last = contender.before, contender.after

    def all_before() -> None:
        first()
        before()

    def all_after() -> None:
        last()
        after()

    contender.before, contender.after, contender.burst = all_before, all_after, 1
    return contender


def _save(library: str, workload: Workload, path: str, options: dict[str, Any]) -> Job:
    return Job(library, "save", {"workload": workload, "path": path, **options})


def _stem(workload: Workload) -> str:
    name, size = workload
    return name if size else "minilm"


# --- rows

Maker = Callable[[Bench], "list[Contender]"]


@dataclass(frozen=True)
class Entry:
    """A row that can be made."""

    section: str
    name: str
    make: Maker
    targets: tuple[Target, ...]
    unit: str
    once: bool
    #: Whether --quick has it too.
    quick: bool
    #: Whether it fills new memory, as much as the mixed workload has bytes.
    fills_memory: bool

    def title(self, bench: Bench) -> str:
        return self.name.format(**bench.sizes)

    def row(self, bench: Bench) -> Row:
        contenders = self.make(bench)
        # A target's "{threads}" is the same number as in the label.
        targets = tuple(
            Target(t.limit, t.against.format(**bench.sizes), t.kind) for t in self.targets
        )
        memory = 2 * bench.mixed[1] if self.fills_memory else 0
        title = self.title(bench)
        return Row(self.section, title, contenders, targets, self.unit, self.once, memory)


class Section:
    """Rows under one heading, in the order in which they are declared."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.entries: list[Entry] = []

    def row(
        self,
        name: str,
        *targets: Target,
        unit: str = "s",
        once: bool = False,
        quick: bool = True,
        fills_memory: bool = False,
    ) -> Callable[[Maker], Maker]:
        def declare(make: Maker) -> Maker:
            entry = Entry(self.name, name, make, targets, unit, once, quick, fills_memory)
            self.entries.append(entry)
            return make

        return declare

    def __iter__(self) -> Iterator[Entry]:
        return iter(self.entries)
