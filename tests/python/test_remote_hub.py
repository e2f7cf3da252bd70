"""Transfers from the model of the Hub in ``tests/hub``, through the Hub's real client."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import huggingface_hub
import pytest
from huggingface_hub import constants
from huggingface_hub.utils import OfflineModeIsEnabled

import deathtensors as dt
from deathtensors import _remote
from deathtensors._remote._hub_reference import parse_page, parse_reference
from hub import Hub
from hub.faults import Entry

pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")

HEAD = 64 << 10
MIB = 1 << 20
DATA = (bytes(range(251)) * 42_000)[: 10 * MIB]
PATH = "deep/x.dt"
FILE = f"hf://tester/model/{PATH}"


@pytest.fixture
def commit(hub: Hub, tmp_path: Path) -> str:
    return put(hub, tmp_path, DATA, texts={"small.json": '{"a": 1}'})


def put(hub: Hub, tmp_path: Path, data: bytes, id: str = "tester/model", **facts: Any) -> str:
    local = tmp_path / "x"
    local.write_bytes(data)
    return hub.put(id, {PATH: local}, **facts)


def asked(hub: Hub) -> list[Entry]:
    # The client looks up once what runs it; that is none of ours.
    return [one for one in hub.log.entries() if one.path != "/api/agent-harnesses"]


def steps(hub: Hub) -> list[tuple[str, str, str | None]]:
    return [(one.origin, one.method, one.range) for one in asked(hub)]


def refusal(source: str, **options: Any) -> dt.NetworkError:
    with pytest.raises(dt.NetworkError) as caught:
        _remote.connect(source, options)
    assert caught.value.path is not None and caught.value.path.startswith("hf://")
    assert "secret" not in str(caught.value)
    return caught.value


# --- what is asked for


def test_one_look_up_then_ranges_of_the_location(hub: Hub, commit: str) -> None:
    with _remote.connect(FILE) as transfer:
        assert (transfer.name, transfer.length) == (FILE, len(DATA))
        assert transfer.pinned == f"hf://tester/model@{commit}/{PATH}"
        assert steps(hub) == [("hub", "HEAD", None)]
        assert transfer.fetch([(0, 100), (100, 200)]) == [DATA[:100], DATA[100:200]]
        assert transfer.fetch([(MIB, MIB + 9)]) == [DATA[MIB : MIB + 9]]
        assert steps(hub)[1:] == [
            ("cdn", "GET", f"bytes=0-{HEAD - 1}"), ("cdn", "GET", f"bytes={MIB}-{MIB + 8}"),
        ]  # fmt: skip
        assert [one.sent for one in asked(hub)] == [0, HEAD, 9]
        assert transfer.counters == {
            "requests": 3, "bytes": HEAD + 9, "retries": 0, "resolves": 1, "cached_bytes": 0,
        }  # fmt: skip


def test_what_is_pinned_opens_again(hub: Hub, tmp_path: Path, commit: str) -> None:
    put(hub, tmp_path, b"new")
    with _remote.connect(f"hf://tester/model@{commit}/{PATH}") as transfer:
        assert transfer.length == len(DATA)
        assert transfer.pinned is not None
        with _remote.connect(transfer.pinned) as again:
            assert again.fetch([(0, 4)]) == [DATA[:4]]


def test_a_push_between_two_reads_changes_nothing(hub: Hub, tmp_path: Path, commit: str) -> None:
    with _remote.connect(FILE) as transfer:
        transfer.fetch([(0, 100)])
        put(hub, tmp_path, b"new" * MIB)
        assert transfer.fetch([(MIB, MIB + 9)]) == [DATA[MIB : MIB + 9]]
        hub.fail(origin="cdn", status=403)  # nor does looking up the location again
        assert transfer.fetch([(2 * MIB, 2 * MIB + 9)]) == [DATA[2 * MIB : 2 * MIB + 9]]
        with transfer.sibling("x.dt") as sibling:
            assert sibling.pinned == transfer.pinned


def test_small_files_come_from_the_hub_itself(hub: Hub, commit: str) -> None:
    with _remote.connect("hf://tester/model/small.json", {"token": hub.token}) as transfer:
        assert transfer.fetch([(0, 8)]) == [b'{"a": 1}']
        requests = asked(hub)
        assert transfer.counters["requests"] == len(requests) == 3
        assert [one.authorization for one in requests] == [True, True, True]


@pytest.mark.parametrize("kind", ["datasets", "spaces"])
def test_other_kinds_of_repositories(hub: Hub, tmp_path: Path, kind: str) -> None:
    commit = put(hub, tmp_path, DATA, kind=kind)
    with _remote.connect(f"hf://{kind}/tester/model/{PATH}") as transfer:
        assert transfer.fetch([(5, 9)]) == [DATA[5:9]]
        assert transfer.pinned == f"hf://{kind}/tester/model@{commit}/{PATH}"
    with _remote.connect(f"{hub.endpoint}/{kind}/tester/model/blob/main/{PATH}") as transfer:
        assert transfer.name == f"hf://{kind}/tester/model/{PATH}"


def test_a_revision_may_hold_a_slash(hub: Hub, tmp_path: Path, commit: str) -> None:
    branch = put(hub, tmp_path, b"branch", branch="feature/new")
    for source in (
        f"hf://tester/model@feature%2Fnew/{PATH}",
        f"hf://models/tester/model@feature%2Fnew/{PATH}",
        f"{hub.endpoint}/tester/model/resolve/feature%2Fnew/{PATH}?download=true",
    ):
        with _remote.connect(source) as transfer:
            assert transfer.fetch([(0, 6)]) == [b"branch"]
            assert transfer.name == f"hf://tester/model@feature%2Fnew/{PATH}"
            assert transfer.pinned == f"hf://tester/model@{branch}/{PATH}"


def test_names_that_need_quoting(hub: Hub, tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"odd")
    hub.put("tester/odd", {"a b/ü#?%20@1.dt": tmp_path / "x"})
    with _remote.connect("hf://tester/odd/a b/ü#?%20@1.dt") as transfer:
        assert transfer.fetch([(0, 3)]) == [b"odd"]
        assert transfer.pinned is not None
        _remote.connect(transfer.pinned).close()


# --- locations come and go


@pytest.mark.parametrize("status", [401, 403, 404])
def test_a_location_that_refuses_is_looked_up_again(hub: Hub, commit: str, status: int) -> None:
    with _remote.connect(FILE) as transfer:
        transfer.fetch([(0, 1)])
        hub.fail(origin="cdn", status=status)
        assert transfer.fetch([(MIB, MIB + 9)]) == [DATA[MIB : MIB + 9]]
        assert [one[:2] for one in steps(hub)][2:] == [
            ("cdn", "GET"),
            ("hub", "HEAD"),
            ("cdn", "GET"),
        ]
        assert transfer.counters["resolves"] == 2
        assert commit in asked(hub)[3].path  # of the pinned commit


def test_an_expired_link_is_renewed_once_for_all(hub: Hub, commit: str) -> None:
    hub.switches.set({"lifetime": -1})
    with _remote.connect(FILE) as transfer:
        hub.switches.set({"lifetime": 3600})
        wanted = [(at * MIB, at * MIB + 9) for at in range(1, 10)]
        assert transfer.fetch(wanted) == [DATA[start:end] for start, end in wanted]
        assert transfer.counters["resolves"] == 2
        hub.switches.set({"lifetime": -1})
        hub.fail(origin="cdn", status=403)
        with pytest.raises(dt.NetworkError) as caught:
            transfer.fetch([(1, 9)])  # the new location does not work either
        assert (caught.value.code, caught.value.status) == ("network.denied", 403)
        assert transfer.counters["resolves"] == 3


def test_a_file_that_is_another_after_all_is_refused(
    hub: Hub, commit: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with _remote.connect(FILE) as transfer:
        hub.fail(origin="cdn", status=403)
        hub.fail(origin="hub", headers={"X-Linked-ETag": '"other"'})
        with pytest.raises(dt.NetworkError) as caught:
            transfer.fetch([(0, 1)])
        assert caught.value.code == "network.changed"


@pytest.mark.parametrize(
    ("fault", "code"),
    [
        ({"ignore_range": True}, "range"),
        ({"shift": 5}, "range"),
        ({"truncate": 3}, "range"),
        ({"headers": {"ETag": '"other"'}, "skip": 1}, "changed"),
        ({"status": 418}, "status"),
    ],
)
def test_the_store_is_not_trusted(hub: Hub, commit: str, fault: dict[str, Any], code: str) -> None:
    hub.fail(origin="cdn", **fault)
    with _remote.connect(FILE, {"connections": 1}) as transfer:
        with pytest.raises(dt.NetworkError) as caught:
            transfer.fetch([(MIB, MIB + 9), (2 * MIB, 2 * MIB + 9)])
        assert caught.value.code == f"network.{code}"


def test_failures_that_pass(hub: Hub, commit: str) -> None:
    hub.fail(origin="hub", status=503)
    hub.fail(origin="hub", status=429, headers={"Retry-After": "0"})
    hub.fail(origin="cdn", status=500)
    hub.fail(origin="cdn", drop_after=100_000)
    with _remote.connect(FILE) as transfer:
        assert transfer.fetch([(MIB, 4 * MIB)]) == [DATA[MIB : 4 * MIB]]
        counters = transfer.counters
        assert (counters["retries"], counters["requests"]) == (4, 6)
        # Of what was sent before the connection broke, nothing was asked for again.
        sent = [one for one in asked(hub) if one.origin == "cdn"]
        start = int((sent[-1].range or "").split("=")[1].split("-")[0])
        assert MIB < start <= MIB + 100_000
        assert counters["bytes"] == 3 * MIB


def test_silence_of_the_hub_is_a_timeout(hub: Hub, commit: str) -> None:
    hub.fail(origin="hub", delay=0.5)
    assert refusal(FILE, timeout=0.1, retries=0).code == "network.timeout"


# --- who asks


def test_the_token_is_not_shown_to_the_store(hub: Hub, tmp_path: Path) -> None:
    put(hub, tmp_path, DATA, private=True)
    options = {"token": hub.token, "headers": {"X-Extra": "1"}}
    with _remote.connect(FILE, options) as transfer:
        hub.fail(origin="cdn", status=403)
        transfer.fetch([(0, 1), (MIB, MIB + 1)])
        requests = asked(hub)
        assert {(one.origin, one.authorization) for one in requests} == {
            ("hub", True), ("cdn", False),
        }  # fmt: skip


def test_the_order_of_tokens(hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put(hub, tmp_path, DATA, private=True)
    stored = Path(constants.HF_TOKEN_PATH)

    def opens(**options: Any) -> bool:
        try:
            _remote.connect(FILE, options).close()
        except dt.NetworkError as error:
            assert error.code in ("network.denied", "network.not_found")
            return False
        return True

    assert not opens()
    stored.write_text(hub.token)
    assert opens() and opens(token=True) and not opens(token=False)
    monkeypatch.setenv("HUGGING_FACE_HUB_TOKEN", "hf_wrong")
    assert not opens()
    monkeypatch.setenv("HF_TOKEN", f" {hub.token}\n")
    assert opens() and not opens(token=False)
    monkeypatch.setenv("HF_TOKEN", "hf_wrong")
    assert not opens() and opens(token=hub.token)
    monkeypatch.delenv("HF_TOKEN")
    monkeypatch.delenv("HUGGING_FACE_HUB_TOKEN")
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_IMPLICIT_TOKEN", True)
    assert not opens() and opens(token=True)
    stored.unlink()
    with pytest.raises(dt.UsageError, match="hf auth login"):
        _remote.connect(FILE, {"token": True})


def test_who_may_not_read_is_told_what_to_do(hub: Hub, tmp_path: Path) -> None:
    put(hub, tmp_path, DATA, private=True)
    error = refusal(FILE)
    assert (error.code, error.status) == ("network.not_found", 401)
    for word in ("private", "hf auth login", "HF_TOKEN", "tester/model"):
        assert word in str(error)
    error = refusal(FILE, token=hub.stranger_token)
    assert (error.code, error.status) == ("network.not_found", 404)
    assert "may not read it" in str(error) and "hf auth login" not in str(error)
    error = refusal(FILE, token="hf_secret")
    assert (error.code, error.status) == ("network.denied", 401)
    assert "refuses the token" in str(error)


def test_gated_repositories_name_the_page(hub: Hub, tmp_path: Path) -> None:
    put(hub, tmp_path, DATA, gated="manual", granted=["tester"])
    page = f"{hub.endpoint}/tester/model"
    error = refusal(FILE)
    assert (error.code, error.status) == ("network.denied", 401)
    assert page in str(error) and "hf auth login" in str(error)
    error = refusal(FILE, token=hub.stranger_token)
    assert (error.code, error.status) == ("network.denied", 403)
    assert page in str(error) and "hf auth login" not in str(error)
    _remote.connect(FILE, {"token": hub.token}).close()


def test_headers_need_a_client_that_sends_them(
    hub: Hub, commit: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = huggingface_hub.get_hf_file_metadata

    def old(url: str, token: Any, timeout: float, library_name: str, library_version: str) -> Any:
        return real(url, token=token, timeout=timeout)

    monkeypatch.setattr(huggingface_hub, "get_hf_file_metadata", old)
    _remote.connect(FILE).close()
    with pytest.raises(dt.UsageError, match="newer huggingface_hub"):
        _remote.connect(FILE, {"headers": {"X-Extra": "1"}})


# --- what is not there


def test_a_missing_file_names_the_nearest(hub: Hub, commit: str) -> None:
    error = refusal("hf://tester/model/x.dt")
    assert (error.code, error.status) == ("network.not_found", 404)
    assert "did you mean 'deep/x.dt'?" in str(error)
    assert [one.method for one in asked(hub)] == ["HEAD", "GET"]
    assert "did you mean 'small.json'?" in str(refusal("hf://tester/model/smal.json"))
    assert "there are .gitattributes, deep/x.dt, small.json" in str(
        refusal("hf://tester/model/quite/another.thing")
    )


def test_a_missing_revision_names_the_nearest(hub: Hub, tmp_path: Path, commit: str) -> None:
    put(hub, tmp_path, b"", branch="release-2")
    error = refusal(f"hf://tester/model@release2/{PATH}")
    assert error.code == "network.not_found"
    assert "did you mean 'release-2'?" in str(error)
    assert [one.method for one in asked(hub)] == ["HEAD", "GET"]


def test_advice_is_optional(hub: Hub, commit: str) -> None:
    hub.fail(method="GET", status=500, times=None)
    assert "has no file 'x.dt'" in str(refusal("hf://tester/model/x.dt"))


def test_a_missing_repository(hub: Hub, commit: str) -> None:
    error = refusal("hf://tester/none/x.dt")
    assert error.code == "network.not_found"
    assert "no model repository tester/none" in str(error)


def test_offline_mode_is_respected(hub: Hub, commit: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def offline(*args: Any, **more: Any) -> Any:
        raise OfflineModeIsEnabled("no")

    monkeypatch.setattr(huggingface_hub, "get_hf_file_metadata", offline)
    error = refusal(FILE)
    assert error.code == "network.offline" and "HF_HUB_OFFLINE" in str(error)


def test_a_hub_that_is_not_there(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    error = refusal(FILE, retries=1)
    assert error.code == "network.offline" and "http://127.0.0.1:9" in str(error)


@pytest.mark.parametrize("missing", ["X-Repo-Commit", "ETag"])
def test_answers_that_cannot_be_understood(hub: Hub, commit: str, missing: str) -> None:
    hub.fail(origin="hub", headers={missing: "", "X-Linked-ETag": ""})
    assert refusal(FILE).code == "network.hub"


def test_signed_links_are_shown_to_nobody(
    hub: Hub, commit: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    with _remote.connect(FILE, {"token": hub.token, "retries": 0}) as transfer:
        transfer.fetch([(0, 1)])
        hub.fail(origin="cdn", status=500)
        with pytest.raises(dt.NetworkError) as caught:
            transfer.fetch([(MIB, MIB + 1)])
        texts = [caplog.text, repr(transfer), str(caught.value), repr(caught.value.__dict__)]
    assert "HTTP Request: GET" in caplog.text
    assert not [text for text in texts if "Signature" in text or hub.token in text]


# --- references and pages


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("hf://a/b/c.dt", ("model", "a/b", "main", "c.dt")),
        ("hf://a/b@v1/c/d.dt", ("model", "a/b", "v1", "c/d.dt")),
        ("hf://models/a/b/c.dt", ("model", "a/b", "main", "c.dt")),
        ("hf://datasets/a/b@x%2Fy/c.dt", ("dataset", "a/b", "x/y", "c.dt")),
        ("hf://spaces/a/b@refs/pr/1/c.dt", ("space", "a/b", "refs/pr/1", "c.dt")),
        ("hf://a/b@refs%2Fpr%2F1/c.dt", ("model", "a/b", "refs/pr/1", "c.dt")),
        ("hf://a/b/c@2x.dt", ("model", "a/b", "main", "c@2x.dt")),
    ],
)
def test_references(text: str, meant: tuple[str, ...]) -> None:
    found = parse_reference(text)
    assert (found.kind, found.repo, found.revision, found.path) == meant
    assert parse_reference(str(found)) == found


@pytest.mark.parametrize(
    "text",
    ["hf://", "hf://a", "hf://a/b", "hf://a/b/", "hf://a/b@/c", "hf://a/../c", "hf://a/b/../c",
     "hf://a b/c/d", "hf://a/b@../c", "hf://datasets/a", "hf://a/b/c/"],
)  # fmt: skip
def test_what_is_no_reference(text: str) -> None:
    with pytest.raises(dt.UsageError) as caught:
        _remote.connect(text)
    assert "hf://" in str(caught.value.expected)


@pytest.mark.parametrize("word", ["blob", "resolve", "raw", "tree"])
@pytest.mark.parametrize("host", ["https://huggingface.co", "https://hf.co", "HUB"])
def test_pages(hub: Hub, word: str, host: str) -> None:
    host = hub.endpoint if host == "HUB" else host
    found = parse_page(f"{host}/a/b/{word}/v1/c/d%20e.dt?download=true#L1")
    assert found is not None
    assert (found.kind, found.repo, found.revision, found.path) == (
        "model", "a/b", "v1", "c/d e.dt",
    )  # fmt: skip
    found = parse_page(f"{host}/datasets/a/b/{word}/refs/pr/1/c.dt")
    assert found is not None and (found.kind, found.revision) == ("dataset", "refs/pr/1")
    found = parse_page(f"{host}/gpt2/{word}/main/c.dt")
    assert found is not None and found.repo == "gpt2"


def test_pages_that_name_no_file(hub: Hub) -> None:
    for page in ("a/b", "a/b/tree/main", "datasets/a/b", "a/b/tree/main/folder/"):
        with pytest.raises(dt.UsageError, match="not a file"):
            _remote.connect(f"{hub.endpoint}/{page}")
    assert parse_page(f"{hub.endpoint}/api/models/a/b/tree/main/x") is None
    assert parse_page("https://example.com/a/b/blob/main/c.dt") is None


def test_the_endpoint_may_have_a_path(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_ENDPOINT", "https://mirror.example/hub/")
    found = parse_page("https://mirror.example/hub/a/b/blob/main/c.dt")
    assert found is not None and found.repo == "a/b"
    assert parse_page("https://mirror.example/a/b/blob/main/c.dt") is None


def test_advice_names_the_hub_that_is_meant(hub: Hub, tmp_path: Path) -> None:
    put(hub, tmp_path, DATA, private=True)
    error = refusal(FILE, token="hf_secret")
    assert f"{hub.endpoint}/settings/tokens" in str(error)
    assert "huggingface.co" not in str(error)
