"""Both origins together, and how a test steers them.

Over HTTP, at the hub's origin:

    GET    /__test__/log        every request so far (``faults.Entry``)
    DELETE /__test__/log        forget them
    POST   /__test__/faults     one fault or a list (``faults.Fault``)
    DELETE /__test__/faults     no more of them
    POST   /__test__/settings   any of ``faults.Switches``
    POST   /__test__/repo       {id, kind?, private?, gated?, granted?, branch?, message?,
                                files: {path: local path}, texts: {path: content}}:
                                makes the repository if need be, and commits to it → {commit}
"""

from __future__ import annotations

import os
from types import TracebackType
from typing import Any

from . import writing
from .api import Api
from .cdn import Cdn
from .context import Context
from .faults import Faults, Log, Switches, fault_from
from .store import Repo, Store, User
from .wire import Answer, Origin, Refusal, Request, answer_json


class Hub:
    """Both origins, serving from the start of a ``with`` to its end.

    Args:
        folder: where repositories are kept; what is there already is served.
        users: who each token stands for; see ``store.USERS`` for the usual ones.
    """

    token = "hf_ownerToken"
    reader_token = "hf_readToken"
    stranger_token = "hf_strangerToken"

    def __init__(
        self, folder: str | os.PathLike[str], users: dict[str, User] | None = None
    ) -> None:
        self.switches, self.faults, self.log = Switches(), Faults(), Log()
        self.store = Store(folder, users)
        cdn = Cdn(self.store, self.switches)
        self._context = Context(self.store, cdn, self.switches)
        self._api = Api(self._context)
        common = (self.switches, self.faults, self.log)
        self._cdn_origin = Origin("cdn", cdn.answer, cdn.cors, *common)
        self._hub_origin = Origin("hub", self._answer, self._api.cors, *common)
        cdn.url, self._context.url = self._cdn_origin.url, self._hub_origin.url

    @property
    def endpoint(self) -> str:
        """The hub's origin, for ``HF_ENDPOINT``."""
        return self._hub_origin.url

    @property
    def cdn_endpoint(self) -> str:
        """The origin of large files."""
        return self._cdn_origin.url

    def __enter__(self) -> Hub:
        self._cdn_origin.start()
        self._hub_origin.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._hub_origin.stop()
        self._cdn_origin.stop()

    def fail(self, **fault: Any) -> None:
        """Have something go wrong; see ``Fault``."""
        self.faults.add(fault_from(fault))

    def put(
        self,
        id: str,
        files: dict[str, Any] | None = None,
        texts: dict[str, str] | None = None,
        *,
        kind: str = "models",
        branch: str = "main",
        message: str = "put there by a test",
        **facts: Any,
    ) -> str:
        """Make a repository if need be, and commit local files to it, as LFS.

        Args:
            id: ``namespace/name``.
            files: local path by path in the repository.
            texts: contents that are kept as regular files.
            kind: models, datasets or spaces.
            branch: made from ``main`` if it is not there.
            message: the commit's title.
            facts: private, gated, granted.

        Returns:
            The commit.
        """
        repo: Repo = self.store.find(kind, id) or self.store.create(kind, id)
        for name, value in facts.items():
            if name not in ("private", "gated", "granted"):
                raise ValueError(f"a repository has no {name}")
            setattr(repo, name, value)
        if branch not in repo.refs:
            repo.refs[branch] = repo.refs["main"]
        changed = {path: self.store.adopt(local) for path, local in (files or {}).items()}
        changed.update(
            {path: self.store.entry_of(text.encode()) for path, text in (texts or {}).items()}
        )
        return self.store.commit(repo, branch, message, changed=changed)

    # --- the hub's origin, steering included

    def _answer(self, request: Request) -> Answer:
        if request.segments[0] == "__test__":
            return self._steer(request, "/".join(request.segments[1:]))
        if request.segments[0] == "__parts__" and request.method == "POST":
            return writing.complete(self._context, request.segments[1], request)
        return self._api.answer(request)

    def _steer(self, request: Request, what: str) -> Answer:
        if request.headers.get("Origin") is not None:
            raise Refusal(403, None, "no page may steer the tests")
        asked = (request.method, what)
        if asked == ("GET", "log"):
            return answer_json(self.log.as_json())
        if asked == ("DELETE", "log"):
            self.log.clear()
        elif asked == ("DELETE", "faults"):
            self.faults.clear()
        elif asked == ("POST", "faults"):
            posted = request.json()
            for fault in posted if isinstance(posted, list) else [posted]:
                self.fail(**fault)
        elif asked == ("POST", "settings"):
            self.switches.set(request.json())
        elif asked == ("POST", "repo"):
            return answer_json({"commit": self.put(**request.json())})
        else:
            raise Refusal(404, None, "tests cannot steer that")
        return answer_json({})
