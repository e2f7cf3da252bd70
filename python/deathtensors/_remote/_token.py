"""Who asks the Hub."""

from __future__ import annotations

import os
from typing import Any

from .. import errors
from .._spelling import spelled
from ._hub_words import how_to_log_in

_VARIABLES = ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN")


def token(option: str | bool | None, hub: Any) -> str | None:
    """The token to show: the option's, the environment's, or that of the stored login.

    Args:
        option: of ``RemoteOptions``.
        hub: the package huggingface_hub.

    Raises:
        UsageError: the option is True, and there is none.
    """
    if isinstance(option, str):
        return option
    unasked = option is None and hub.constants.HF_HUB_DISABLE_IMPLICIT_TOKEN
    if option is False or unasked:
        return None
    found = next(filter(None, (os.environ.get(name, "").strip() for name in _VARIABLES)), None)
    found = found or hub.get_token()
    if found is None and option is True:
        how = how_to_log_in(spelled("remote token"))
        message = f"{spelled('any token')}, but nobody is logged in: {how}"
        raise errors.usage(message, code="usage.option")
    return found
