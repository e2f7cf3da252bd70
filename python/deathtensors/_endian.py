"""The file is little-endian; this turns bytes round on hosts that are not."""

from __future__ import annotations

import array
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

BIG = sys.byteorder == "big"

# Widths of what is turned round: a complex number is two parts.
WIDTHS = {
    **dict.fromkeys(("U16", "I16", "F16", "BF16"), 2),
    **dict.fromkeys(("U32", "I32", "F32", "C64"), 4),
    **dict.fromkeys(("U64", "I64", "F64", "C128"), 8),
}
_CODES = {array.array(code).itemsize: code for code in "HILQ"}


def swapped(data: Any, dtype: str) -> Any:
    """A copy of a tensor's bytes in the other byte order.

    Args:
        data: any C-contiguous buffer.
        dtype: the format's name, which says how wide a number is.
    """
    width = WIDTHS.get(dtype, 1)
    if width == 1:
        return data
    turned = array.array(_CODES[width])
    turned.frombytes(memoryview(data).cast("B"))
    turned.byteswap()
    return turned
