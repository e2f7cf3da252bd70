"""What an open file and an open sharded model have in common."""

from __future__ import annotations

from . import errors
from ._frameworks import view_for

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import TracebackType
    from typing import Any, TypeVar

    from ._deathtensors import Buffer, File, Progress, Sharded
    from ._frameworks import View

    Self = TypeVar("Self", bound="Reader")


class Reader:
    """Named tensors in one or several files. Safe to use from several threads."""

    _raw: File | Sharded

    # --- where a tensor is; the two kinds of reader differ only in this

    def _file(self, name: str) -> File:
        """The open file that holds that tensor."""
        raise NotImplementedError

    def _files(self) -> Iterator[File]:
        """Every file that holds tensors, in order."""
        raise NotImplementedError

    # --- the catalogue

    def keys(self) -> list[str]:
        """The names of all tensors, in the order in which they were saved."""
        return self._raw.keys()

    def __len__(self) -> int:
        return len(self._raw)

    def __iter__(self) -> Iterator[str]:
        return iter(self._raw.keys())

    def __contains__(self, name: object) -> bool:
        try:
            return name in self._raw
        except UnicodeEncodeError:  # a lone surrogate is in no name
            return False

    def info(self, name: str) -> dict[str, Any]:
        """What the header says about one tensor.

        Returns:
            name, dtype, torch_dtype, numpy_dtype, shape, data_offsets (in bytes from
            the start of the data, end exclusive), nbytes, metadata, and sha256 where
            the file carries digests.

        Raises:
            TensorNotFoundError: no tensor has that name.
        """
        return self._file(name).info(name)

    def infos(self) -> list[dict[str, Any]]:
        """``info()`` of every tensor, in order; cheaper than one by one."""
        return [info for file in self._files() for info in file.infos()]

    def metadata(self) -> dict[str, str]:
        """The metadata of the file as a whole."""
        return self._raw.metadata()

    # --- bytes

    def get_bytes(self, name: str) -> bytes:
        """A copy of one tensor's bytes: little-endian, row-major.

        Raises:
            TensorNotFoundError: no tensor has that name.
        """
        return copied(self._file(name), name)

    def get_buffer(self, name: str) -> memoryview:
        """One tensor's bytes as a read-only memoryview.

        Nothing is copied where the file is mapped and not compressed. The view
        stays valid after ``close()``.

        Raises:
            TensorNotFoundError: no tensor has that name.
        """
        return memoryview(self._file(name).buffer(name, writable=False)).toreadonly()

    # --- tensors

    def get_tensor(self, name: str, framework: str = "torch") -> Any:
        """Read one tensor.

        From an uncompressed file this is a view of a private mapping: instant, and
        writing to it changes neither the file nor another process's view. Two reads
        of one tensor may share memory: ``clone()`` a tensor to have it for yourself.
        From a compressed file only the frames of this tensor are decompressed.

        Args:
            name: the tensor's name.
            framework: "torch" or "numpy". Where numpy itself lacks the dtype (bf16,
                fp8), the array has a dtype of the ``ml_dtypes`` package.

        Raises:
            TensorNotFoundError: no tensor has that name.
            UsageError: the framework has no such dtype (``get_bytes`` still works).
            MissingPackageError: the framework is not installed.
        """
        file = self._file(name)
        view = view_for(framework)
        info = file.info(name)
        return view(file.buffer(name), info["dtype"], info["shape"], name)

    def get_tensor_mmap(self, name: str, framework: str = "torch") -> Any:
        """Read one tensor as a view of the mapped file, or refuse.

        The same as ``get_tensor``, but never a copy.

        Raises:
            TensorNotFoundError: no tensor has that name.
            UsageError: a copy would be needed: the file is compressed, or not
                mapped, or holds the tensor at an address that does not suit its dtype.
        """
        file = self._file(name)
        view = view_for(framework)
        info = file.info(name)
        if file.is_compressed() and info["nbytes"]:
            raise _not_mapped(name, "the file is compressed")
        buffer = file.buffer(name)
        if buffer.nbytes and not buffer.is_view:
            raise _not_mapped(name, "it is not mapped, or not aligned for its dtype")
        return view(buffer, info["dtype"], info["shape"], name)

    def get_tensor_slice(
        self, name: str, start: int = 0, count: int | None = None, framework: str = "torch"
    ) -> Any:
        """Read some rows of one tensor, and only their bytes.

        Args:
            name: the tensor's name.
            start: the first row, along the first axis, from 0.
            count: how many rows; None for all that follow.
            framework: "torch" or "numpy".

        Returns:
            A tensor of shape ``[count, *shape[1:]]``.

        Raises:
            TensorNotFoundError: no tensor has that name.
            UsageError: the rows reach outside the tensor, or it is a scalar.
        """
        file = self._file(name)
        view = view_for(framework)
        info = file.info(name)
        first = _row_number(start, "start", name)
        rows = None if count is None else _row_number(count, "count", name)
        buffer = file.buffer(name, first, rows)
        shape = info["shape"]
        return view(
            buffer,
            info["dtype"],
            [shape[0] - first if rows is None else rows, *shape[1:]],
            name,
        )

    def get_tensors(
        self, framework: str = "torch", *, progress: Progress | None = None
    ) -> dict[str, Any]:
        """Read all tensors, in parallel where there is work to do.

        Names that were saved tied come back sharing memory.

        Args:
            framework: "torch" or "numpy".
            progress: called now and then with bytes done and bytes in all.

        Returns:
            Tensors by name, in the order of ``keys()``.
        """
        view = view_for(framework)
        found: dict[str, Any] = {}
        parts = held = 0
        for file in self._files():
            parts += 1
            held += _view_all(file, view, progress, held, found)
        return found if parts == 1 else {name: found[name] for name in self.keys()}

    def items(self, framework: str = "torch") -> Iterator[tuple[str, Any]]:
        """Name and tensor, one after the other, so that one is in use at a time."""
        for name in self.keys():
            yield name, self.get_tensor(name, framework)

    # --- measures and checks

    def stats(self, name: str) -> dict[str, Any]:
        """Measure one tensor in one pass, without making it a Python object.

        Returns:
            dtype, shape, nbytes, count; min, max, mean, stddev, absmax and l2 over
            the finite values (exact integers for integer dtypes, magnitudes for
            complex ones); nnz (values that are not zero, as numpy counts them);
            nan, posinf and neginf (how many of each).

        Raises:
            TensorNotFoundError: no tensor has that name.
        """
        return self._file(name).stats(name)

    def all_stats(self, *, progress: Progress | None = None) -> dict[str, dict[str, Any]]:
        """``stats()`` of every tensor, by name, on all cores."""
        found: dict[str, dict[str, Any]] = {}
        for file in self._files():
            found.update(file.all_stats(progress=progress))
        return {name: found[name] for name in self.keys()}

    def verify(self, name: str | None = None, *, progress: Progress | None = None) -> bool:
        """Check the bytes against what the file carries to check them by.

        Args:
            name: one tensor, checked by its digest; None for everything: footer,
                root and every digest, on all cores.
            progress: called now and then with bytes done and bytes in all.

        Returns:
            True when everything was checked and agrees; False when the file carries
            no footer, and no digest for (some of) what was to be checked.

        Raises:
            IntegrityError: something differs. ``verify_report()`` says all that does.
            TensorNotFoundError: no tensor has that name.
        """
        if name is not None:
            return self._file(name).verify_tensor(name)
        report = self.verify_report(progress=progress)
        raise_first_failure(report)
        return is_verified(report)

    def verify_report(self, *, progress: Progress | None = None) -> dict[str, Any]:
        """Check like ``verify()``, but tell rather than raise.

        Returns:
            footer, root and frames: True, False, or None where the file carries
            nothing to check by; tensors: the same by name; errors: what ``verify()``
            would raise, for each thing that differs.
        """
        raise NotImplementedError

    # --- life

    def close(self) -> None:
        """Let go of the file. Tensors and buffers already read stay valid."""
        self._raw.close()

    def __enter__(self: Self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


def copied(file: File, name: str) -> bytes:
    """A copy of one tensor's bytes, or an error in our words where there is no room."""
    try:
        return file.get_bytes(name)
    except MemoryError:
        raise errors.no_memory(name, file.info(name)["nbytes"]) from None


def _view_all(
    file: File, view: View, progress: Progress | None, held: int, into: dict[str, Any]
) -> int:
    """Add a file's tensors to those of other files, for which ``held`` bytes were copied.

    Returns:
        How many bytes were copied for these.
    """
    infos = file.infos()
    # Tied names share one Buffer; the framework's view of it is made once, so that
    # they share a storage too and not merely an address.
    seen: dict[int, Any] = {}
    buffers: list[Buffer] = file.buffers(
        [info["name"] for info in infos], held=held, progress=progress
    )
    tied = len(set(map(id, buffers))) < len(buffers)
    for info, buffer in zip(infos, buffers):
        name = info["name"]
        dtype = info["dtype"]
        shape = info["shape"]
        if tied:
            first = seen.get(id(buffer))
            if first is not None and first[0] == dtype and first[1] == shape:
                into[name] = _alias(first[2])
                continue
        into[name] = value = view(buffer, dtype, shape, name)
        if tied:
            seen[id(buffer)] = (dtype, shape, value)
    copies = {id(buffer): buffer.nbytes for buffer in buffers if not buffer.is_view}
    return sum(copies.values())


def _alias(value: Any) -> Any:
    # A torch view would drag autograd's bookkeeping along; detach() does not.
    return value.detach() if hasattr(value, "detach") else value.view()


def is_verified(report: dict[str, Any]) -> bool:
    """Whether a report leaves nothing unchecked and nothing wrong."""
    if report["errors"]:
        return False
    if report["footer"]:
        return True
    return bool(report["root"]) and all(report["tensors"].values())


def raise_first_failure(report: dict[str, Any]) -> None:
    """Raise for the first thing that a report found wrong, if anything."""
    for error in report["errors"]:
        raise error


def _not_mapped(name: str, why: str) -> errors.DeathTensorsError:
    return errors.usage(
        f"cannot be a view of the file, because {why}; use get_tensor()",
        code="usage.unavailable",
        tensor=name,
    )


def _row_number(value: object, what: str, name: str) -> int:
    index = getattr(type(value), "__index__", None)
    number = None if index is None else index(value)
    if number is None or not 0 <= number < 2**63:
        raise errors.usage(
            f"{what} is out of range",
            code="usage.range",
            tensor=name,
            expected="an integer of at least 0",
            found=repr(value),
        )
    return int(number)
