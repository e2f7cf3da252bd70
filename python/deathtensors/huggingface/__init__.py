"""Files on the Hugging Face Hub: push, load, list, convert.

All of it stands on the Hub's own client, ``huggingface_hub``, which is imported
when a function is first called: its login, its cache, its mirrors (``HF_ENDPOINT``)
and its offline mode are the ones that are used here.

>>> from deathtensors.huggingface import load_from_hub, push_to_hub
>>> push_to_hub("org/model", "model.deathtensors")  # doctest: +SKIP
'https://huggingface.co/org/model/blob/main/model.deathtensors'
>>> with load_from_hub("org/model", "model.deathtensors") as f:  # doctest: +SKIP
...     weight = f.get_tensor("weight")

The token is the argument; else ``HF_TOKEN``; else ``HUGGING_FACE_HUB_TOKEN``; else
the login that ``hf auth login`` stored. ``token=False`` is nobody's.

What the Hub refuses is a ``NetworkError`` that says what to do: ``network.denied``
(no token, or one that may not), ``network.not_found`` (no such repository, revision
or file, with the nearest names), ``network.changed`` (somebody committed meanwhile),
``network.offline`` and ``network.timeout``.
"""

from __future__ import annotations

from ._convert import convert_safetensors_on_hub
from ._load import (
    HubCachedFile,
    hub_model_info,
    list_repo_models,
    load_from_hub,
    load_sharded_from_hub,
)
from ._push import push_sharded_to_hub, push_to_hub

__all__ = [
    "HubCachedFile",
    "convert_safetensors_on_hub",
    "hub_model_info",
    "list_repo_models",
    "load_from_hub",
    "load_sharded_from_hub",
    "push_sharded_to_hub",
    "push_to_hub",
]
