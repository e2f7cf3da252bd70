"""Examples in the README, the specification and the docstrings do what they say."""

from __future__ import annotations

import doctest
import importlib
import pkgutil
import re
import warnings
from pathlib import Path

import pytest

import deathtensors
from helpers import ROOT, safetensors_file
from hub import Hub
from hub_fixtures import hub

__all__ = ["hub"]  # a fixture

PAGES = sorted(
    {
        ROOT / "README.md",
        ROOT / "SECURITY.md",
        ROOT / "python" / "README.md",
        *ROOT.glob("docs/*.md"),
    }
)
BLOCK = re.compile(r"^```python\n(.*?)^```", re.MULTILINE | re.DOTALL)


@pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")
@pytest.mark.parametrize("page", PAGES, ids=lambda p: str(p.relative_to(ROOT)))
def test_python_blocks_run(page: Path, hub: Hub) -> None:
    """All blocks of a page run one after the other, in one fresh folder.

    The Hub that they speak to is the model of it, and has a model to convert.
    """
    Path("older").write_bytes(safetensors_file([("w", "F32", [2], bytes(8))]))
    hub.put("org/older", {"model.safetensors": "older"})
    space: dict[str, object] = {"__name__": "__main__"}
    for number, block in enumerate(BLOCK.findall(page.read_text("utf-8")), 1):
        if ">>>" in block:
            test = doctest.DocTestParser().get_doctest(block, space, page.name, str(page), 0)
            runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS)
            assert runner.run(test, clear_globs=False).failed == 0, block
        else:
            exec(compile(block, f"{page.name}, block {number}", "exec"), space)


def test_the_readme_has_examples() -> None:
    assert BLOCK.findall((ROOT / "README.md").read_text("utf-8"))


def modules() -> list[str]:
    found = ["deathtensors"]
    for module in pkgutil.walk_packages(deathtensors.__path__, "deathtensors."):
        if not module.name.endswith("__main__"):
            found.append(module.name)
    return found


@pytest.mark.parametrize("name", modules())
def test_docstring_examples_run(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MODELS", "/unset")  # an example sets it
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        module = importlib.import_module(name)
        assert doctest.testmod(module, optionflags=doctest.ELLIPSIS).failed == 0


def test_links_in_the_pages_lead_somewhere() -> None:
    for page in PAGES:
        text = page.read_text("utf-8")
        for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", text):
            assert (page.parent / target).exists(), f"{page.name}: {target}"
        anchors = {
            re.sub(r"[^\w\- ]", "", line.lstrip("# ").lower()).replace(" ", "-")
            for line in text.splitlines()
            if line.startswith("#")
        }
        for anchor in re.findall(r"\]\(#([^)]+)\)", text):
            assert anchor in anchors, f"{page.name}: #{anchor}"


def test_no_page_names_this_workplace() -> None:
    for page in PAGES:
        text = page.read_text("utf-8")
        for word in ("/" + "work/", "/" + "root/", "/tmp/" + "peer"):
            assert word not in text, page
