"""Exceptions: one base class, one subclass for each kind, stable codes.

Programs read ``kind`` and ``code`` (the table is in the specification), people
read the one line that ``str()`` gives. Each subclass is also the builtin that a
Python programmer would catch: a missing tensor is a ``KeyError``, a missing file
a ``FileNotFoundError``, misuse a ``ValueError``.

>>> import deathtensors as dt
>>> try:
...     dt.open("no such file.deathtensors")
... except FileNotFoundError as error:
...     print(error.kind, error.code)
not_found not_found.file
"""

from __future__ import annotations

import errno as _errno
import os

from ._spelling import spelled

__all__ = [
    "DeathTensorsError",
    "FileAccessError",
    "FormatError",
    "IntegrityError",
    "LimitError",
    "MissingFileError",
    "MissingPackageError",
    "NetworkError",
    "PermissionDeniedError",
    "RemoteDeniedError",
    "RemoteMissingError",
    "SchemaError",
    "TensorNotFoundError",
    "UnsupportedError",
    "UsageError",
]


class DeathTensorsError(ValueError):
    """Any refusal by this library.

    Attributes:
        kind: coarse word: format, unsupported, limit, integrity, usage,
            not_found, schema, io or network.
        code: stable spelling of exactly what was wrong, such as
            ``header.duplicate_key``.
        tensor: name of the tensor it is about.
        expected: what would have been right, with its unit.
        found: what was there instead, with its unit.
        path: path of the file it is about.

    Each is None where it does not apply. Errors can be pickled and copied.
    """

    kind: str | None
    code: str | None
    tensor: str | None
    expected: str | None
    found: str | None
    path: str | None

    def __init__(
        self,
        message: str = "",
        *,
        kind: str | None = None,
        code: str | None = None,
        tensor: str | None = None,
        expected: str | None = None,
        found: str | None = None,
        path: str | None = None,
    ) -> None:
        super().__init__(message)
        self.kind = kind
        self.code = code
        self.tensor = tensor
        self.expected = expected
        self.found = found
        self.path = path

    # KeyError would show the line in quotes, OSError with "[Errno …]".
    def __str__(self) -> str:
        return str(self.args[0]) if self.args else ""

    # OSError and ImportError have their own, which knows nothing of our fields.
    def __reduce__(self) -> tuple[object, ...]:
        return _restore, (type(self), str(self), self._fields())

    def _fields(self) -> dict[str, object]:
        return {
            "kind": self.kind,
            "code": self.code,
            "tensor": self.tensor,
            "expected": self.expected,
            "found": self.found,
            "path": self.path,
        }


class FormatError(DeathTensorsError):
    """The bytes are not this format, or break its rules."""


class UnsupportedError(DeathTensorsError, NotImplementedError):
    """The file is well formed but needs something that this version lacks."""


class LimitError(DeathTensorsError):
    """The file asks for more than a limit allows (see ``limits`` of ``open``)."""


class IntegrityError(DeathTensorsError):
    """The bytes are not the ones that were written: a digest disagrees."""


class SchemaError(DeathTensorsError):
    """The file does not meet a ``Schema``."""


class UsageError(DeathTensorsError):
    """The call asks for something that cannot be."""


class MissingPackageError(UsageError, ImportError):
    """The call needs an optional package that is not installed."""


class TensorNotFoundError(DeathTensorsError, KeyError):
    """No tensor has that name."""


class FileAccessError(DeathTensorsError, OSError):
    """The operating system refused; ``errno`` and ``filename`` are as usual."""

    def __init__(
        self,
        message: str = "",
        *,
        kind: str | None = None,
        code: str | None = None,
        tensor: str | None = None,
        expected: str | None = None,
        found: str | None = None,
        path: str | None = None,
        errno: int | None = None,
    ) -> None:
        super().__init__(
            message,
            kind=kind,
            code=code,
            tensor=tensor,
            expected=expected,
            found=found,
            path=path,
        )
        self.errno = errno
        self.strerror = os.strerror(errno) if errno is not None else message
        self.filename = path

    def _fields(self) -> dict[str, object]:
        return {**super()._fields(), "errno": self.errno}


class MissingFileError(FileAccessError, FileNotFoundError):
    """No file has that path."""


class PermissionDeniedError(FileAccessError, PermissionError):
    """The operating system denied permission."""


class NetworkError(FileAccessError):
    """A remote file could not be reached, or not be read as it must be.

    Attributes:
        status: the HTTP status of the answer that it is about; None where there
            was none.

    Its codes:

    - ``network.status``: an answer that says failure, such as 500;
    - ``network.denied``: 401 or 403: it takes a token, or permission;
    - ``network.not_found``: no such file, revision or repository;
    - ``network.range``: the server ignores ranges, or sends another range;
    - ``network.changed``: the file changed while it was read;
    - ``network.truncated``: the connection broke off within an answer;
    - ``network.offline``: the server cannot be reached;
    - ``network.timeout``: the server said nothing for too long;
    - ``network.hub``: the Hub's answer cannot be understood.

    A transfer that would exceed ``budget_bytes`` is a ``LimitError`` with the code
    ``limit.transfer_bytes``.
    """

    status: int | None

    def __init__(
        self,
        message: str = "",
        *,
        kind: str | None = "network",
        code: str | None = None,
        tensor: str | None = None,
        expected: str | None = None,
        found: str | None = None,
        path: str | None = None,
        errno: int | None = None,
        status: int | None = None,
    ) -> None:
        super().__init__(
            message,
            kind=kind,
            code=code,
            tensor=tensor,
            expected=expected,
            found=found,
            path=path,
            errno=errno,
        )
        self.status = status

    def _fields(self) -> dict[str, object]:
        return {**super()._fields(), "status": self.status}


class RemoteMissingError(NetworkError, MissingFileError):
    """No remote file, revision or repository has that name."""


class RemoteDeniedError(NetworkError, PermissionDeniedError):
    """The remote file takes a token, or permission."""


_BY_KIND: dict[str, type[DeathTensorsError]] = {
    "format": FormatError,
    "unsupported": UnsupportedError,
    "limit": LimitError,
    "integrity": IntegrityError,
    "usage": UsageError,
    "not_found": TensorNotFoundError,
    "schema": SchemaError,
    "io": FileAccessError,
    "network": NetworkError,
}
_BY_ERRNO: dict[int, type[FileAccessError]] = {
    _errno.ENOENT: MissingFileError,
    _errno.EACCES: PermissionDeniedError,
    _errno.EPERM: PermissionDeniedError,
}


def make(
    code: str,
    kind: str,
    message: str,
    tensor: str | None = None,
    expected: str | None = None,
    found: str | None = None,
    path: str | None = None,
    errno: int | None = None,
) -> DeathTensorsError:
    """The exception for a code. The compiled module builds all of its errors here.

    Args:
        message: the whole line that ``str()`` gives.
        errno: the operating system's number, where it was its refusal.
    """
    fields: dict[str, object] = {
        "kind": kind,
        "code": code,
        "tensor": tensor,
        "expected": expected,
        "found": found,
        "path": path,
    }
    if code == "not_found.file":
        return _restore(MissingFileError, message, {**fields, "errno": errno or _errno.ENOENT})
    if kind == "io":
        access = FileAccessError if errno is None else _BY_ERRNO.get(errno, FileAccessError)
        return _restore(access, message, {**fields, "errno": errno})
    return _restore(_BY_KIND.get(kind, DeathTensorsError), message, fields)


def _restore(
    cls: type[DeathTensorsError], message: str, fields: dict[str, object]
) -> DeathTensorsError:
    return cls(message, **fields)  # type: ignore[arg-type]


# --- errors that the Python side finds by itself


def usage(
    message: str,
    *,
    code: str = "usage.value",
    tensor: str | None = None,
    expected: str | None = None,
    found: str | None = None,
) -> DeathTensorsError:
    """Misuse, found before the compiled module is asked."""
    line = _line(message, tensor, expected, found)
    return make(code, "usage", line, tensor, expected, found)


def no_tensor(name: str, hint: str | None = None) -> DeathTensorsError:
    """A name that no tensor has; ``hint`` says what the file is instead."""
    more = "" if hint is None else f"; this is {hint}"
    line = f"tensor '{_printable(name)}': no tensor has that name{more}"
    return make("not_found.tensor", "not_found", line, name)


def no_memory(tensor: str, nbytes: int) -> DeathTensorsError:
    """A copy for which the interpreter has no room."""
    line = _line(f"not enough memory for {nbytes} bytes", tensor, None, None)
    return make("io.failed", "io", line, tensor)


def invalid_sparse(
    message: str, tensor: str, *, expected: str | None = None, found: str | None = None
) -> DeathTensorsError:
    """A sparse group that does not make a tensor."""
    line = _line(message, tensor, expected, found)
    return make("sparse.invalid", "format", line, tensor, expected, found)


def missing_package(package: str, why: str, install: str) -> MissingPackageError:
    """An optional package that a call needs."""
    return MissingPackageError(
        f"{package} is needed {why}; install it with `pip install {install}`",
        kind="usage",
        code="usage.unavailable",
    )


def network(
    code: str,
    message: str,
    *,
    path: str,
    status: int | None = None,
    expected: str | None = None,
    found: str | None = None,
) -> NetworkError:
    """A failure of a transfer.

    Args:
        code: what follows ``network.``.
        message: what happened, and what to do about it.
        path: where the file is, without secrets.
        status: the HTTP status that it is about.
    """
    line = _line(f"{path}: {message}", None, expected, found)
    kinds = {"not_found": RemoteMissingError, "denied": RemoteDeniedError}
    return kinds.get(code, NetworkError)(
        line, code=f"network.{code}", path=path, status=status, expected=expected, found=found
    )


def over_budget(path: str, budget: int, needed: int) -> DeathTensorsError:
    """A transfer that would exceed its budget; both are in bytes."""
    expected, found = f"at most {budget} bytes", f"{needed} bytes"
    message = f"{path}: the transfer would exceed {spelled('budget')}; nothing was asked for"
    line = _line(message, None, expected, found)
    return make("limit.transfer_bytes", "limit", line, None, expected, found, path)


def closed(path: str) -> DeathTensorsError:
    """Something that was closed is asked again."""
    return make("usage.closed", "usage", _printable(f"{path}: the file was closed"), path=path)


def from_os_error(error: OSError, path: str) -> DeathTensorsError:
    """Python's own I/O error as one of ours."""
    code, kind = "io.failed", "io"
    if isinstance(error, FileNotFoundError):
        code, kind = "not_found.file", "not_found"
    line = f"{_printable(path)}: {error.strerror or error}"
    return make(code, kind, line, path=path, errno=error.errno)


def _line(message: str, tensor: str | None, expected: str | None, found: str | None) -> str:
    start = f"tensor '{_printable(tensor)}': " if tensor is not None else ""
    notes = [
        f"{word} {_printable(text)}"
        for word, text in (("expected", expected), ("found", found))
        if text is not None
    ]
    end = f" ({', '.join(notes)})" if notes else ""
    return f"{start}{_printable(message)}{end}"


def _printable(text: str) -> str:
    from ._text import printable

    return printable(text)
