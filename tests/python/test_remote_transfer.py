"""Transfers from web servers: ranges, counts, the budget, threads, and interruptions."""

from __future__ import annotations

import os
import signal
import sys
import threading
from typing import Any

import pytest

import deathtensors as dt
from deathtensors import _remote
from helpers import run_python
from webserver import Answer, Asked, Web

HEAD = 64 << 10
MIB = 1 << 20
DATA = bytes(range(251)) * 84_000  # 20 MiB, and no range looks like another
DATA = DATA[: 20 * MIB]
#: For a child that is to find what this process finds.
SAME_PACKAGES = {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}


@pytest.fixture(autouse=True)
def _served(web: Web) -> None:
    web.files["/models/x.dt"] = DATA


def connect(web: Web, path: str = "/models/x.dt", **options: Any) -> _remote.Transfer:
    return _remote.connect(f"{web.url}{path}", options)


def ranges(web: Web) -> list[str | None]:
    return [one.range for one in web.log()]


# --- what is asked for


def test_the_first_request_brings_length_and_header(web: Web) -> None:
    with connect(web) as transfer:
        assert (transfer.length, transfer.pinned) == (len(DATA), None)
        assert transfer.fetch([(0, 8), (8, 5000), (60_000, HEAD)]) == [
            DATA[:8], DATA[8:5000], DATA[60_000:HEAD],
        ]  # fmt: skip
        assert ranges(web) == [f"bytes=0-{HEAD - 1}"]
        assert transfer.counters == {
            "requests": 1, "bytes": HEAD, "retries": 0, "resolves": 0, "cached_bytes": 0,
        }  # fmt: skip


def test_of_a_longer_header_only_the_rest_is_asked_for(web: Web) -> None:
    with connect(web) as transfer:
        assert transfer.fetch([(0, 100_000)]) == [DATA[:100_000]]
        assert ranges(web)[1:] == [f"bytes={HEAD}-99999"]
        assert transfer.counters["bytes"] == 100_000


def test_ranges_come_in_their_order_with_exact_lengths(web: Web) -> None:
    wanted = [(at, at + at // 1000 + 1) for at in range(0, len(DATA) - 30_000, 700_001)]
    with connect(web) as transfer:
        found = transfer.fetch(wanted)
        assert found == [DATA[start:end] for start, end in wanted]
        assert all(type(one) is bytes for one in found)
        assert transfer.counters["requests"] == 1 + len(wanted) - 1
        assert transfer.fetch([]) == []
        assert transfer.fetch([(5, 5), (len(DATA), len(DATA))]) == [b"", b""]
        assert transfer.fetch([(len(DATA) - 1, len(DATA))]) == [DATA[-1:]]


def test_a_long_range_is_cut_into_pieces(web: Web) -> None:
    with connect(web) as transfer:
        assert transfer.fetch([(MIB, 20 * MIB)]) == [DATA[MIB:]]
    starts = sorted(int((one or "").split("=")[1].split("-")[0]) for one in ranges(web)[1:])
    assert starts == [MIB, 9 * MIB, 17 * MIB]


@pytest.mark.parametrize("connections", [1, 3])
def test_so_many_requests_are_under_way_and_no_more(web: Web, connections: int) -> None:
    gate = threading.Barrier(connections)

    def meet(asked: Asked, answer: Answer) -> Answer | None:
        answer.wait = lambda: gate.wait(10)  # none passes before all are there
        return None

    with connect(web, connections=connections) as transfer:
        web.rules.append(meet)
        wanted = [(at * MIB, at * MIB + 10) for at in range(1, 13)]
        assert transfer.fetch(wanted) == [DATA[start:end] for start, end in wanted]
    web.log()
    assert web.most_at_once == connections


@pytest.mark.parametrize("length", [0, 1, HEAD - 1, HEAD, HEAD + 1])
def test_files_of_any_length(web: Web, length: int) -> None:
    web.files["/short"] = DATA[:length]
    with connect(web, "/short") as transfer:
        assert transfer.length == length
        assert transfer.fetch([(0, length)]) == [DATA[:length]]
        with pytest.raises(dt.UsageError) as caught:
            transfer.fetch([(0, length + 1)])
        assert caught.value.code == "usage.range"


def test_a_sibling_lies_beside_and_shares_counters(web: Web) -> None:
    web.files["/models/a b.dt"] = b"other"
    with connect(web, "/models/x.dt?download=1") as transfer:
        with transfer.sibling("a b.dt") as sibling:
            assert sibling.fetch([(0, 5)]) == [b"other"]
            assert sibling.name == f"{web.url}/models/a%20b.dt"
            assert sibling.counters == transfer.counters
            assert sibling.counters["requests"] == 2
        assert len(transfer.fetch([(MIB, MIB + 1)])[0]) == 1
        for name in ("../x", "a/b", "", "..", "http://x", "a\\b", "a\nb"):
            with pytest.raises(dt.UsageError):
                transfer.sibling(name)
    assert web.log()[1].path == "/models/a%20b.dt?download=1"


def test_what_is_closed_stays_closed(web: Web) -> None:
    transfer = connect(web)
    transfer.close()
    transfer.close()
    assert transfer.closed and "closed" in repr(transfer)
    with pytest.raises(dt.UsageError) as caught:
        transfer.fetch([(0, 1)])
    assert caught.value.code == "usage.closed"


def test_closing_ends_what_another_thread_reads(web: Web) -> None:
    arrived, go = threading.Event(), threading.Event()

    def cut(asked: Asked, answer: Answer) -> Answer:
        answer.wait = lambda: (arrived.set(), go.wait(10))
        answer.length, answer.body = len(answer.body), answer.body[:10]
        return answer

    def read() -> None:
        try:
            transfer.fetch([(MIB, MIB + 1000)])
        except dt.DeathTensorsError as error:
            found.append(error)

    found: list[dt.DeathTensorsError] = []
    transfer = connect(web)
    web.rules.append(cut)
    thread = threading.Thread(target=read)
    thread.start()
    assert arrived.wait(10)
    transfer.close()
    go.set()
    thread.join(10)
    assert [error.code for error in found] == ["usage.closed"]


# --- the budget


def test_the_budget_is_checked_before_anything_is_asked(web: Web) -> None:
    with connect(web, budget_bytes=HEAD + 1000) as transfer:
        with pytest.raises(dt.LimitError) as caught:
            transfer.fetch([(MIB, MIB + 600), (2 * MIB, 2 * MIB + 401)])
        assert caught.value.code == "limit.transfer_bytes"
        assert "1001" not in str(caught.value) and str(HEAD + 1001) in str(caught.value)
        assert len(web.log()) == 1
        transfer.fetch([(MIB, MIB + 1000)])
        assert transfer.fetch([(0, HEAD)]) == [DATA[:HEAD]]  # costs nothing
        with pytest.raises(dt.LimitError):
            transfer.fetch([(MIB, MIB + 1)])
        with pytest.raises(dt.LimitError):
            transfer.sibling("x.dt")  # it is one budget for all


def test_a_small_budget_makes_the_first_request_small(web: Web) -> None:
    with connect(web, budget_bytes=100) as transfer:
        assert ranges(web) == ["bytes=0-99"]
        assert transfer.fetch([(10, 100)]) == [DATA[10:100]]
    with pytest.raises(dt.LimitError):
        connect(web, budget_bytes=0)
    assert len(web.log()) == 1


def test_what_is_under_way_counts_for_the_budget(web: Web) -> None:
    arrived, go = threading.Event(), threading.Event()

    def hold(asked: Asked, answer: Answer) -> Answer:
        answer.wait = lambda: (arrived.set(), go.wait(10))
        return answer

    with connect(web, budget_bytes=HEAD + 1000) as transfer:
        web.once(hold)
        found: list[bytes] = []
        thread = threading.Thread(target=lambda: found.extend(transfer.fetch([(MIB, MIB + 600)])))
        thread.start()
        assert arrived.wait(10)
        with pytest.raises(dt.LimitError):
            transfer.fetch([(MIB, MIB + 401)])
        go.set()
        thread.join(10)
        assert found == [DATA[MIB : MIB + 600]]


def test_what_failed_gives_its_share_back(web: Web) -> None:
    with connect(web, budget_bytes=HEAD + 1000, retries=0) as transfer:
        web.fail(500)
        with pytest.raises(dt.NetworkError):
            transfer.fetch([(MIB, MIB + 1000)])
        assert len(transfer.fetch([(MIB, MIB + 1000)])[0]) == 1000


# --- threads, forks, interruptions


def test_many_threads_use_one_transfer(web: Web) -> None:
    failures: list[BaseException] = []

    def read(seed: int) -> None:
        try:
            for nth in range(10):
                at = HEAD + (seed * 7919 + nth * 104_729) % (19 * MIB)
                wanted = [(at, at + 1000), (at + 5000, at + 5001)]
                assert transfer.fetch(wanted) == [DATA[start:end] for start, end in wanted]
        except BaseException as error:
            failures.append(error)

    with connect(web) as transfer:
        threads = [threading.Thread(target=read, args=(seed,)) for seed in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)
        assert failures == []
        assert transfer.counters["requests"] == 1 + 4 * 10 * 2
        assert transfer.counters["bytes"] == HEAD + 4 * 10 * 1001


def test_the_first_failure_cancels_the_rest(web: Web) -> None:
    release = threading.Event()

    def spoil(asked: Asked, answer: Answer) -> Answer:
        if asked.range == f"bytes={5 * MIB}-{5 * MIB + 9}":
            return Answer(404, {}, b"")
        # The others would never come.
        answer.wait = lambda: release.wait(20)
        return answer

    with connect(web, connections=4) as transfer:
        web.rules.append(spoil)
        wanted = [(at * MIB, at * MIB + 10) for at in range(2, 20)]
        with pytest.raises(dt.NetworkError) as caught:
            transfer.fetch(wanted)
        assert caught.value.code == "network.not_found"
        release.set()
        web.rules.clear()
        assert transfer.fetch(wanted) == [DATA[start:end] for start, end in wanted]
    early = len(web.log()) - 1 - len(wanted)
    assert early <= 5  # of 18: what was under way, and none after it


@pytest.mark.parametrize("several", [False, True])
def test_ctrl_c_is_heard_at_once(web: Web, several: bool) -> None:
    release = threading.Event()

    def interrupt(asked: Asked, answer: Answer) -> Answer:
        first = not seen
        seen.append(asked)
        # Nothing comes until the interruption was heard.
        answer.wait = lambda: (first and os.kill(os.getpid(), signal.SIGINT), release.wait(20))
        return answer

    seen: list[Asked] = []
    wanted = [(at * MIB, at * MIB + 10) for at in range(1, 6 if several else 2)]
    with connect(web) as transfer:
        web.rules.append(interrupt)
        with pytest.raises(KeyboardInterrupt):
            transfer.fetch(wanted)
        assert not release.is_set()
        web.rules.clear()
        assert transfer.fetch(wanted) == [DATA[start:end] for start, end in wanted]
        release.set()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs os.fork")
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*:DeprecationWarning")
def test_a_forked_child_has_connections_of_its_own(web: Web) -> None:
    wanted = [(at * MIB, at * MIB + 1000) for at in range(1, 9)]
    right = [DATA[start:end] for start, end in wanted]
    with connect(web) as transfer:
        assert transfer.fetch(wanted) == right  # there are connections to inherit
        child = os.fork()
        if not child:
            code = 1
            try:
                code = 0 if transfer.fetch(wanted) == right else 2
            finally:
                os._exit(code)
        assert transfer.fetch(wanted) == right
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_nothing_is_imported_before_it_is_needed() -> None:
    heavy = "{'httpx', 'httpx2', 'fsspec', 'huggingface_hub', 'ssl', 'asyncio'}"
    told = run_python(
        f"""
        import sys, deathtensors
        print(sorted({heavy} & sys.modules.keys()))
        print("deathtensors._remote" in sys.modules)
        import deathtensors._remote, deathtensors.remote
        print(sorted({heavy} & sys.modules.keys()))
        """,
        env=SAME_PACKAGES,
    )
    assert told.stdout.splitlines() == ["[]", "False", "[]"]


def test_a_missing_package_is_named(web: Web) -> None:
    code = """
        import sys
        for name in ("httpx2", "httpx", "huggingface_hub", "fsspec"):
            sys.modules[name] = None
        import deathtensors as dt
        from deathtensors import _remote
        for url in ("http://127.0.0.1:1/x", "hf://org/name/x", "memory://x"):
            try:
                _remote.connect(url)
            except dt.MissingPackageError as error:
                print(error)
    """
    lines = run_python(code, env=SAME_PACKAGES).stdout.splitlines()
    for line, extra in zip(lines, ("remote", "huggingface", "remote")):
        assert f"`pip install deathtensors[{extra}]`" in line
    assert len(lines) == 3
