"""One open file."""

from __future__ import annotations

import warnings
from typing import cast

from . import _deathtensors, errors
from ._arguments import looked_up, open_options
from ._elsewhere import (
    cannot_travel,
    close_with,
    connect,
    is_elsewhere,
    ranges,
    refuse_backend,
)
from ._paths import absolute, expand_path
from ._reader import Reader, copied
from ._spelling import spelled
from ._text import human_bytes, human_count, plural, printable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from typing import Any

    from ._deathtensors import File, Progress
    from ._elsewhere import RemoteArgument, Source
    from ._paths import StrPath
    from ._remote import Transfer


#: How many rows a notebook shows of a file.
_NOTEBOOK_ROWS = 50


class DtFile(Reader):
    """An open ``.deathtensors`` file: named tensors, read when asked for.

    Opening reads the header only, compressed or not, and never runs code from the
    file. A DtFile is a context manager, iterates over names, may be used from
    several threads, and pickles by path (for data-loader workers).

    A remote file is read by ranges, never downloaded whole: the header first, then only
    the tensors or rows that are asked for. It is the one content that was there when it
    was opened: a commit of the Hub, or a web server's ETag; where a server gives none,
    only ``root`` pins it, and then the very bytes that are returned are checked each time,
    for which a whole tensor is read also where some rows are asked for. It pickles by its
    address, with ``remote`` as it was given, a token in it included; a token that was
    found in the environment is not.

    Args:
        path: the file; ``~`` and ``$VARIABLES`` are expanded. Or a URL:
            ``hf://org/name@revision/path``, ``https://…``, whatever fsspec knows; or a
            binary file object that can seek.
        verify: check everything that the file carries (footer, digests) first. A
            file that carries nothing to check by passes; ``verify()`` returns False
            for it.
        root: the root digest that the file must have, 64 hexadecimal digits; each
            tensor is then checked when it is first read.
        backend: how bytes are read: "mmap" maps the file; "pread" reads what is
            asked for and holds no mapping, for network file systems; "auto" chooses.
        limits: other limits than the usual, by name, such as
            ``{"header_bytes": 1_000_000}``; ``deathtensors.LIMITS`` has the usual ones.
            ``memory_bytes`` bounds what each call may set aside for copies; views of a
            mapped file are none.
        remote: how remote files are read, a ``deathtensors.remote.RemoteOptions`` or a
            mapping of its fields, such as ``{"token": "hf_…"}``. Local files ignore it.

    Raises:
        MissingFileError: no file has that path.
        FormatError, UnsupportedError, LimitError: the file is refused.
        IntegrityError: ``verify`` or ``root`` found a difference.
        NetworkError: a remote file cannot be reached, or its server does not serve ranges.

    >>> import numpy, deathtensors as dt
    >>> dt.save("example.deathtensors", {"w": numpy.ones((2, 3), "float32")})
    >>> with dt.DtFile("example.deathtensors") as f:
    ...     print(f.keys(), f.get_tensor("w", "numpy").sum())
    ['w'] 6.0
    """

    _raw: File

    def __init__(
        self,
        path: Source,
        verify: bool = False,
        *,
        root: str | None = None,
        backend: str = "auto",
        limits: Mapping[str, int] | None = None,
        remote: RemoteArgument = None,
    ) -> None:
        self._options = open_options(verify, root, backend, limits)
        self._remote = remote
        self._transfer: Transfer | None = None
        if is_elsewhere(path):
            self._open_remote(path)
        else:
            self._open_path(cast("StrPath", path))
        #: Whether it is the index of a sharded model, which has no tensors itself.
        self._is_index = self._raw.is_index

    def _open_path(self, path: StrPath) -> None:
        verify, root, backend, limits = self._options
        expanded = expand_path(path)
        # Pickles lead back here, also after a change of the current folder.
        self._home: StrPath | None = absolute(expanded)
        self._raw = _deathtensors.File(
            expanded, verify=verify, root=root, backend=backend, limits=limits
        )

    def _open_remote(self, source: Source) -> None:
        verify, root, backend, limits = self._options
        refuse_backend(backend)
        transfer = connect(source, self._remote)
        try:
            self._raw = _deathtensors.File.remote(
                ranges(transfer), verify=verify, root=root, limits=limits
            )
        except BaseException:
            transfer.close()
            raise
        self._transfer = transfer
        close_with(self, transfer)
        # Pickles lead to the same content, whatever is there by then.
        self._home = transfer.pinned

    def _file(self, name: str) -> File:
        if type(name) is not str or not name.isascii():
            looked_up(name)
        if self._is_index:
            raise errors.no_tensor(name, _index_hint())
        return self._raw

    def _files(self) -> Iterator[File]:
        yield self._raw

    def info(self, name: str) -> dict[str, Any]:
        # As in the base class, with a call less: it is asked 20,000 times over.
        try:
            return self._raw.info(name)
        except (TypeError, UnicodeEncodeError):
            looked_up(name)
            raise
        except errors.TensorNotFoundError:
            self._file(name)
            raise

    def infos(self) -> list[dict[str, Any]]:
        """``info()`` of every tensor, in order; cheaper than one by one."""
        return self._raw.infos()

    # --- the file as a whole

    @property
    def path(self) -> str:
        """The path that was opened, expanded; of a remote file, where it is."""
        return self._raw.path

    @property
    def counters(self) -> dict[str, int] | None:
        """What a remote file has cost so far; None for a local one.

        requests; bytes received; retries; resolves (of links that had expired);
        cached_bytes (that came from the cache on disk).
        """
        return None if self._transfer is None else self._transfer.counters

    def close(self) -> None:
        """Let go of the file. Tensors and buffers already read stay valid."""
        self._raw.close()
        if self._transfer is not None:
            self._transfer.close()

    @property
    def root(self) -> str | None:
        """The root digest, 64 hexadecimal digits; None in a file without digests.

        It commits to all names, shapes, metadata and bytes: pass it to
        ``open(path, root=…)`` to accept exactly this content. It shows corruption;
        who wrote the file it shows only if you got the digest from them.
        """
        return self._raw.root

    @property
    def closed(self) -> bool:
        """Whether ``close()`` was called."""
        return self._raw.closed

    @property
    def facts(self) -> dict[str, Any]:
        """Sizes and counts of the file.

        created_by; file_bytes, header_bytes, data_start (offset of the data in the
        file), stored_bytes (the data as on disk), data_bytes (the same uncompressed),
        tensor_bytes (tied tensors once), all in bytes; frames (None when not
        compressed); parameters (elements, tied tensors once).
        """
        return self._raw.facts

    def is_compressed(self) -> bool:
        """Whether the data is compressed with zstd."""
        return self._raw.is_compressed()

    def has_checksum(self) -> bool:
        """Whether the file ends in a SHA-256 footer."""
        return self._raw.has_checksum()

    def has_digests(self) -> bool:
        """Whether tensors carry digests of their own."""
        return self._raw.has_digests()

    def get_all_bytes(self) -> dict[str, bytes]:
        """A copy of every tensor's bytes, by name."""
        names = self.keys()
        self._raw.check_copies(names)
        return {name: copied(self._raw, name) for name in names}

    def all_stats(self, *, progress: Progress | None = None) -> dict[str, dict[str, Any]]:
        """``stats()`` of every tensor, by name, on all cores."""
        return self._raw.all_stats(progress=progress)

    def verify_report(self, *, progress: Progress | None = None) -> dict[str, Any]:
        """Check like ``verify()``, but tell rather than raise.

        Returns:
            footer, root and frames: True, False, or None where the file carries
            nothing to check by; tensors: the same by name; errors: what ``verify()``
            would raise, for each thing that differs.
        """
        return self._raw.verify(progress=progress)

    # --- how it shows and travels

    def __repr__(self) -> str:
        if self.closed:
            return f"<deathtensors.DtFile {self.path!r}, closed>"
        if self._is_index:
            return f"<deathtensors.DtFile {self.path!r}, {_index_hint()}>"
        return f"<deathtensors.DtFile {self.path!r} with {plural(len(self), 'tensor')}>"

    def _repr_html_(self) -> str:
        if self.closed:
            from html import escape

            return f"<p>{escape(printable(repr(self)))}</p>"
        return _notebook_table(self)

    def __reduce__(self) -> tuple[Any, ...]:
        if self._home is None:
            raise cannot_travel(self.path)
        return _reopen, (type(self), self._home, *self._options, self._remote)


def _reopen(
    cls: type[DtFile],
    path: StrPath,
    verify: bool,
    root: str | None,
    backend: str,
    limits: Mapping[str, int] | None,
    remote: RemoteArgument = None,
) -> DtFile:
    return cls(path, verify, root=root, backend=backend, limits=limits, remote=remote)


def _notebook_table(file: DtFile) -> str:
    from html import escape

    def cells(tag: str, texts: list[str]) -> str:
        return "".join(f"<{tag}>{escape(text)}</{tag}>" for text in texts)

    facts = file.facts
    if file._is_index:
        return f"<p>{escape(printable(repr(file)))}</p>"
    title = (
        f"{plural(len(file), 'tensor')}, {human_count(facts['parameters'])} parameters, "
        f"{human_bytes(facts['file_bytes'])}"
    )
    rows = []
    for info in file._raw.infos(_NOTEBOOK_ROWS):
        shape = str(list(info["shape"]))
        texts = [printable(info["name"]), info["dtype"], shape, human_bytes(info["nbytes"])]
        rows.append(f"<tr>{cells('td', texts)}</tr>")
    hidden = len(file) - len(rows)
    if hidden > 0:
        rows.append(f'<tr><td colspan="4">… and {hidden:,} more</td></tr>')
    head = cells("th", ["name", "dtype", "shape", "size"])
    return (
        f"<table><caption>{escape(printable(file.path))}: {escape(title)}</caption>"
        f"<thead><tr>{head}</tr></thead><tbody>{''.join(rows)}</tbody></table>"
    )


def open(
    path: Source,
    verify: bool = False,
    *,
    root: str | None = None,
    backend: str = "auto",
    limits: Mapping[str, int] | None = None,
    remote: RemoteArgument = None,
) -> DtFile:
    """Open a ``.deathtensors`` file for reading. See ``DtFile`` for the arguments.

    >>> import numpy, deathtensors as dt
    >>> dt.save("example.deathtensors", {"w": numpy.ones((2, 3), "float32")})
    >>> with dt.open("example.deathtensors") as f:
    ...     print(f.info("w")["shape"], f.stats("w")["mean"])
    [2, 3] 1.0
    """
    file = DtFile(path, verify, root=root, backend=backend, limits=limits, remote=remote)
    warn_of_index(file)
    return file


def warn_of_index(file: DtFile) -> None:
    """Tell who opened an index as a file that nothing is in it."""
    if file._is_index:
        warnings.warn(f"{printable(file.path)} is {_index_hint()}", stacklevel=3)


def _index_hint() -> str:
    what = "the index of a sharded model, without tensors of its own"
    return f"{what}: {spelled('read an index')}"
