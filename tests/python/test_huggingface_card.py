"""The model card: the tag goes in, and everything else stays."""

from __future__ import annotations

from importlib import import_module
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deathtensors.huggingface._card import new_card, tagged_card

yaml: Any = import_module("yaml")

BODY = "# Title\n\ntext with --- in it\n---\nand more\n"
CARDS = {
    "no tags": ("license: mit\n", "license: mit\ntags:\n- deathtensors\n"),
    "nothing": ("", "tags:\n- deathtensors\n"),
    "empty": ("tags:\n", "tags:\n- deathtensors\n"),
    "null": (
        "tags: # none yet\nlicense: mit\n",
        "tags: # none yet\n- deathtensors\nlicense: mit\n",
    ),
    "list": ("tags:\n- a\n- b\nx: y\n", "tags:\n- deathtensors\n- a\n- b\nx: y\n"),
    "indented": ("tags:\n  - a\n", "tags:\n  - deathtensors\n  - a\n"),
    "comment": ("tags:\n# those\n\n  - a\n", "tags:\n  - deathtensors\n# those\n\n  - a\n"),
    "inline": ("tags: [a, b] # two\n", "tags: [a, b, deathtensors] # two\n"),
    "inline, empty": ("tags: []\n", "tags: [deathtensors]\n"),
    "spelled null": ("tags: null\nx: 1\n", "tags:\n- deathtensors\nx: 1\n"),
    "tilde": ("tags: ~  # none yet\n", "tags:  # none yet\n- deathtensors\n"),
    "nullable": ("tags: nullable\n", "tags:\n- nullable\n- deathtensors\n"),
    "one": ("tags: a\n", "tags:\n- a\n- deathtensors\n"),
    "quoted": ("tags: 'a: b'\n", "tags:\n- 'a: b'\n- deathtensors\n"),
    "deeper": ("x:\n  tags: [a]\n", "x:\n  tags: [a]\ntags:\n- deathtensors\n"),
}


@pytest.mark.parametrize("name", CARDS)
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_a_tag_is_inserted(name: str, end: str) -> None:
    before, after = CARDS[name]
    card = f"---\n{before}---\n{BODY}".replace("\n", end)
    assert tagged_card(card, library=False) == f"---\n{after}---\n{BODY}".replace("\n", end)
    after += "library_name: deathtensors\n"
    assert tagged_card(card, library=True) == f"---\n{after}---\n{BODY}".replace("\n", end)


def test_a_library_that_is_named_stays() -> None:
    card = "---\nlibrary_name: transformers\n---\n"
    new = tagged_card(card, library=True)
    assert new == "---\nlibrary_name: transformers\ntags:\n- deathtensors\n---\n"


def test_a_card_without_a_front_gets_one() -> None:
    front = "---\nlibrary_name: deathtensors\ntags:\n- deathtensors\n---\n\n"
    assert tagged_card(BODY, library=True) == front + BODY
    assert tagged_card("", library=False) == "---\ntags:\n- deathtensors\n---\n\n"
    assert new_card("org/x", ["a.dt"], library=True).startswith(front + "# x\n")


@pytest.mark.parametrize(
    "front",
    [
        "tags: [deathtensors]\n",  # there already
        "tags:\n- a\n- deathtensors\n",
        "tags: deathtensors\n",
        "tags: [a,\n  b]\n",  # not to be changed with certainty
        "tags: &x [a]\n",
        "tags: >\n  a\n",
        "tags: {a: b}\n",
        "- a\n",
        "a: [\n",
        "tags: 5\n",
    ],
)
def test_what_is_there_or_uncertain_is_left_alone(front: str) -> None:
    assert tagged_card(f"---\n{front}---\n{BODY}", library=False) is None


def test_a_front_that_never_ends_is_left_alone() -> None:
    assert tagged_card("---\nlicense: mit\n", library=True) is None


@given(st.dictionaries(st.sampled_from(["license", "tags", "x", "library_name"]),
                       st.one_of(st.text(max_size=8), st.lists(st.text(max_size=8), max_size=3))),
       st.booleans(), st.text(max_size=20))  # fmt: skip
def test_whatever_a_card_says_it_still_says(data: dict[str, Any], flow: bool, body: str) -> None:
    front = yaml.safe_dump(data, default_flow_style=None if flow else False, allow_unicode=True)
    card = f"---\n{front}---\n{body}"
    new = tagged_card(card, library=True)
    if new is None:
        return
    assert new.endswith(f"---\n{body}")
    said = yaml.safe_load(new[4 : len(new) - len(body) - 4])
    old = yaml.safe_load(front)
    tags = old.pop("tags", None) or []
    assert sorted(said.pop("tags")) == sorted([*([tags] if isinstance(tags, str) else tags),
                                               "deathtensors"])  # fmt: skip
    assert said == {"library_name": "deathtensors", **old}


def test_a_byte_order_mark_stays_at_the_beginning() -> None:
    new = tagged_card(f"\ufeff---\nlicense: mit\n---\n{BODY}", library=False)
    assert new == f"\ufeff---\nlicense: mit\ntags:\n- deathtensors\n---\n{BODY}"
    assert tagged_card(f"\ufeff---\ntags: [deathtensors]\n---\n{BODY}", library=False) is None
    new = tagged_card(f"\ufeff{BODY}", library=False)
    assert new == f"\ufeff---\ntags:\n- deathtensors\n---\n\n{BODY}"
