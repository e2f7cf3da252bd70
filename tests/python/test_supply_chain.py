"""What the packages are made of, and what is in them (docs/supply_chain.md)."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

import artifacts
import pytest

from helpers import ROOT

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

WEB = ROOT / "web"
DENY = tomllib.loads((ROOT / "deny.toml").read_text("utf-8"))
#: Workspaces whose code is handed out, or makes what is.
WORKSPACES = (ROOT, ROOT / "wasm" / "bindgen")
CRATES_IO = "registry+https://github.com/rust-lang/crates.io-index"


@cache
def cargo(workspace: Path) -> Any:
    """What cargo says about a workspace, all targets and features; fails on a stale lock."""
    command = ["cargo", "metadata", "--locked", "--format-version=1", "--all-features"]
    done = subprocess.run(command, cwd=workspace, check=True, capture_output=True)
    return json.loads(done.stdout)


def is_free(licence: str, crate: str = "") -> bool:
    """Whether a licence expression can be met with the licences that are allowed."""
    allowed = set(DENY["licenses"]["allow"])
    for exception in DENY["licenses"]["exceptions"]:
        if exception["crate"] == crate:
            allowed |= set(exception["allow"])
    # Crates of before 2018 write a slash for OR.
    words = re.findall(r"\(|\)|[^()\s]+", re.sub(r"\s*/\s*", " OR ", licence))

    def choice() -> bool:
        met = both()
        while words and words[0] == "OR":
            words.pop(0)
            met = both() or met
        return met

    def both() -> bool:
        met = one()
        while words and words[0] == "AND":
            words.pop(0)
            met = one() and met
        return met

    def one() -> bool:
        word = words.pop(0)
        if word == "(":
            met = choice()
            assert words.pop(0) == ")", licence
            return met
        if words and words[0] == "WITH":
            word = f"{word} {words.pop(0)} {words.pop(0)}"
        return word in allowed

    met = choice()
    assert not words, licence
    return met


def test_licence_expressions_are_understood() -> None:
    assert is_free("MIT/Apache-2.0") and is_free("GPL-3.0 OR MIT")
    assert is_free("(MIT OR GPL-3.0) AND Unicode-3.0")
    assert is_free("Apache-2.0 WITH LLVM-exception")
    assert not is_free("GPL-3.0") and not is_free("MIT AND GPL-3.0")
    assert not is_free("Apache-2.0 WITH Other-exception") and not is_free("(GPL-2.0 OR MPL-2.0)")


@pytest.mark.parametrize("workspace", WORKSPACES, ids=lambda path: path.name)
def test_crates_have_licences_that_are_allowed(workspace: Path) -> None:
    packages = cargo(workspace)["packages"]
    assert len(packages) > 20
    assert [p["name"] for p in packages if not is_free(p["license"] or "none", p["name"])] == []


@pytest.mark.parametrize("workspace", WORKSPACES, ids=lambda path: path.name)
def test_crates_are_locked_and_from_crates_io(workspace: Path) -> None:
    lock = tomllib.loads((workspace / "Cargo.lock").read_text("utf-8"))
    foreign = [p for p in lock["package"] if "source" in p]
    assert {p["source"] for p in foreign} == {CRATES_IO}
    assert all(len(p["checksum"]) == 64 for p in foreign)
    own = {p["name"] for p in lock["package"]} - {p["name"] for p in foreign}
    assert all(name.startswith("deathtensors") for name in own)


@pytest.mark.parametrize("workspace", WORKSPACES, ids=lambda path: path.name)
def test_no_crate_is_there_twice_but_for_stated_exceptions(workspace: Path) -> None:
    versions: dict[str, set[str]] = {}
    for package in cargo(workspace)["packages"]:
        versions.setdefault(package["name"], set()).add(package["version"])
    twice = {name for name, found in versions.items() if len(found) > 1}
    assert twice == {skipped.split("@")[0] for skipped in DENY["bans"]["skip"]}


def test_no_crate_that_is_handed_out_is_there_twice() -> None:
    for package in ("deathtensors", "deathtensors-python"):
        command = ["cargo", "tree", "--locked", "--duplicates", "--target=all"]
        command += ["--edges=normal", "--package", package]
        done = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True)
        assert done.stdout == "", done.stdout


def test_every_crate_that_is_depended_on_has_its_reason_stated() -> None:
    handed_out = {"deathtensors-core", "deathtensors", "deathtensors-python", "deathtensors-wasm"}
    direct = {
        dependency["name"]
        for package in cargo(ROOT)["packages"]
        if package["name"] in handed_out
        for dependency in package["dependencies"]
        if dependency["kind"] is None and dependency["source"] is not None
    }
    page = (ROOT / "docs" / "supply_chain.md").read_text("utf-8")
    assert set(re.findall(r"^\| `([\w-]+)` \|", page, re.MULTILINE)) == direct


def test_the_npm_package_needs_no_other() -> None:
    package = json.loads((WEB / "package.json").read_text("utf-8"))
    wanted = {key for key in package if "ependencies" in key.lower()}
    assert wanted == {"devDependencies"}
    assert not {"install", "preinstall", "postinstall", "prepare"} & set(package["scripts"])


def test_npm_packages_are_locked_and_from_nowhere_else() -> None:
    lock = json.loads((WEB / "package-lock.json").read_text("utf-8"))
    locked = {name: entry for name, entry in lock["packages"].items() if name}
    assert len(locked) > 100
    for name, entry in locked.items():
        assert entry["dev"] is True, name
        assert entry["integrity"].startswith("sha512-"), name
        assert entry.get("resolved", "https://registry.npmjs.org/").startswith(
            "https://registry.npmjs.org/"
        ), name
    # `npm ci` refuses a lock that leaves out what other platforms need.
    for name, entry in locked.items():
        for needed in entry.get("optionalDependencies", {}):
            assert {f"{name}/node_modules/{needed}", f"node_modules/{needed}"} & set(locked), needed


def test_the_npm_package_holds_what_is_meant(tmp_path: Path) -> None:
    command = ["npm", "pack", "--json", "--ignore-scripts", "--pack-destination", str(tmp_path)]
    subprocess.run(command, cwd=WEB, check=True, capture_output=True)
    (archive,) = tmp_path.iterdir()
    assert artifacts.check(archive) == []
    names = {member.name for member in artifacts.members(archive)}
    assert {"package/dist/index.js", "package/dist/index.d.ts", "package/LICENSE"} <= names


def test_the_python_package_needs_no_other() -> None:
    wanted = metadata.requires("deathtensors") or []
    assert wanted
    assert [line for line in wanted if "extra ==" not in line] == []


def test_the_python_package_holds_what_is_meant() -> None:
    files = metadata.files("deathtensors")
    assert files
    # What pip adds when it installs.
    added = re.compile(
        r".*\.pyc|\.\./.*/deathtensors(\.exe)?|.*\.dist-info/(INSTALLER|REQUESTED|direct_url\.json)"
    )
    inside = [file for file in files if not added.fullmatch(file.as_posix())]
    assert any(file.suffix in (".so", ".pyd") for file in inside)
    assert any(file.name == "index.html" for file in inside)
    found = []
    for file in inside:
        path = Path(str(file.locate()))
        member = artifacts.Member(file.as_posix(), path.stat().st_mode & ~0o022, path.read_bytes())
        found += artifacts.faults(member, artifacts.WHEEL)
    assert found == []


def test_what_does_not_belong_is_found() -> None:
    def faults(name: str, mode: int = 0o100644, data: bytes = b"") -> list[str]:
        return artifacts.faults(artifacts.Member(name, mode, data), artifacts.WHEEL)

    assert faults("deathtensors/cli/run.py") == []
    assert faults("deathtensors/notes.txt") and faults("secrets.py")
    assert faults("deathtensors/__init__.py", 0o104755)
    assert faults("deathtensors/__init__.py", 0o120777)
    assert faults("deathtensors/__init__.py", data=b"..." + bytes(ROOT / "core"))


def test_debug_information_is_found(tmp_path: Path) -> None:
    source = tmp_path / "empty.c"
    source.write_text("int main(void) { return 0; }\n")
    for flag, there in (("-g", True), ("-g0", False)):
        built = tmp_path / "built"
        subprocess.run(["cc", flag, source, "-o", built], check=True)
        found = artifacts.debug_sections(built.read_bytes())
        assert bool(found) == there


def test_every_build_is_of_locked_dependencies() -> None:
    """A recipe that forgets it builds whatever was published last."""
    bare = re.compile(r"cargo (build|test|run|clippy|install|metadata|check)\b(?!.*--locked)")
    scripts = [ROOT / "Makefile", *(ROOT / "tests" / "tools").glob("*.sh")]
    for path in scripts:
        text = re.sub(r"\\\n", " ", path.read_text("utf-8"))
        lines = [line for line in text.splitlines() if not line.lstrip().startswith("#")]
        assert [line for line in lines if bare.search(line)] == [], path.name
