"""Whatever fsspec knows: object stores, archives, caches, ``file://``, ``memory://``."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any, NoReturn

from .. import errors
from . import _forks, _urls
from ._meter import Reservation
from ._patience import Cancelled
from ._session import Session
from ._transfer import HEAD, Range, Transfer

#: Filesystems that tell at no cost when a file was written, and how ``info`` calls that.
_CHEAP = {"file": ("ino", "mtime"), "local": ("ino", "mtime"), "memory": ("created",)}
#: What others call a thing that promises the same bytes, so that they may be kept on disk.
_STRONG = ("ETag", "etag", "md5Hash", "crc32c", "generation", "content_md5")


class FsspecTransfer(Transfer):
    """``s3://…``, ``gs://…``, ``file://…``, and chains such as ``zip://a::s3://…``.

    Credentials and endpoints are fsspec's own configuration. On the local filesystem and
    in memory, size and time of change are looked at before each call, and a file that
    changed is refused. Elsewhere that would cost a request each time, and is **not**
    done: such a file must not be overwritten while it is read. Opening it with ``root``
    notices what was mixed.

    Args:
        fs: a filesystem of fsspec.
        path: of the file, as the filesystem calls it.
        url: the same for everyone.
    """

    def __init__(self, fs: Any, path: str, url: str, session: Session) -> None:
        super().__init__(session, _shown(url))
        self._fs, self._path, self._url = fs, path, url
        self._lock = threading.Lock()
        _forks.watch(self)
        protocols = _protocols(fs)
        self._marks = next((marks for one, marks in _CHEAP.items() if one in protocols), ())
        self.head_bytes = 0 if self._marks else HEAD
        try:
            info = self._info()
            self.length = _size(info, self.name)
            self._written = [info.get(mark) for mark in self._marks]
            strong = next(((name, info[name]) for name in _STRONG if info.get(name)), None)
            if strong is not None and not self._marks:
                self._keep(("fsspec", *protocols, path, _urls.unsigned(url), *strong, self.length))
        except BaseException:
            self.close()
            raise

    def after_fork(self) -> None:
        self._lock = threading.Lock()

    def sibling(self, name: str) -> FsspecTransfer:
        name = _urls.checked_name(name)
        path, url = _beside(self._path, name), _beside(self._url, name)
        return FsspecTransfer(self._fs, path, url, self._session)

    def _load(self, gaps: Sequence[Range], held: Reservation) -> list[bytes]:
        if self._marks:
            now = self._info()
            written = [now.get(mark) for mark in self._marks]
            if (_size(now, self.name), written) != (self.length, self._written):
                message = "the file changed while it was read; open it again"
                raise errors.network("changed", message, path=self.name)
        if not getattr(self._fs, "async_impl", False):
            # Not every filesystem may be used by several threads at once.
            never = threading.Event()
            return [self._read_and_keep(start, end, held, never) for start, end in gaps]
        found = self._ask_for_all(gaps)
        for (start, end), data in zip(gaps, found):
            self._check_length(start, end, data, held)
            if self._cache:
                self._cache.store(start, data)
        return found

    def _ask_for_all(self, gaps: Sequence[Range]) -> list[bytes]:
        """All ranges at once, on the event loop of the filesystem."""
        self._session.meter.count("requests", len(gaps))
        starts, ends = [one[0] for one in gaps], [one[1] for one in gaps]
        try:
            found = self._fs.cat_ranges(
                [self._path] * len(gaps),
                starts,
                ends,
                batch_size=self._session.options.connections,
                on_error="raise",
            )
        except Exception as error:
            _refuse(error, self.name)
        return [bytes(data) for data in found]

    def _read(self, start: int, end: int, held: Reservation, stop: threading.Event) -> bytes:
        with self._lock:
            if stop.is_set():
                raise Cancelled
            self._session.meter.count("requests")
            try:
                data = bytes(self._fs.cat_file(self._path, start=start, end=end))
            except Exception as error:
                _refuse(error, self.name)
        self._check_length(start, end, data, held)
        return data

    def _check_length(self, start: int, end: int, data: bytes, held: Reservation) -> None:
        held.came(len(data))
        if len(data) != end - start:
            raise errors.network(
                "range",
                "the filesystem gave another part of the file than it was asked for",
                path=self.name,
                expected=f"{end - start} bytes",
                found=f"{len(data)} bytes",
            )

    def _info(self) -> Any:
        try:
            return self._fs.info(self._path)
        except Exception as error:
            _refuse(error, self.name)


def filesystem(url: str) -> tuple[Any, str]:
    """The filesystem that a URL names, and the path of its file there.

    Raises:
        UsageError: fsspec knows no such scheme.
        MissingPackageError: fsspec, or what it needs for the scheme, is not installed.
    """
    try:
        import fsspec  # type: ignore[import-untyped]
    except ImportError:
        scheme = url.partition("://")[0]
        why = f"to read {scheme}://"
        raise errors.missing_package("fsspec", why, "deathtensors[remote]") from None
    try:
        fs, path = fsspec.core.url_to_fs(url)
    except ImportError as error:  # it says which package to install for the scheme
        raise errors.MissingPackageError(
            f"{_shown(url)}: {error}", kind="usage", code="usage.unavailable"
        ) from None
    except ValueError as error:
        raise errors.usage(f"the URL cannot be used: {error}", found=_shown(url)) from None
    except Exception as error:  # some connect, or open an archive, when they are made
        _refuse(error, _shown(url))
    return fs, path


def _refuse(error: Exception, name: str) -> NoReturn:
    """What a filesystem raised, as one of ours."""
    if isinstance(error, errors.DeathTensorsError):
        raise error
    if isinstance(error, ConnectionError):
        message = f"it cannot be reached: {error.strerror or type(error).__name__}"
        raise errors.network("offline", message, path=name) from error
    if isinstance(error, OSError) and error.errno is not None:
        raise errors.from_os_error(error, name) from error
    if isinstance(error, FileNotFoundError):
        raise errors.from_os_error(FileNotFoundError(2, "no such file"), name) from error
    if isinstance(error, PermissionError):
        raise errors.network("denied", str(error)[:200], path=name) from error
    found = f"{type(error).__name__}: {error}"[:200]
    message = "the filesystem could not read it"
    raise errors.network("status", message, path=name, found=found) from error


def _protocols(fs: Any) -> tuple[str, ...]:
    return (fs.protocol,) if isinstance(fs.protocol, str) else tuple(fs.protocol)


def _size(info: Any, name: str) -> int:
    size = info.get("size")
    if info.get("type") == "directory":
        raise errors.usage("this is a folder, not a file", found=name)
    if not isinstance(size, int) or size < 0:
        raise errors.network("range", "the filesystem does not tell its length", path=name)
    return size


def _shown(url: str) -> str:
    """Without what may be secret; each link of a chain may hold some."""
    return "::".join(_urls.clean(link) if "://" in link else link for link in url.split("::"))


def _beside(path: str, name: str) -> str:
    """Of a chain, the first link is the file's own."""
    first, colons, rest = path.partition("::")
    folder, slash, _ = first.rpartition("/")
    return f"{folder}{slash}{name}{colons}{rest}"
