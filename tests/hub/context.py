"""What the endpoints of the first origin have in common."""

from __future__ import annotations

from dataclasses import dataclass

from .cdn import Cdn
from .faults import Switches
from .store import Store


@dataclass
class Context:
    """Where things are kept, and where clients find them."""

    store: Store
    cdn: Cdn
    switches: Switches
    url: str = ""  # known once it listens
