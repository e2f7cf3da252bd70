"""The model of the Hub in ``tests/hub``, driven by the Hub's real client."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import (
    CommitOperationAdd,
    CommitOperationDelete,
    HfApi,
    HfFileSystem,
    constants,
    get_hf_file_metadata,
    hf_hub_download,
    hf_hub_url,
)
from huggingface_hub.errors import (
    EntryNotFoundError,
    GatedRepoError,
    HfHubHTTPError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

from helpers import ROOT, sha256
from hub import Hub

# What the client itself does with its transport.
pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")

REPO = "tester/model"
DATA = bytes(range(256)) * 5000


@pytest.fixture(autouse=True)
def _nothing_of_the_users(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # The client reads these once, when it is imported.
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "token"))
    monkeypatch.setattr(constants, "HF_XET_CACHE", str(tmp_path / "xet"))


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[Hub]:
    with Hub(tmp_path / "hub") as running:
        yield running


@pytest.fixture
def api(hub: Hub) -> HfApi:
    return HfApi(endpoint=hub.endpoint, token=hub.token)


@pytest.fixture
def model(api: HfApi, tmp_path: Path) -> Path:
    """A repository with one large and one small file; the large one, as it is here."""
    path = tmp_path / "x.deathtensors"
    path.write_bytes(DATA)
    api.create_repo(REPO)
    card = b"---\nlibrary_name: deathtensors\ntags:\n- a\n- b\n---\n# Hello\n"
    api.upload_file(path_or_fileobj=path, path_in_repo="deep/x.deathtensors", repo_id=REPO)
    api.upload_file(path_or_fileobj=card, path_in_repo="README.md", repo_id=REPO)
    return path


def download(hub: Hub, name: str, tmp_path: Path, **more: Any) -> bytes:
    where = tmp_path / f"cache{time.monotonic_ns()}"
    more = {"repo_id": REPO, "token": hub.token, **more}
    path = hf_hub_download(filename=name, cache_dir=where, endpoint=hub.endpoint, **more)
    return Path(path).read_bytes()


def get(url: str, **headers: str) -> tuple[int, Any, bytes]:
    """One request without a client's cleverness, redirects followed as a browser does."""
    try:
        with urllib.request.urlopen(urllib.request.Request(url, headers=headers)) as answer:
            return answer.status, answer.headers, answer.read()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.headers, error.read()


def resolve(hub: Hub, path: str = "deep/x.deathtensors", revision: str = "main") -> str:
    return hf_hub_url(REPO, path, revision=revision, endpoint=hub.endpoint)


# --- uploads and downloads


def test_what_is_uploaded_comes_back(hub: Hub, model: Path, tmp_path: Path) -> None:
    assert download(hub, "deep/x.deathtensors", tmp_path) == DATA
    assert b"# Hello" in download(hub, "README.md", tmp_path)
    uploads = [one.path for one in hub.log.entries() if one.method == "PUT"]
    assert uploads == [f"/upload/{sha256(DATA)}"]
    assert not any(one.authorization for one in hub.log.entries() if one.origin == "cdn")


def test_a_large_upload_goes_in_parts(hub: Hub, api: HfApi, tmp_path: Path) -> None:
    hub.switches.set({"multipart_over": 1000, "part_size": 500_000})
    api.create_repo(REPO)
    api.upload_file(path_or_fileobj=DATA, path_in_repo="x.bin", repo_id=REPO)
    parts = [one for one in hub.log.entries() if one.method == "PUT"]
    assert len(parts) == 3
    assert download(hub, "x.bin", tmp_path) == DATA


def test_a_content_that_is_there_is_not_sent_again(hub: Hub, api: HfApi, model: Path) -> None:
    hub.log.clear()
    api.upload_file(path_or_fileobj=DATA, path_in_repo="again.bin", repo_id=REPO)
    assert not [one for one in hub.log.entries() if one.method == "PUT"]


def test_the_client_resumes_after_a_dropped_connection(
    hub: Hub, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(constants, "DOWNLOAD_CHUNK_SIZE", 100_000)
    hub.fail(origin="cdn", method="GET", drop_after=300_000)
    hub.log.clear()
    assert download(hub, "deep/x.deathtensors", tmp_path) == DATA
    first, second = [one for one in hub.log.entries() if one.origin == "cdn"]
    assert first.sent == 300_000
    assert second.range == "bytes=300000-"


def test_the_client_tries_a_failed_upload_again(hub: Hub, api: HfApi, tmp_path: Path) -> None:
    api.create_repo(REPO)
    hub.fail(origin="cdn", method="PUT", status=503)
    api.upload_file(path_or_fileobj=DATA, path_in_repo="x.bin", repo_id=REPO)
    assert download(hub, "x.bin", tmp_path) == DATA


def test_the_hf_command_uploads_and_downloads(hub: Hub, model: Path, tmp_path: Path) -> None:
    env = {**os.environ, "HF_ENDPOINT": hub.endpoint, "HF_TOKEN": hub.token,
           "HF_HUB_DISABLE_XET": "1", "HF_HOME": str(tmp_path / "home")}  # fmt: skip
    hf = str(Path(sys.executable).with_name("hf"))
    for words in (["upload", REPO, str(model), "copy.deathtensors"],
                  ["download", REPO, "copy.deathtensors", "--local-dir", str(tmp_path / "out")]):  # fmt: skip
        done = subprocess.run([hf, *words], env=env, capture_output=True, text=True, timeout=120)
        assert done.returncode == 0, done.stderr
    assert (tmp_path / "out" / "copy.deathtensors").read_bytes() == DATA


# --- the catalogue


def test_files_are_listed_with_sizes_and_digests(hub: Hub, api: HfApi, model: Path) -> None:
    assert api.list_repo_files(REPO) == [".gitattributes", "README.md", "deep/x.deathtensors"]
    top = {one.path: one for one in api.list_repo_tree(REPO)}
    assert sorted(top) == [".gitattributes", "README.md", "deep"]
    (file,) = api.list_repo_tree(REPO, "deep", expand=True)
    assert (file.size, file.lfs.sha256) == (len(DATA), sha256(DATA))
    assert file.last_commit.title == "Upload deep/x.deathtensors with huggingface_hub"
    (found,) = api.get_paths_info(REPO, ["deep/x.deathtensors", "none"])
    assert found.lfs.sha256 == sha256(DATA)
    with pytest.raises(EntryNotFoundError):
        list(api.list_repo_tree(REPO, "none"))


def test_a_tree_comes_in_pages(hub: Hub, api: HfApi) -> None:
    texts = {f"folder {i % 3}/{i}.txt": str(i) for i in range(25)}
    hub.put(REPO, texts=texts)
    hub.switches.set({"page_size": 7})
    hub.log.clear()
    assert api.list_repo_files(REPO) == sorted([".gitattributes", *texts])
    assert len(hub.log.entries()) == 5  # 29 entries, folders included


def test_info_tells_the_commit_the_card_and_the_blobs(hub: Hub, api: HfApi, model: Path) -> None:
    info = api.model_info(REPO, files_metadata=True)
    assert info.sha == api.list_repo_commits(REPO)[0].commit_id
    assert (info.private, info.gated, info.tags) == (False, False, ["a", "b"])
    assert info.library_name == "deathtensors"
    (blob,) = [one for one in info.siblings if one.rfilename == "deep/x.deathtensors"]
    assert (blob.size, blob.lfs.sha256) == (len(DATA), sha256(DATA))
    assert api.whoami()["name"] == "tester"


def test_metadata_of_a_file_names_commit_digest_and_cdn(hub: Hub, api: HfApi, model: Path) -> None:
    large = get_hf_file_metadata(resolve(hub))
    assert (large.size, large.etag) == (len(DATA), sha256(DATA))
    assert large.commit_hash == api.model_info(REPO).sha
    assert large.location.startswith(hub.cdn_endpoint)
    small = get_hf_file_metadata(resolve(hub, "README.md"))
    assert small.location.startswith(f"{hub.endpoint}/api/resolve-cache/models/{REPO}/")
    assert len(small.etag) == 40


# --- revisions


def test_every_commit_and_branch_keeps_its_content(
    hub: Hub, api: HfApi, model: Path, tmp_path: Path
) -> None:
    before = api.model_info(REPO).sha
    api.create_branch(REPO, branch="feature/new")
    api.create_tag(REPO, tag="v1")
    api.upload_file(path_or_fileobj=b"\0new", path_in_repo="deep/x.deathtensors", repo_id=REPO)
    assert download(hub, "deep/x.deathtensors", tmp_path) == b"\0new"
    for revision in (before, "feature/new", "v1", "refs/heads/feature/new"):
        assert download(hub, "deep/x.deathtensors", tmp_path, revision=revision) == DATA
    refs = api.list_repo_refs(REPO)
    assert [one.name for one in refs.branches] == ["main", "feature/new"]
    assert refs.tags[0].target_commit == before
    api.delete_branch(REPO, branch="feature/new")
    with pytest.raises(RevisionNotFoundError):
        api.model_info(REPO, revision="feature/new")
    with pytest.raises(EntryNotFoundError):
        download(hub, "none", tmp_path)


def test_a_commit_on_an_old_parent_is_refused(hub: Hub, api: HfApi, model: Path) -> None:
    parent = api.model_info(REPO).sha
    add = CommitOperationAdd("a.txt", b"a")
    delete = CommitOperationDelete("deep/x.deathtensors")
    api.create_commit(REPO, [add, delete], commit_message="both", parent_commit=parent)
    assert api.list_repo_files(REPO) == [".gitattributes", "README.md", "a.txt"]
    with pytest.raises(HfHubHTTPError, match="412") as caught:
        again = [CommitOperationAdd("b.txt", b"b")]
        api.create_commit(REPO, again, commit_message="late", parent_commit=parent)
    assert "happened since" in str(caught.value)


def test_what_was_stored_is_there_after_a_restart(hub: Hub, model: Path, tmp_path: Path) -> None:
    with Hub(tmp_path / "hub") as second:
        assert download(second, "deep/x.deathtensors", tmp_path) == DATA


# --- rights


def test_a_private_repository_is_nobodys_business(hub: Hub, tmp_path: Path) -> None:
    owner = HfApi(endpoint=hub.endpoint, token=hub.token)
    owner.create_repo("org/secret", private=True, repo_type="dataset")
    owner.upload_file(
        path_or_fileobj=DATA, path_in_repo="x.bin", repo_id="org/secret", repo_type="dataset"
    )
    own = {"repo_id": "org/secret", "repo_type": "dataset"}
    assert download(hub, "x.bin", tmp_path, **own) == DATA
    assert download(hub, "x.bin", tmp_path, **own, token=hub.reader_token) == DATA
    for token, status in ((False, 401), (hub.stranger_token, 404), ("hf_wrong", 401)):
        api = HfApi(endpoint=hub.endpoint, token=token)
        with pytest.raises(HfHubHTTPError) as caught:
            api.dataset_info("org/secret")
        assert caught.value.response.status_code == status
        if token != "hf_wrong":
            assert isinstance(caught.value, RepositoryNotFoundError)


def test_a_gated_repository_shows_names_but_no_contents(hub: Hub, tmp_path: Path) -> None:
    (tmp_path / "x.bin").write_bytes(DATA)
    hub.put("org/gated", {"x.bin": tmp_path / "x.bin"}, gated="manual", granted=["stranger"])
    for token in (False, "hf_x"):
        hub.store.users["hf_x"] = hub.store.users[hub.stranger_token].__class__("another")
        api = HfApi(endpoint=hub.endpoint, token=token)
        assert api.model_info("org/gated").gated == "manual"
        with pytest.raises(GatedRepoError):
            download(hub, "x.bin", tmp_path, repo_id="org/gated", token=token)
    granted = {"repo_id": "org/gated", "token": hub.stranger_token}
    assert download(hub, "x.bin", tmp_path, **granted) == DATA


@pytest.mark.parametrize("token", ["reader_token", "stranger_token"])
def test_who_may_not_write_does_not(hub: Hub, model: Path, token: str) -> None:
    api = HfApi(endpoint=hub.endpoint, token=getattr(hub, token))
    with pytest.raises(HfHubHTTPError, match="403"):
        api.upload_file(path_or_fileobj=b"a", path_in_repo="a", repo_id=REPO)
    with pytest.raises(HfHubHTTPError, match="403"):
        api.create_repo("org/new" if token == "reader_token" else "tester/new")


def test_a_repository_is_made_once_and_deleted_once(hub: Hub, api: HfApi) -> None:
    assert str(api.create_repo(REPO)) == f"{hub.endpoint}/{REPO}"
    assert api.create_repo(REPO, exist_ok=True).repo_id == REPO
    with pytest.raises(HfHubHTTPError, match="409"):
        api.create_repo(REPO)
    api.update_repo_settings(REPO, gated="auto", private=True)
    assert api.model_info(REPO).private
    api.delete_repo(REPO)
    with pytest.raises(RepositoryNotFoundError):
        api.model_info(REPO)


# --- ranges, signatures, CORS: what the client does not show


@pytest.mark.parametrize("path", ["deep/x.deathtensors", "long.txt"])
def test_ranges(hub: Hub, model: Path, path: str) -> None:
    hub.put(REPO, texts={"long.txt": "\x7f" * len(DATA)})
    data = DATA if path.startswith("deep") else b"\x7f" * len(DATA)
    size = len(data)
    for asked, start, end in (("bytes=10-19", 10, 20), ("bytes=10-", 10, size),
                              ("bytes=-7", size - 7, size), (f"bytes=5-{size * 2}", 5, size)):  # fmt: skip
        status, headers, body = get(resolve(hub, path), Range=asked)
        assert (status, body) == (206, data[start:end])
        assert headers["Content-Range"] == f"bytes {start}-{end - 1}/{size}"
    status, headers, _ = get(resolve(hub, path), Range=f"bytes={size}-")
    assert (status, headers["Content-Range"]) == (416, f"bytes */{size}")
    for odd in ("bytes=3-1", "bytes=-", "lines=1-2", "bytes=0-1,3-4"):
        assert get(resolve(hub, path), Range=odd)[::2] == (200, data)


def test_the_real_filesystem_reads_by_ranges(hub: Hub, model: Path) -> None:
    files = HfFileSystem(endpoint=hub.endpoint, token=hub.token, skip_instance_cache=True)
    hub.log.clear()
    with files.open(f"{REPO}/deep/x.deathtensors", "rb", cache_type="none") as file:
        file.seek(1000)
        assert file.read(100) == DATA[1000:1100]
    assert [one.sent for one in hub.log.entries() if one.origin == "cdn"] == [100]


def test_a_signed_url_expires_and_cannot_be_forged(hub: Hub, model: Path) -> None:
    location = get_hf_file_metadata(resolve(hub)).location
    assert get(location)[0] == 200
    assert get(location.replace("Expires=1", "Expires=2"))[0] == 403
    hub.switches.set({"lifetime": -1})
    assert get(get_hf_file_metadata(resolve(hub)).location)[0] == 403


def test_cors_is_as_observed(hub: Hub, model: Path) -> None:
    page = "http://page.example"
    _, headers, _ = get(resolve(hub, "README.md"), Origin=page)
    assert headers["Access-Control-Allow-Origin"] == page
    assert "X-Linked-Size" in headers["Access-Control-Expose-Headers"]
    location = get_hf_file_metadata(resolve(hub)).location
    _, headers, _ = get(location, Origin="null")
    assert headers["Access-Control-Allow-Origin"] == "*"
    assert "Content-Range" in headers["Access-Control-Expose-Headers"]
    hub.switches.set({"expose_content_range": False})
    assert get(location, Origin="null")[1]["Access-Control-Expose-Headers"] is None
    hub.switches.set({"cdn_cors": False, "hub_cors": False})
    for url in (location, resolve(hub, "README.md")):
        assert get(url, Origin="null")[1]["Access-Control-Allow-Origin"] is None


def test_preflights_pass_at_the_hub_and_fail_at_the_cdn(hub: Hub, model: Path) -> None:
    asks = {"Origin": "http://page.example", "Access-Control-Request-Headers": "authorization",
            "Access-Control-Request-Method": "GET"}  # fmt: skip
    seen = {}
    for url in (resolve(hub), get_hf_file_metadata(resolve(hub)).location):
        request = urllib.request.Request(url, headers=asks, method="OPTIONS")
        try:
            with urllib.request.urlopen(request) as answer:
                seen[url] = (answer.status, answer.headers["Access-Control-Allow-Headers"])
        except urllib.error.HTTPError as error:
            with error:
                seen[url] = (error.code, error.headers["Access-Control-Allow-Headers"])
    assert list(seen.values()) == [(204, "authorization"), (403, None)]


# --- faults, and the command


def test_every_fault_strikes_as_it_says(hub: Hub, model: Path) -> None:
    asked = {"Range": "bytes=100-199"}
    hub.fail(origin="hub", status=429, headers={"Retry-After": "1"})
    status, headers, _ = get(resolve(hub), **asked)
    assert (status, headers["Retry-After"]) == (429, "1")
    hub.fail(origin="cdn", ignore_range=True)
    assert get(resolve(hub), **asked)[::2] == (200, DATA)
    hub.fail(origin="cdn", truncate=10)
    assert get(resolve(hub), **asked)[2] == DATA[100:190]
    hub.fail(origin="cdn", shift=5)
    assert get(resolve(hub), **asked)[1]["Content-Range"].startswith("bytes 105-204/")
    hub.fail(origin="cdn", flip=150)
    body = get(resolve(hub), **asked)[2]
    assert [at for at in range(100) if body[at] != DATA[100 + at]] == [50]
    hub.fail(path="none such", status=500, times=None)
    hub.fail(origin="cdn", headers={"ETag": '"other"'}, skip=1)
    assert get(resolve(hub), **asked)[1]["ETag"] == f'"{sha256(DATA)}"'
    assert get(resolve(hub), **asked)[1]["ETag"] == '"other"'
    hub.fail(delay=0.3)
    began = time.monotonic()
    get(resolve(hub, "README.md"))
    assert time.monotonic() - began > 0.3
    with pytest.raises(ValueError, match="no such fields"):
        hub.fail(unknown=1)


def test_the_command_is_steered_over_http(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "tests.hub", "--folder", str(tmp_path / "of its own")]
    pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, cwd=ROOT, **pipes) as process:
        facts = json.loads(process.stdout.readline())

        def steer(method: str, what: str, value: Any = None) -> Any:
            body = None if value is None else json.dumps(value).encode()
            url = f"{facts['hub']}/__test__/{what}"
            request = urllib.request.Request(url, data=body, method=method)
            with urllib.request.urlopen(request) as answer:
                return json.loads(answer.read())

        (tmp_path / "x").write_bytes(DATA)
        posted = {"id": "org/a", "files": {"x.bin": str(tmp_path / "x")}, "texts": {"b": "c"}}
        assert len(steer("POST", "repo", posted)["commit"]) == 40
        steer("POST", "settings", {"latency": 0.01})
        steer("POST", "faults", [{"path": "/b$", "status": 500}, {"path": "never"}])
        assert get(f"{facts['hub']}/org/a/resolve/main/b")[0] == 500
        assert get(f"{facts['hub']}/org/a/resolve/main/b")[2] == b"c"
        assert get(f"{facts['hub']}/org/a/resolve/main/x.bin", Range="bytes=0-9")[2] == DATA[:10]
        steer("DELETE", "faults")
        seen = [(one["origin"], one["status"], one["range"], one["sent"])
                for one in steer("GET", "log")]  # fmt: skip
        assert seen[-1] == ("cdn", 206, "bytes=0-9", 10)
        steer("DELETE", "log")
        assert steer("GET", "log") == []
        assert get(f"{facts['hub']}/__test__/log", Origin="http://page.example")[0] == 403
        process.stdin.close()  # whoever started it went away
        assert process.wait(20) == 0
