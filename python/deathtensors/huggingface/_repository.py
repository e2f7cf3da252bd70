"""One repository of the Hub, as the Hub's own client reaches it."""

from __future__ import annotations

import os.path
from importlib import import_module
from typing import TYPE_CHECKING, Any, Union
from urllib.parse import quote

from .. import __version__, errors
from .._arguments import words
from .._paths import expand_path
from .._remote._hub_reference import PREFIXES, endpoint
from .._remote._hub_words import Words
from .._remote._token import token as find_token
from .._spelling import spelled
from ..remote import RemoteOptions
from ._problems import explained

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .._paths import StrPath

#: Where each kind of repository begins, in addresses.

#: The token itself; None for the environment's or the stored login's, True for the
#: same but refusing where there is none, False for nobody.
Token = Union[str, bool, None]


class Repository:
    """A repository at a revision. Nothing is asked before a method is called.

    Args:
        repo_id: ``namespace/name``.
        repo_type: model, dataset or space.
        revision: a branch, a tag or a commit; None for ``main``.
        token: see ``Token``.

    Raises:
        MissingPackageError: huggingface_hub is not installed.
        UsageError: an argument cannot be used.
    """

    def __init__(
        self,
        repo_id: str,
        repo_type: str = "model",
        revision: str | None = None,
        token: Token = None,
    ) -> None:
        hub = _client()
        if not isinstance(repo_type, str) or repo_type not in PREFIXES:
            raise errors.usage(
                "there is no such kind of repository",
                code="usage.option",
                expected="'model', 'dataset' or 'space'",
                found=repr(repo_type)[:80],
            )
        self.id = words(repo_id, "repo_id")
        utils: Any = import_module("huggingface_hub.utils")
        try:
            utils.validate_repo_id(repo_id)
        except utils.HFValidationError as error:
            raise errors.usage(
                f"the Hub takes no such name: {error}", code="usage.option"
            ) from None
        if revision is not None:
            words(revision, "revision")
        self.type = repo_type
        self.revision = revision
        #: The token as the caller gave it, which may go into a pickle; what was found in
        #: the environment may not.
        self.given = token
        #: The token to show, or False for nobody, so that the client looks for none.
        self.token: str | bool = find_token(RemoteOptions(token=token).token, hub) or False
        self.endpoint = endpoint()
        self.api: Any = hub.HfApi(
            endpoint=self.endpoint,
            token=self.token,
            library_name="deathtensors",
            library_version=__version__,
        )

    @property
    def name(self) -> str:
        """What people call it: ``hf://datasets/org/name``."""
        return f"hf://{PREFIXES[self.type]}{self.id}"

    @property
    def words(self) -> Words:
        """What the Hub's refusals mean."""
        # Made anew, since the id may get its namespace later.
        return Words(self.endpoint, self.type, self.id, bool(self.token), spelled("token"))

    @property
    def page(self) -> str:
        """Its page on the web."""
        return self.words.page

    def address(self, path: str, revision: str | None = None) -> str:
        """What opens a file by ranges: ``hf://org/name@commit/path``."""
        at = quote(revision or self.revision or "main", safe="")
        return f"{self.name}@{at}/{path}"

    def url(self, path: str) -> str:
        """The page of a file."""
        at = quote(self.revision or "main", safe="")
        return f"{self.page}/blob/{at}/{quote(path)}"

    # --- reading

    @staticmethod
    def path(value: object, what: str) -> str:
        """A path in a repository, which neither begins at the root nor leads out of it.

        Raises:
            UsageError: it is none.
        """
        path = words(value, what)
        parts = path.split("/")
        if not parts[0] or "\0" in path or any(part in (".", "..") for part in parts):
            raise errors.usage(
                f"{what} is no path in a repository",
                code="usage.option",
                expected="folder/name, without . and ..",
                found=path[:200],
            )
        return path

    def info(self) -> Any:
        """What the Hub says about it at this revision; ``sha`` is the commit."""
        with explained(self):
            return self._info()

    def _info(self) -> Any:
        return self.api.repo_info(self.id, repo_type=self.type, revision=self.revision)

    def files(self, commit: str | None = None) -> list[str]:
        """The paths of all files."""
        with explained(self):
            found: list[str] = self.api.list_repo_files(
                self.id, repo_type=self.type, revision=commit or self.revision
            )
            return found

    def download(
        self, path: str, *, commit: str | None = None, cache_dir: StrPath | None = None
    ) -> tuple[str, str]:
        """A file in the client's cache, downloaded if it is not there.

        Returns:
            Its path on this machine, and the commit that it is of.
        """
        with explained(self, path):
            local: str = self.api.hf_hub_download(
                self.id,
                path,
                repo_type=self.type,
                revision=commit or self.revision,
                # The client would look for a home folder in a path that begins with a tilde.
                cache_dir=None if cache_dir is None else os.path.abspath(expand_path(cache_dir)),
            )
        # …/snapshots/<commit>/<path>
        folder = local
        for _ in path.split("/"):
            folder = os.path.dirname(folder)
        return local, os.path.basename(folder)

    # --- writing

    def need_token(self, what: str) -> None:
        """Refuse at once what the Hub would refuse in the end."""
        if not self.token:
            raise errors.network(
                "denied",
                self.words.no_token(what),
                path=self.name,
            )

    def prepare(self, *, create: bool, private: bool | None) -> Any:
        """Have the repository there, and see that it is what the caller thinks.

        Returns:
            As ``info()``.
        """
        utils: Any = import_module("huggingface_hub.utils")
        self.need_token("push")
        with explained(self):
            if create and "/" not in self.id:
                self._create(private)
            try:
                info = self._info()
            except utils.GatedRepoError:
                raise
            except utils.RepositoryNotFoundError as error:
                if not create or error.response.status_code == 401:
                    raise
                self._create(private)
                info = self._info()
        if private and info.private is False:
            raise errors.usage(
                f"{self.name} is there already and is public, so nothing was sent; make it private "
                f"at {self.page}/settings, or push without {spelled('private')}"
            )
        return info

    def _create(self, private: bool | None) -> None:
        if self.type == "space":
            raise errors.usage(
                f"there is no {self.name}, and a Space needs an SDK: make it at "
                f"{self.endpoint}/new-space first"
            )
        made = self.api.create_repo(self.id, repo_type=self.type, private=private, exist_ok=True)
        self.id = made.repo_id  # the Hub adds the namespace if there was none

    def commit(
        self,
        message: str,
        additions: Sequence[Any],
        *,
        deleted: Sequence[str] = (),
        parent: str | None = None,
    ) -> None:
        """Change files in one commit, or nothing at all.

        Args:
            message: its first line.
            additions: what to add, as ``addition()`` made it.
            deleted: paths to delete.
            parent: refuse unless this is still the newest commit.
        """
        from huggingface_hub import CommitOperationDelete

        with explained(self):
            self.api.create_commit(
                self.id,
                [*additions, *(CommitOperationDelete(path, is_folder=False) for path in deleted)],
                commit_message=message,
                repo_type=self.type,
                revision=self.revision,
                parent_commit=parent,
            )

    def addition(self, path: str, content: str | bytes) -> Any:
        """A file to commit: its path in the repository, and a local path or its bytes."""
        from huggingface_hub import CommitOperationAdd

        try:
            return CommitOperationAdd(path, content)
        except ValueError as error:
            raise errors.usage(f"the Hub takes no such path: {error}") from error

    def upload(self, addition: Any) -> None:
        """Send what a later commit will add. Its content is not needed any more then."""
        with explained(self):
            self.api.preupload_lfs_files(
                self.id, [addition], repo_type=self.type, revision=self.revision
            )

    def check_writable(self) -> None:
        """See that the token may commit here, before work is done for it."""
        # A small file is announced, and never sent.
        self.upload(self.addition("deathtensors.json", b"{}"))


def _client() -> Any:
    try:
        import_module("huggingface_hub.constants")  # no attribute before it is imported
        return import_module("huggingface_hub")
    except ImportError as error:
        raise errors.missing_package(
            "huggingface_hub", "for the Hugging Face Hub", "deathtensors[huggingface]"
        ) from error
