"""The model card, ``README.md``: a tag by which the Hub finds a model.

The text is changed by inserting lines; nothing of it is written anew, so comments,
order and spelling stay as they are.
"""

from __future__ import annotations

import re
from importlib import import_module
from typing import Any

TAG = "deathtensors"

_FRONT = re.compile(r"\A(\s*---[ \t]*\r?\n)(.*?)(^---[ \t]*(?:\r?\n|\Z))", re.DOTALL | re.MULTILINE)
_TAGS = re.compile(r"^tags[ \t]*:[ \t]*(.*?)[ \t]*(\r?\n|\Z)", re.MULTILINE)
#: Spellings of nothing, in YAML.
_NULLS = ("null", "Null", "NULL", "~")
_ITEM = re.compile(r"(?:[ \t]*(?:#[^\n]*)?\r?\n)*([ \t]*)- ")


def new_card(name: str, files: list[str], *, library: bool) -> str:
    """A card for a repository that has none.

    Args:
        name: ``namespace/name``.
        files: the paths of what is pushed.
        library: whether cards of this kind of repository name a library.
    """
    listed = "\n".join(f"- `{path}`" for path in files)
    return (
        f"---\n{_front(library)}---\n\n# {name.split('/')[-1]}\n\n"
        f"Tensors in the deathtensors format:\n\n{listed}\n"
    )


def tagged_card(text: str, *, library: bool) -> str | None:
    """The card with the tag, and the library's name if it names none.

    Returns:
        None where it has the tag already, or cannot be changed with certainty.
    """
    yaml: Any = import_module("yaml")  # huggingface_hub depends on it
    if text.startswith("\ufeff"):  # as some editors begin a file
        tagged = tagged_card(text[1:], library=library)
        return None if tagged is None else f"\ufeff{tagged}"
    end = "\r\n" if "\r\n" in text else "\n"
    match = _FRONT.match(text)
    if match is None:
        if text.lstrip().startswith("---"):
            return None
        front = _front(library).replace("\n", end)
        return f"---{end}{front}---{end}{end}{text}"
    try:
        before = yaml.safe_load(match[2]) or {}
        old_tags = _tags(before)
        if TAG in old_tags:
            return None
        front = _with_tag(match[2], end)
        if library and "library_name" not in before:
            front += f"library_name: {TAG}{end}"
        after = yaml.safe_load(front)
        wanted = {"library_name": TAG, **before} if library else dict(before)
        kept = {key: value for key, value in after.items() if key != "tags"}
        wanted.pop("tags", None)
        if kept != wanted or sorted(_tags(after)) != sorted([*old_tags, TAG]):
            return None
    except (yaml.YAMLError, AttributeError, TypeError, ValueError):
        return None
    return match[1] + front + match[3] + text[match.end() :]


def _front(library: bool) -> str:
    return f"library_name: {TAG}\ntags:\n- {TAG}\n" if library else f"tags:\n- {TAG}\n"


def _tags(data: Any) -> list[str]:
    tags = data.get("tags") or []
    return [tags] if isinstance(tags, str) else list(tags)


def _with_tag(front: str, end: str) -> str:
    match = _TAGS.search(front)
    if match is None:
        return f"{front}tags:{end}- {TAG}{end}"
    value, stop = match[1], match.end()
    if value.startswith("[") and "]" in value:
        inside, _, rest = value[1:].rpartition("]")
        inside = f"{inside}, {TAG}" if inside.strip() else TAG
        return f"{front[: match.start(1)]}[{inside}]{rest}{front[match.end(1) :]}"
    word, _, comment = value.partition(" ")
    if word in _NULLS and (not comment.strip() or comment.strip().startswith("#")):
        lines = f"tags:{f' {comment}' if comment else ''}{end}- {TAG}{end}"
        return front[: match.start()] + lines + front[stop:]
    if value and not value.startswith("#"):
        lines = f"tags:{end}- {value}{end}- {TAG}{end}"
        return front[: match.start()] + lines + front[stop:]
    item = _ITEM.match(front, stop)
    indent = item[1] if item else ""
    return f"{front[:stop]}{indent}- {TAG}{end}{front[stop:]}"
