"""The first origin: who may do what, and which function answers."""

from __future__ import annotations

from typing import Any

from . import reading, writing
from .context import Context
from .store import KINDS, Repo, User
from .wire import Answer, Refusal, Request, answer_json

_EXPOSED = (
    "X-Repo-Commit,X-Request-Id,X-Error-Code,X-Error-Message,X-Total-Count,ETag,Link,"
    "Accept-Ranges,Content-Range,X-Linked-Size,X-Linked-ETag,X-Xet-Hash"
)
_NO_XET = "this model of the Hub has no Xet store; set HF_HUB_DISABLE_XET=1"


class Api:
    """Answers for the hub's origin."""

    def __init__(self, context: Context) -> None:
        self._context = context

    def cors(self, request: Request) -> dict[str, str] | None:
        page = request.headers.get("Origin")
        if not self._context.switches.hub_cors or page is None:
            return None
        headers = {"Access-Control-Allow-Origin": page, "Vary": "Origin"}
        if request.method == "OPTIONS":
            asked = request.headers.get("Access-Control-Request-Headers")
            headers["Access-Control-Allow-Methods"] = "GET,HEAD,POST,PUT,DELETE"
            headers["Access-Control-Allow-Headers"] = asked or "authorization"
            headers["Access-Control-Max-Age"] = "86400"
        else:
            headers["Access-Control-Expose-Headers"] = _EXPOSED
        return headers

    def answer(self, request: Request) -> Answer:
        user = self._user(request)
        segments = request.segments
        if segments[0] == "api":
            return self._api(request, segments[1:], user)
        kind = segments[0] if segments[0] in KINDS[1:] else "models"
        rest = segments[1:] if segments[0] == kind else segments
        if len(rest) > 4 and rest[2] == "resolve" and request.method in ("GET", "HEAD"):
            repo = self._readable(kind, rest[:2], user, contents=True)
            return reading.resolve(self._context, repo, rest[3], "/".join(rest[4:]))
        if len(rest) > 4 and rest[1].endswith(".git") and rest[2:4] == ["info", "lfs"]:
            repo = self._writable(kind, [rest[0], rest[1][:-4]], user)
            return writing.lfs(self._context, repo, request, rest[4:])
        raise Refusal(404, None, "this model of the Hub has no such page")

    # --- /api/…

    def _api(self, request: Request, rest: list[str], user: User | None) -> Answer:
        method = request.method
        if rest == ["whoami-v2"]:
            return _whoami(user)
        if rest == ["validate-yaml"]:
            request.body()
            return answer_json({"errors": [], "warnings": []})
        if rest == ["repos", "create"] and method == "POST":
            return self._create(request.json(), user)
        if rest == ["repos", "delete"] and method == "DELETE":
            kind, name = _named(request.json(), user)
            self._context.store.delete(self._writable(kind, name.split("/"), user))
            return answer_json({})
        if rest[0] == "resolve-cache" and len(rest) > 5 and method in ("GET", "HEAD"):
            repo = self._readable(rest[1], rest[2:4], user, contents=True)
            return reading.cached(self._context, repo, rest[4], "/".join(rest[5:]))
        if rest[0] in KINDS and len(rest) > 2:
            return self._repo(request, rest[0], rest[1:3], rest[3:], user)
        raise Refusal(404, None, "this model of the Hub has no such endpoint")

    def _repo(
        self, request: Request, kind: str, name: list[str], rest: list[str], user: User | None
    ) -> Answer:
        context, method = self._context, request.method
        word, revision = [*rest, "", ""][:2]
        if method == "GET" or word == "paths-info":
            repo = self._readable(kind, name, user)
            if word in ("", "revision"):
                return reading.info(context, repo, revision or "main", request)
            if word == "tree":
                return reading.tree(context, repo, revision, "/".join(rest[2:]), request)
            if word == "paths-info":
                return reading.paths_info(repo, revision, request)
            if word == "refs":
                return reading.refs(repo)
            if word == "commits":
                return reading.commits(repo, revision)
        elif word in ("preupload", "commit", "branch", "tag", "settings"):
            repo = self._writable(kind, name, user)
            if word == "settings":
                return writing.settings(context, repo, request)
            if word in ("branch", "tag"):
                return writing.ref(context, repo, word, revision, request)
            answer = writing.preupload if word == "preupload" else writing.commit
            assert user is not None
            return answer(context, repo, revision, request, user)
        if word.startswith("xet-"):
            raise Refusal(501, None, _NO_XET)
        raise Refusal(404, None, "this model of the Hub has no such endpoint")

    def _create(self, asked: Any, user: User | None) -> Answer:
        kind, name = _named(asked, user)
        assert user is not None
        if not _owns(user, name):
            raise Refusal(403, None, f"You don't have the rights to create {name}")
        private = bool(asked.get("private")) or asked.get("visibility") == "private"
        url = f"{self._context.url}/{'' if kind == 'models' else kind + '/'}{name}"
        if self._context.store.find(kind, name) is not None:
            said = {"error": "You already created this repo", "url": url}
            return answer_json(said, 409, {"X-Error-Message": said["error"]})
        repo = self._context.store.create(kind, name, private)
        return answer_json({"url": url, "name": repo.id, "id": repo.id})

    # --- rights

    def _user(self, request: Request) -> User | None:
        header = request.headers.get("Authorization")
        if header is None:
            return None
        user = self._context.store.users.get(header[len("Bearer ") :])
        if user is None or not header.startswith("Bearer "):
            raise Refusal(401, None, "Invalid credentials in Authorization header")
        return user

    def _readable(
        self, kind: str, name: list[str], user: User | None, contents: bool = False
    ) -> Repo:
        repo = self._context.store.find(kind, "/".join(name)) if kind in KINDS else None
        if repo is None or (repo.private and (user is None or not _belongs(user, repo))):
            # Whoever is nobody is not told which of the two it is.
            if user is None:
                raise Refusal(401, "RepoNotFound", "Invalid username or password.")
            raise Refusal(404, "RepoNotFound", "Repository not found")
        if (
            contents
            and repo.gated
            and not (user and (_belongs(user, repo) or _granted(user, repo)))
        ):
            raise Refusal(
                403 if user else 401,
                "GatedRepo",
                f"Access to {repo.kind[:-1]} {repo.id} is restricted. You must have access to it "
                "and be authenticated to access it. Please log in.",
            )
        return repo

    def _writable(self, kind: str, name: list[str], user: User | None) -> Repo:
        repo = self._readable(kind, name, user)
        if user is None:
            raise Refusal(401, None, "Invalid username or password.")
        if not (user.writes and _belongs(user, repo)):
            raise Refusal(
                403, None, f"Forbidden: you must use a token with write access to {repo.id}"
            )
        return repo


def _belongs(user: User, repo: Repo) -> bool:
    return repo.namespace == user.name or repo.namespace in user.orgs


def _owns(user: User, name: str) -> bool:
    namespace = name.split("/")[0]
    return user.writes and (namespace == user.name or namespace in user.orgs)


def _granted(user: User, repo: Repo) -> bool:
    return user.name in repo.granted


def _named(asked: Any, user: User | None) -> tuple[str, str]:
    """The kind and the whole name of a repository that is to be made or deleted."""
    if user is None:
        raise Refusal(401, None, "Invalid username or password.")
    kind = (asked.get("type") or "model") + "s"
    return kind, f"{asked.get('organization') or user.name}/{asked['name']}"


def _whoami(user: User | None) -> Answer:
    if user is None:
        raise Refusal(401, None, "Invalid username or password.")
    role = "write" if user.writes else "read"
    return answer_json(
        {
            "type": "user",
            "id": user.name,
            "name": user.name,
            "fullname": user.name,
            "orgs": [{"type": "org", "name": org} for org in user.orgs],
            "auth": {
                "type": "access_token",
                "accessToken": {"displayName": "test", "role": role},
            },
        }
    )
