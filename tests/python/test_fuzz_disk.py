"""One model on disk, worked on in any order, and the same model in memory."""

from __future__ import annotations

import os
import shutil
import tempfile
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

import deathtensors as dt
import fuzzing
from fuzzing import FACTOR, Made, check, command, models, notes, options, write

_small: dict[str, Any] = {"most": 3, "large": False}


class Disk(RuleBasedStateMachine):
    """``model`` is what the file at ``path`` must hold."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.mkdtemp()
        self.path = os.path.join(self.folder, "m.deathtensors")
        self.model: dict[str, Made] = {}
        self.said: dict[str, str] = {}
        self.how: dict[str, Any] = {}
        self.readers: list[tuple[Any, dict[str, Made]]] = []

    def teardown(self) -> None:
        for reader, _ in self.readers:
            reader.close()
        shutil.rmtree(self.folder)
        fuzzing.tried += 1

    @initialize(model=models(**_small), said=notes, how=options)
    def begin(self, model: dict[str, Made], said: dict[str, str], how: dict[str, Any]) -> None:
        self.replace(model, said, how)

    @rule(model=models(**_small), said=notes, how=options)
    def replace(self, model: dict[str, Made], said: dict[str, str], how: dict[str, Any]) -> None:
        write(self.path, model, global_metadata=said, **how)
        self.model, self.said, self.how = dict(model), dict(said), how

    @rule(model=models(**_small), said=notes)
    def append(self, model: dict[str, Made], said: dict[str, str]) -> None:
        values = {name: made.value() for name, made in model.items()}
        metadata = {name: made.metadata for name, made in model.items()}
        if set(model) & set(self.model):
            with pytest.raises(dt.UsageError):
                dt.append(self.path, values, metadata, said)
            return
        dt.append(self.path, values, metadata, said)
        self.model = {**self.model, **model}
        self.said = {**said, **self.said}

    @rule(backend=st.sampled_from(["mmap", "pread"]), verify=st.booleans())
    def open(self, backend: str, verify: bool) -> None:
        reader = dt.open(self.path, verify, backend=backend)
        # What is open goes on being what it was.
        self.readers = [*self.readers[-3:], (reader, self.model)]

    @precondition(lambda self: self.readers)
    @rule(data=st.data())
    def read(self, data: st.DataObject) -> None:
        reader, model = data.draw(st.sampled_from(self.readers))
        check(reader, model)

    @precondition(lambda self: self.readers)
    @rule()
    def close(self) -> None:
        reader, _ = self.readers.pop(0)
        reader.close()
        reader.close()
        with pytest.raises(dt.UsageError) as caught:
            reader.keys()
        assert caught.value.code == "usage.closed"

    @rule()
    def verify(self) -> None:
        with dt.open(self.path) as file:
            whole = self.how["checksum"] or self.how["digests"]
            assert file.verify() is bool(whole)

    @precondition(lambda self: self.model)
    @rule(most=st.sampled_from([1, 50, 10**9]))
    def shard_and_merge(self, most: int) -> None:
        index = os.path.join(self.folder, "parts", "p.deathtensors")
        os.makedirs(os.path.dirname(index), exist_ok=True)
        assert command("shard", self.path, index, "--max-bytes", str(most))[0] == 0
        assert dt.diff(self.path, index)["value_changed"] == []
        assert command("merge", index, self.path)[0] == 0
        self.said = {key: value for key, value in self.said.items()
                     if not key.startswith("deathtensors.shard")}  # fmt: skip
        shutil.rmtree(os.path.dirname(index))

    @rule(how=options)
    def convert_there_and_back(self, how: dict[str, Any]) -> None:
        between = os.path.join(self.folder, "between.safetensors")
        try:
            dt.to_safetensors(self.path, between)
        except (dt.UnsupportedError, dt.FormatError) as error:
            assert error.tensor == "__metadata__" or self.model[error.tensor or ""].dtype == "C128"
            return
        dt.from_safetensors(between, self.path, **how)
        os.unlink(between)
        self.how = how
        self.said = {**self.said, "deathtensors.converted_from": "safetensors"}

    @invariant()
    def is_what_it_must_be(self) -> None:
        if os.path.exists(self.path):
            with dt.open(self.path) as file:
                check(file, self.model)
                assert file.metadata() == self.said
            assert not [one for one in os.listdir(self.folder) if one.startswith(".")]


TestDisk = Disk.TestCase
TestDisk.settings = settings(max_examples=40 * (FACTOR or 1), stateful_step_count=20)
