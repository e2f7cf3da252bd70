"""Whatever is shown is text: no names, paths, addresses or errors move the cursor."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import deathtensors as dt
from deathtensors.remote import RemoteOptions
from fuzzing import ACTED_UPON, command
from hub import Hub
from hub_fixtures import REPO
from hub_fixtures import hub as hub
from webserver import Web

pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")

#: ANSI, bell, C1, bidi, newline, carriage return, tab, zero width, a mark of byte order.
EVIL = "a\x1b[2J\x07\x9b31m\u202e\u2066\r\n\t\u200b\u200d\ufeff\u2028\x7fz"
#: The same where a file system takes it.
NAME = EVIL + ".deathtensors"


@pytest.fixture
def files(tmp_path: Path) -> dict[str, str]:
    """Files whose names, tensors and metadata are all evil."""
    metadata = {EVIL: {EVIL: EVIL}}
    dt.save(NAME, {EVIL: np.ones(3), "b": np.zeros(2)}, metadata, {EVIL: EVIL}, digests=True)
    dt.save(f"other{NAME}", {EVIL: np.ones(4), f"{EVIL}2": np.zeros(2)}, metadata, {"x": EVIL})
    dt.save_sharded("index.deathtensors", {EVIL: np.ones(3)}, 8, global_metadata={EVIL: EVIL})
    dt.to_safetensors(NAME, f"{EVIL}.safetensors")
    damaged = bytearray(Path(NAME).read_bytes())
    damaged[-1] ^= 1
    Path(f"damaged{NAME}").write_bytes(damaged)
    Path(f"none{NAME}").write_bytes(EVIL.encode())
    return {"f": NAME, "o": f"other{NAME}", "i": "index.deathtensors", "s": f"{EVIL}.safetensors",
            "d": f"damaged{NAME}", "n": f"none{NAME}", "t": EVIL, "m": f"missing{EVIL}",
            "w": f"new{NAME}", "u": f"http://127.0.0.1:1/{EVIL}"}  # fmt: skip


COMMANDS = [
    "info {f}", "info {i}", "info {n}", "info {m}", "info {s}", "info {u}", "list {f}",
    "list -l {f}", "list {i}", "stats {f}", "stats {f} {t}", "stats {f} {m}", "stats {i}",
    "verify {f}", "verify {d}", "verify {d} b", "verify {f} {m}", "verify {i}", "root {f}",
    "root {o}", "diff {f} {o}", "diff {o} {f}", "diff {f} {m}", "diff {i} {f}",
    "convert from-safetensors {s} {w}", "convert to-safetensors {f} {w}.safetensors",
    "convert to-safetensors {i}", "convert from-safetensors {f} {w}", "manifest {f}",
    "manifest {f} {w}", "append {w} {f}", "append {o} {f}", "append {o} {f} --prefix {t}2",
    "shard {f} parts{w} --max-bytes 8", "shard {f} {w} --max-bytes {t}", "merge {i} {w}",
    "merge {f} {w}", "extract {f} {w} {t}", "extract {f} {w} {m}", "extract {f} {f} {t}",
    "{t}", "info {f} {t}", "info --{t}", "view {m} --no-browser", "view ftp://{t} --no-browser",
    "view {f} --port {t}", "hub-push {f} org/{t}", "hub-push {f} org/model {w}",
    "hub-push {m} org/model", "hub-pull org/model {w}", "hub-pull org/{t} x",
    "hub-pull org/model {f} --output {w}2", "hub-list org/model", "hub-list org/{t}",
    "hub-info org/model", "hub-info org/model --token {t}",
    "hub-open org/model model.deathtensors", "hub-open org/model {w}",
    "hub-open org/model model.deathtensors --tensor {t}", "hub-convert org/model {s}",
    "hub-convert org/model {t} {w}", "hub-convert org/model model.safetensors {w} --message {t}",
]  # fmt: skip


@pytest.mark.parametrize("line", COMMANDS)
def test_no_command_prints_what_a_terminal_acts_upon(
    request: pytest.FixtureRequest, files: dict[str, str], line: str
) -> None:
    if line.startswith("hub-"):
        hub: Hub = request.getfixturevalue("hub")
        hub.put(REPO, {"model.deathtensors": files["f"], "model.safetensors": files["s"]})
    words = [word.format(**files) for word in line.split()]
    for more in ([], ["--json"]):
        status, text = command(*words, *more)
        assert status in (0, 1, 2, 3), text
        assert not ACTED_UPON.search(text), ascii(text)
        # Names with a newline stay on their line.
        assert not re.search("^z", text, re.MULTILINE), ascii(text)
        if more and status in (0, 1) and "error:" not in text:
            start = min(at for at in map(text.find, '{["') if at >= 0)
            json.JSONDecoder().raw_decode(text[start:])


def test_every_command_is_among_them() -> None:
    from deathtensors.cli import _COMMANDS

    assert set(_COMMANDS) <= {line.split()[0] for line in COMMANDS}


def test_no_object_shows_what_a_terminal_acts_upon(files: dict[str, str], web: Web) -> None:
    shown: list[str] = []

    def refused(work: Callable[[], Any]) -> None:
        with pytest.raises(dt.DeathTensorsError) as caught:
            work()
        shown.extend([str(caught.value), repr(caught.value)])

    with dt.open(files["f"]) as file:
        shown += [repr(file), file._repr_html_()]
        refused(lambda: file.info(EVIL + "2"))
        refused(lambda: file.get_tensor_slice(EVIL, 9, 9))
        refused(lambda: file.get_tensor(EVIL, EVIL))
    shown += [repr(file), file._repr_html_()]
    with dt.open_sharded(files["i"]) as model:
        shown.append(repr(model))
        refused(lambda: model.info(EVIL + "2"))
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        with dt.open(files["i"]) as file:
            shown += [repr(file), file._repr_html_()]
    shown += [str(one.message) for one in told]
    assert len(told) == 1
    schema = dt.Schema().expect(EVIL + "2").expect("b", shape=[7])
    shown += schema.problems(files["f"])
    refused(lambda: schema.validate(files["f"]))
    refused(lambda: dt.open(files["m"]))
    refused(lambda: dt.open(files["n"]))
    refused(lambda: dt.open(files["f"], backend=EVIL))
    refused(lambda: dt.open(files["f"], limits={EVIL: 1}))
    refused(lambda: dt.open(files["f"], root=EVIL))
    refused(lambda: dt.open(files["f"], remote={EVIL: 1}) and RemoteOptions.of({EVIL: 1}))
    refused(lambda: dt.save("x", {EVIL: object()}))
    refused(lambda: dt.save("x", {EVIL: (EVIL, [1], b"")}))
    refused(lambda: dt.save("x", {EVIL: np.ones(1)}, {EVIL: {EVIL: 5}}))  # type: ignore[dict-item]
    refused(lambda: dt.open(f"{web.url}/{EVIL}"))
    refused(lambda: dt.open(f"nonsense://{EVIL}"))
    refused(lambda: dt.open(f"memory://{EVIL}"))
    refused(lambda: dt.open(f"hf://{EVIL}"))
    for text in shown:
        plain = text.replace("\n", "") if text.startswith("<table") else text
        assert not ACTED_UPON.search(plain), ascii(text)
        assert "\n" not in plain, ascii(text)


def test_a_bar_and_a_fault_are_text_too(files: dict[str, str]) -> None:
    code = (
        "import sys, deathtensors.cli as cli, deathtensors.cli._inspect as inspect\n"
        "def fail(args): raise RuntimeError(sys.argv[1])\n"
        "inspect.run_list = fail\n"
        "sys.exit(cli.main(['list', 'x']))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, EVIL], capture_output=True, text=True, env={**os.environ}
    )
    assert done.returncode == 70
    assert not ACTED_UPON.search(done.stderr), ascii(done.stderr)
