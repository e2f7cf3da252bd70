"""What a file must contain to be accepted."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Optional

from . import _deathtensors, errors
from ._arguments import unicode_only
from ._file import DtFile
from ._sharded import ShardedReader, open_any

if TYPE_CHECKING:
    from ._deathtensors import File
    from ._paths import StrPath

#: dtype, shape, metadata keys; None where anything will do
_Expectation = tuple[Optional[str], Optional[tuple[Optional[int], ...]], Optional[tuple[str, ...]]]


class Schema:
    """A list of expected tensors, to check a file's catalogue against.

    >>> import numpy, deathtensors as dt
    >>> dt.save("example.deathtensors", {"w": numpy.zeros((8, 3), "float32")})
    >>> schema = dt.Schema().expect("w", dtype="F32", shape=(None, 3))
    >>> schema.validate("example.deathtensors")
    >>> schema.expect("b").problems("example.deathtensors")  # doctest: +ELLIPSIS
    [...'b'...]
    """

    def __init__(self) -> None:
        self._expectations: dict[str, _Expectation] = {}
        self._extra = False

    def expect(
        self,
        name: str,
        dtype: str | None = None,
        shape: Sequence[int | None] | None = None,
        metadata_keys: Iterable[str] | None = None,
    ) -> Schema:
        """Expect a tensor of that name; a second call for it replaces the first.

        Args:
            name: the tensor's name.
            dtype: the format's name of its dtype, such as "F32"; None for any.
            shape: its shape, in which None or -1 stands for any length; None for
                any shape.
            metadata_keys: keys that its metadata must have; None for any.

        Returns:
            The schema itself, to go on with.
        """
        if not isinstance(name, str):
            raise errors.usage("name must be a string", found=type(name).__name__)
        unicode_only(name, "the name", tensor=name)
        if dtype is not None and not isinstance(dtype, str):
            raise errors.usage(
                "dtype must be a string such as 'F32'", tensor=name, found=repr(dtype)
            )
        unicode_only(dtype or "", "dtype", tensor=name)
        if isinstance(metadata_keys, str):
            raise errors.usage(
                "metadata_keys must be several strings, not one", tensor=name, found=metadata_keys
            )
        metadata_keys = None if metadata_keys is None else tuple(metadata_keys)
        for key in metadata_keys or ():
            if not isinstance(key, str):
                raise errors.usage("metadata_keys must be strings", tensor=name, found=repr(key))
            unicode_only(key, "a metadata key", tensor=name)
        self._expectations[name] = (
            dtype,
            None if shape is None else tuple(None if dim == -1 else dim for dim in shape),
            metadata_keys,
        )
        # Refuses what cannot be meant (an unknown dtype, say) here and not later.
        self._compiled([name])
        return self

    def allow_extra(self, allow: bool = True) -> Schema:
        """Whether a file may have tensors that are not expected; it may not at first.

        Returns:
            The schema itself, to go on with.
        """
        self._extra = bool(allow)
        return self

    def validate(
        self,
        path_or_file: StrPath | DtFile | ShardedReader,
        *,
        limits: Mapping[str, int] | None = None,
    ) -> None:
        """Check a file, or a model in several; nothing is read but headers.

        Args:
            path_or_file: a path (a shard index stands for the whole model), or
                what ``open`` or ``open_sharded`` returned.
            limits: as for ``open``, of a file that is not open yet.

        Raises:
            SchemaError: it does not conform; the line says how.
        """
        if isinstance(path_or_file, (DtFile, ShardedReader)):
            for file, schema in self._parts(path_or_file):
                schema.validate(file)
            return
        with open_any(path_or_file, limits=limits) as opened:
            self.validate(opened)

    def problems(
        self,
        path_or_file: StrPath | DtFile | ShardedReader,
        *,
        limits: Mapping[str, int] | None = None,
    ) -> list[str]:
        """All that is wrong, one line each; empty when the file conforms."""
        if isinstance(path_or_file, (DtFile, ShardedReader)):
            return [
                line for file, schema in self._parts(path_or_file) for line in schema.problems(file)
            ]
        with open_any(path_or_file, limits=limits) as opened:
            return self.problems(opened)

    def _compiled(self, names: Iterable[str]) -> _deathtensors.Schema:
        schema = _deathtensors.Schema()
        schema.allow_extra(self._extra)
        for name in names:
            schema.expect(name, *self._expectations[name])
        return schema

    def _parts(self, reader: DtFile | ShardedReader) -> list[tuple[File, _deathtensors.Schema]]:
        """Which part of the schema each file must meet."""
        if isinstance(reader, DtFile):
            return [(reader._raw, self._compiled(self._expectations))]
        by_shard: dict[str, list[str]] = {}
        for name in self._expectations:
            # A tensor that is nowhere is missing from the index.
            shard = reader.which_shard(name) if name in reader else ""
            by_shard.setdefault(shard, []).append(name)
        parts = [(reader._open_index(), self._compiled(by_shard.get("", [])))]
        for index, shard in enumerate(reader._raw.shard_names()):
            parts.append((reader._raw.shard(index), self._compiled(by_shard.get(shard, []))))
        return parts

    def __repr__(self) -> str:
        extra = ", extra tensors allowed" if self._extra else ""
        return f"<deathtensors.Schema of {len(self._expectations)} tensors{extra}>"
