"""The files that every reader must refuse: one fault each, named by its code.

``tensor`` is the name that the error must carry, or null where none is at fault.
``when`` is the first moment at which a reader can know: ``open`` from prefix and
header, ``read`` when the tensor's bytes are asked for (for a seek table: when it
is first needed), ``verify`` when digests are checked.
"""

from __future__ import annotations

from collections.abc import Iterator

import refused_frames
import refused_header
import refused_tensors
from refusal import Vector


def vectors() -> Iterator[Vector]:
    for module in (refused_header, refused_tensors, refused_frames):
        yield from module.vectors()
