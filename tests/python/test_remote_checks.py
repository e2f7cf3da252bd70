"""Transfers from web servers that fail, lie, change their mind, or redirect."""

from __future__ import annotations

import logging
import pickle
import socket
import threading
import time
from email.utils import formatdate
from typing import Any

import pytest

import deathtensors as dt
from deathtensors import _remote
from deathtensors._remote import _patience, _urls
from deathtensors._remote._meter import Meter
from webserver import Answer, Asked, Web

HEAD = 64 << 10
DATA = bytes(range(251)) * 4000  # about 1 MB
FAR = (500_000, 700_000)


@pytest.fixture(autouse=True)
def _served(web: Web) -> None:
    web.files["/x.dt"] = DATA


def connect(web: Web, path: str = "/x.dt", **options: Any) -> _remote.Transfer:
    return _remote.connect(f"{web.url}{path}", options)


def refusal(web: Web, code: str, **options: Any) -> dt.NetworkError:
    """What ``fetch`` raises; the first request of ``connect`` is spared."""
    with connect(web, **options) as transfer:
        before = transfer.counters
        with pytest.raises(dt.NetworkError) as caught:
            transfer.fetch([FAR])
        # What is wrong is seen before the body is taken.
        assert transfer.counters["bytes"] == before["bytes"]
    error = caught.value
    assert (error.kind, error.code) == ("network", code)
    assert error.path == f"{web.url}/x.dt" and str(error).startswith(f"{error.path}: ")
    assert isinstance(error, OSError)
    again = pickle.loads(pickle.dumps(error))
    assert (type(again), str(again), again.status) == (dt.NetworkError, str(error), error.status)
    return error


def later(web: Web, **changes: Any) -> None:
    """Change one answer after the first."""

    def rule(asked: Asked, answer: Answer) -> Answer | None:
        if asked.range == f"bytes=0-{HEAD - 1}":
            return None
        answer.headers.update(changes.get("headers", {}))
        for name in set(changes) - {"headers"}:
            setattr(answer, name, changes[name])
        return answer

    web.once(rule)


# --- failures that pass


@pytest.mark.parametrize("status", [408, 425, 429, 500, 501, 502, 503, 504, 599])
def test_what_may_pass_is_tried_again(web: Web, status: int) -> None:
    web.fail(status)
    with connect(web) as transfer:
        web.fail(status)
        web.fail(status)
        assert transfer.fetch([FAR]) == [DATA[slice(*FAR)]]
        counters = transfer.counters
        assert (counters["retries"], counters["requests"]) == (3, 5)


def test_patience_ends(web: Web) -> None:
    with connect(web, retries=2) as transfer:
        web.rules.append(lambda asked, answer: Answer(503))
        with pytest.raises(dt.NetworkError) as caught:
            transfer.fetch([FAR])
        assert (caught.value.code, caught.value.status) == ("network.status", 503)
        assert transfer.counters["requests"] == 1 + 3


@pytest.mark.parametrize("status", [400, 402, 405, 409, 418])
def test_what_does_not_pass_is_not_tried_again(web: Web, status: int) -> None:
    web.fail(status)
    with pytest.raises(dt.NetworkError) as caught:
        connect(web)
    assert (caught.value.code, caught.value.status) == ("network.status", status)
    assert len(web.log()) == 1


def test_a_broken_connection_continues_where_it_broke(web: Web) -> None:
    later(web, body=DATA[FAR[0] : FAR[0] + 70_000], length=200_000)
    with connect(web) as transfer:
        assert transfer.fetch([FAR]) == [DATA[slice(*FAR)]]
        assert [one.range for one in web.log()][1:] == [
            "bytes=500000-699999", "bytes=570000-699999",
        ]  # fmt: skip
        assert transfer.counters["bytes"] == HEAD + 200_000
        assert transfer.counters["retries"] == 1


def test_progress_renews_patience(web: Web) -> None:
    def stutter(asked: Asked, answer: Answer) -> Answer:
        answer.length = len(answer.body)
        answer.body = answer.body[:HEAD]
        return answer

    with connect(web, retries=1) as transfer:
        web.rules.append(stutter)
        assert transfer.fetch([FAR]) == [DATA[slice(*FAR)]]
        assert transfer.counters["requests"] == 1 + 4


def test_a_first_answer_that_breaks_off_is_continued(web: Web) -> None:
    web.once(lambda asked, answer: Answer(206, answer.headers, answer.body[:50], HEAD))
    with connect(web) as transfer:
        assert transfer.fetch([(0, 100)]) == [DATA[:100]]
    assert [one.range for one in web.log()] == [f"bytes=0-{HEAD - 1}", f"bytes=50-{HEAD - 1}"]


def test_a_server_that_always_breaks_off_is_given_up(web: Web) -> None:
    with connect(web, retries=1) as transfer:
        web.rules.append(lambda asked, answer: Answer(206, answer.headers, b"", len(answer.body)))
        with pytest.raises(dt.NetworkError) as caught:
            transfer.fetch([FAR])
        assert caught.value.code == "network.truncated"


def test_silence_is_a_timeout(web: Web) -> None:
    release = threading.Event()
    later(web, wait=lambda: release.wait(20))
    error = refusal(web, "network.timeout", timeout=0.1, retries=0)
    release.set()
    assert error.expected == "an answer within 0.1 s"


def test_nobody_listens() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}/x"
        with pytest.raises(dt.NetworkError) as caught:
            _remote.connect(url, {"retries": 0})
    assert caught.value.code == "network.offline"
    assert "cannot be reached" in str(caught.value)


def test_what_does_not_speak_tls_has_no_certificate(web: Web) -> None:
    with pytest.raises(dt.NetworkError) as caught:
        _remote.connect(web.url.replace("http:", "https:") + "/x.dt", {"retries": 0})
    assert caught.value.code == "network.offline"


# --- how long is waited


class _Stop:
    """Stands for an event that is never set, and for the time that passes."""

    def __init__(self) -> None:
        self.waits: list[float] = []

    def wait(self, seconds: float) -> bool:
        self.waits.append(seconds)
        return False


def test_waits_grow_and_vary(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_patience, "FIRST_WAIT", 0.25)
    bounds: list[float] = []

    def draw(low: float, high: float) -> float:
        bounds.append(high)
        return high / 2

    monkeypatch.setattr(_patience.random, "uniform", draw)
    stop, meter = _Stop(), Meter(None)
    patience = _patience.Patience(8, meter)
    again = _patience.Again(dt.NetworkError("x"))
    for _ in range(8):
        patience.wait(again, stop)  # type: ignore[arg-type]
    assert bounds == [0.25, 0.5, 1, 2, 4, 8, 16, 20]
    assert stop.waits == [one / 2 for one in bounds]
    with pytest.raises(dt.NetworkError):
        patience.wait(again, stop)  # type: ignore[arg-type]
    assert meter.counters()["retries"] == 8


def test_the_server_says_how_long_to_wait() -> None:
    assert _patience.retry_after("7") == 7
    assert 50 < (_patience.retry_after(formatdate(time.time() + 55, usegmt=True)) or 0) <= 56
    assert _patience.retry_after(formatdate(time.time() - 55, usegmt=True)) == 0
    assert [_patience.retry_after(one) for one in (None, "", "soon", "-1", "1e9")] == [None] * 5
    stop, error = _Stop(), dt.NetworkError("x")
    _patience.Patience(1, Meter(None)).wait(_patience.Again(error, 7), stop)  # type: ignore[arg-type]
    assert stop.waits == [7]
    with pytest.raises(dt.NetworkError):  # longer than anyone wants to wait
        _patience.Patience(1, Meter(None)).wait(_patience.Again(error, 3600), stop)  # type: ignore[arg-type]


def test_retry_after_is_heeded(web: Web) -> None:
    web.fail(429, {"Retry-After": "0"})
    with connect(web) as transfer:
        assert transfer.counters["retries"] == 1
    web.fail(503, {"Retry-After": "86400"})
    with pytest.raises(dt.NetworkError) as caught:
        connect(web)
    assert caught.value.status == 503


# --- answers that are not what was asked for


def test_a_whole_file_is_refused_before_it_is_read(web: Web) -> None:
    web.files["/x.dt"] = bytes(64 << 20)
    web.rules.append(lambda asked, answer: Answer(200, answer.headers, web.files["/x.dt"]))
    with pytest.raises(dt.NetworkError) as caught:
        connect(web)
    error = caught.value
    assert (error.code, error.status, error.found) == ("network.range", 200, "status 200")
    assert "download the file" in str(error)
    (asked,) = web.log()
    assert asked.sent < 16 << 20  # what the system buffers, and no more


@pytest.mark.parametrize(
    "headers",
    [
        {"Content-Range": "bytes 500001-700000/1004000"},
        {"Content-Range": "bytes 500000-699998/1004000"},
        {"Content-Range": "bytes 0-199999/1004000"},
        {"Content-Range": "bytes 500000-699999/*"},
        {"Content-Range": "lines 500000-699999/1004000"},
        {"Content-Range": "nonsense"},
        {"Content-Encoding": "gzip"},
    ],
)
def test_another_range_is_refused(web: Web, headers: dict[str, str]) -> None:
    later(web, headers=headers)
    assert refusal(web, "network.range").status is None


def test_a_range_without_its_place_is_refused(web: Web) -> None:
    def rule(asked: Asked, answer: Answer) -> Answer:
        del answer.headers["Content-Range"]
        return answer

    web.once(rule)
    with pytest.raises(dt.NetworkError) as caught:
        connect(web)
    assert caught.value.code == "network.range"


def test_an_answer_of_another_length_is_refused(web: Web) -> None:
    later(web, body=DATA[: FAR[1] - FAR[0] - 1])
    assert refusal(web, "network.truncated", retries=0).found == "199999 bytes"
    later(web, headers={"Transfer-Encoding": "identity"}, body=bytes(200_001))
    refusal(web, "network.truncated", retries=0)


@pytest.mark.parametrize(
    ("headers", "found"),
    [
        ({"ETag": '"other"'}, 'ETag "other"'),
        ({"Content-Range": "bytes 500000-699999/1004001"}, "1004001 bytes"),
    ],
)
def test_a_file_that_changed_is_refused(web: Web, headers: dict[str, str], found: str) -> None:
    later(web, headers=headers)
    assert refusal(web, "network.changed").found == found


def test_an_etag_that_is_gone_is_another(web: Web) -> None:
    with connect(web) as transfer:
        web.etags["/x.dt"] = None
        with pytest.raises(dt.NetworkError) as caught:
            transfer.fetch([FAR])
        assert caught.value.code == "network.changed"


def test_a_mark_of_weakness_makes_no_difference(web: Web) -> None:
    web.etags["/x.dt"] = '"a"'
    with connect(web) as transfer:
        web.etags["/x.dt"] = 'W/"a"'
        assert transfer.fetch([FAR]) == [DATA[slice(*FAR)]]


def test_without_etag_the_time_of_change_is_compared(web: Web) -> None:
    web.etags["/x.dt"] = None
    with connect(web) as transfer:
        assert transfer.fetch([FAR]) == [DATA[slice(*FAR)]]
    web.rules.append(
        lambda asked, answer: Answer(206, {**answer.headers, "Last-Modified": now}, answer.body)
    )
    now = formatdate(1e9, usegmt=True)
    with connect(web) as transfer:
        now = formatdate(1e9 + 1, usegmt=True)
        with pytest.raises(dt.NetworkError) as caught:
            transfer.fetch([FAR])
        assert caught.value.code == "network.changed"


def test_a_file_that_shrank_is_refused(web: Web) -> None:
    with connect(web) as transfer:
        web.files["/x.dt"] = DATA[:1000]
        with pytest.raises(dt.NetworkError) as caught:
            transfer.fetch([FAR])
        assert caught.value.code == "network.changed"


def test_a_push_between_two_reads_is_refused(web: Web) -> None:
    with connect(web) as transfer:
        web.files["/x.dt"] = b"else" + DATA[4:]
        with pytest.raises(dt.NetworkError) as caught:
            transfer.fetch([FAR])
        assert caught.value.code == "network.changed"
        assert "open it again" in str(caught.value)


@pytest.mark.parametrize(
    ("status", "code", "word"),
    [(401, "denied", "token"), (403, "denied", "token"),
     (404, "not_found", "nothing"), (410, "not_found", "nothing")],
)  # fmt: skip
def test_refusals_say_what_to_do(web: Web, status: int, code: str, word: str) -> None:
    web.fail(status)
    with pytest.raises(dt.NetworkError) as caught:
        connect(web)
    error = caught.value
    assert (error.code, error.status) == (f"network.{code}", status)
    assert word in str(error) and str(status) in str(error)
    assert len(web.log()) == 1


# --- redirects, and what may be seen where


def redirect(web: Web, path: str, target: str) -> None:
    """Lead a path elsewhere, until the rules are cleared."""

    def rule(asked: Asked, answer: Answer) -> Answer | None:
        return Answer(302, {"Location": target}) if asked.path == path else None

    web.rules.append(rule)


def test_a_redirect_is_followed_once(web: Web) -> None:
    redirect(web, "/latest", "/x.dt?signature=1")
    with connect(web, "/latest") as transfer:
        assert transfer.fetch([FAR]) == [DATA[slice(*FAR)]]
        assert [one.path for one in web.log()] == ["/latest"] + ["/x.dt?signature=1"] * 2
        assert transfer.name == f"{web.url}/latest"
        # Where it led refuses after a while; the way there works still.
        web.fail(403)
        assert transfer.fetch([FAR]) == [DATA[slice(*FAR)]]
        assert [one.path for one in web.log()][3:] == [
            "/x.dt?signature=1", "/latest", "/x.dt?signature=1",
        ]  # fmt: skip
        assert transfer.counters["resolves"] == 1
        web.rules.insert(0, lambda asked, answer: Answer(403))
        with pytest.raises(dt.NetworkError) as caught:
            transfer.fetch([FAR])
        assert caught.value.code == "network.denied"


def test_secrets_stay_at_their_origin(web: Web) -> None:
    secrets = {"token": "tok-secret", "headers": {"X-Api-Key": "key-secret"}}
    with Web({"/there": DATA}) as other:
        redirect(web, "/x.dt", f"{other.url}/there")
        with connect(web, **secrets) as transfer:
            assert transfer.fetch([FAR]) == [DATA[slice(*FAR)]]
        assert not [one for one in other.log() if "secret" in str(one.headers)]
        assert len(other.log()) == 2
        (first,) = web.log()
        assert first.headers["authorization"] == "Bearer tok-secret"
        assert first.headers["x-api-key"] == "key-secret"


def test_secrets_go_along_within_the_origin(web: Web) -> None:
    redirect(web, "/a", "/x.dt")
    with connect(web, "/a", token="tok-secret") as transfer:
        transfer.fetch([FAR])
    assert [one.headers.get("authorization") for one in web.log()] == ["Bearer tok-secret"] * 3


def test_no_login_of_the_hub_goes_to_others(web: Web, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    for token in (None, True, False):
        connect(web, token=token).close()
    assert not [one for one in web.log() if "authorization" in one.headers]


@pytest.mark.parametrize("target", ["/loop", "ftp://127.0.0.1/x", "/"])
def test_redirects_to_nowhere_are_refused(web: Web, target: str) -> None:
    web.rules.append(lambda asked, answer: Answer(301, {"Location": target}))
    with pytest.raises(dt.NetworkError) as caught:
        connect(web, "/loop")
    assert caught.value.code == "network.status" and "redirect" in str(caught.value)
    assert len(web.log()) <= 11


def test_signed_urls_are_shown_to_nobody(
    web: Web, caplog: pytest.LogCaptureFixture, tmp_path: Any
) -> None:
    caplog.set_level(logging.DEBUG)
    query = "X-Amz-Signature=very-secret&part=1"
    with connect(web, f"/x.dt?{query}", cache_dir=tmp_path, token="also-secret") as transfer:
        transfer.fetch([FAR])
        texts = [transfer.name, repr(transfer)]
        web.rules.append(lambda asked, answer: Answer(404))
        with pytest.raises(dt.NetworkError) as caught:
            transfer.fetch([(0, 1), (70_000, 70_001)])
    error = caught.value
    texts += [str(error), repr(error.__dict__), repr(error.__cause__), caplog.text]
    texts += [str(path) for path in tmp_path.rglob("*")]
    assert len(web.log()) == 3 and all(query in one.path for one in web.log())
    assert "HTTP Request: GET" in caplog.text  # the library does log
    assert not [text for text in texts if "secret" in text]


@pytest.mark.parametrize(
    "url",
    ["http://user:pw-secret@127.0.0.1/x", "https://", "http:///x", "http://h:x/", "http://h/a\nb"],
)
def test_urls_that_cannot_be_used(url: str) -> None:
    with pytest.raises(dt.UsageError) as caught:
        _remote.connect(url)
    assert "secret" not in str(caught.value)


def test_a_url_without_its_signature_is_the_same_file() -> None:
    plain = "https://h/a/b?part=2"
    for query in (
        "part=2&X-Amz-Signature=s&X-Amz-Date=d",
        "part=2&Signature=s&Expires=1&Key-Pair-Id=k",
        "sig=s&se=1&sp=r&part=2&access_token=t",
    ):
        assert _urls.unsigned(f"https://u:p@h/a/b?{query}#f") == plain
    assert _urls.unsigned("https://h/a/b?part=3") != plain
