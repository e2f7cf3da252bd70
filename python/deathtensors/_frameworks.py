"""From a buffer of the compiled module to a tensor of the framework asked for."""

from __future__ import annotations

from . import errors

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any

    from ._deathtensors import Buffer

    #: buffer, dtype, shape, name -> tensor
    View = Callable[[Buffer, str, Sequence[int], str], Any]

_views: dict[str, View] = {}


def view_for(framework: str) -> View:
    """What turns a buffer into that framework's tensor, without copying.

    Args:
        framework: "torch" (or "pt"), "numpy" (or "np").

    Raises:
        UsageError: there is no such framework.
        MissingPackageError: it is not installed.
    """
    known = isinstance(framework, str)
    view = _views.get(framework) if known else None
    if view is None:
        view = _load(framework if known else None, framework)
        _views[framework] = view
    return view


def _load(name: str | None, given: object) -> View:
    if name in ("torch", "pt"):
        try:
            from ._torch import tensor
        except ModuleNotFoundError as error:
            raise errors.missing_package("torch", "for torch tensors", "torch") from error
        return tensor
    if name in ("numpy", "np"):
        try:
            from ._numpy import array
        except ModuleNotFoundError as error:
            raise errors.missing_package("numpy", "for numpy arrays", "numpy") from error
        return array
    raise errors.usage(
        "unknown framework",
        code="usage.option",
        expected="'torch' or 'numpy'",
        found=repr(given)[:80],
    )
