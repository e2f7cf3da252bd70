"""What goes wrong at the Hub, told as an error that says what to do."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib import import_module
from typing import TYPE_CHECKING, Any

from .. import errors
from .._spelling import spelled

if TYPE_CHECKING:
    from ._repository import Repository

#: The packages that the client's releases send requests with.
_TRANSPORTS = {"httpx", "httpx2", "httpcore", "httpcore2", "requests", "urllib3"}


@contextmanager
def explained(repo: Repository, path: str | None = None) -> Iterator[None]:
    """Turn the client's errors into ours.

    Args:
        repo: the repository that is asked.
        path: the file that is asked for, if it is about one.
    """
    try:
        yield
    except errors.DeathTensorsError:
        raise
    except Exception as error:
        ours = _explanation(error, repo, path)
        if ours is None:
            raise
        # Their text and their causes may hold signed addresses.
        raise ours from None


def _explanation(
    error: BaseException, repo: Repository, path: str | None
) -> errors.DeathTensorsError | None:
    utils: Any = import_module("huggingface_hub.utils")
    place = repo.name if path is None else f"{repo.name}/{path}"
    if isinstance(error, utils.HFValidationError):
        return errors.usage(f"the Hub takes no such name: {error}", code="usage.option")
    if isinstance(error, utils.LocalEntryNotFoundError):
        # The client tells by its cause why it looked in its cache alone.
        cause = error.__cause__ or error.__context__
        told = None if cause is None else _explanation(cause, repo, path)
        return told or _offline(place)
    if isinstance(error, utils.OfflineModeIsEnabled):
        return _offline(place)
    if isinstance(error, utils.RevisionNotFoundError):
        return _no_revision(repo)
    if isinstance(error, utils.EntryNotFoundError):
        return _no_file(repo, path)
    if isinstance(error, utils.HfHubHTTPError):
        return _refused(error, repo, place)
    if _is_of_transport(error):
        return _unreached(error, place, repo)
    if type(error) is ValueError and "Invalid filename" in str(error):
        return errors.usage(f"{place}: this system can have no such file", code="usage.option")
    if isinstance(error, OSError) and "onsistency check" in str(error):
        message = "the connection broke off; try again, and what arrived is not asked for again"
        return errors.network("truncated", message, path=place)
    if isinstance(error, OSError) and error.errno is not None:
        return errors.from_os_error(error, str(error.filename or place))
    return None


# --- answers


def _refused(error: Any, repo: Repository, place: str) -> errors.DeathTensorsError:
    utils: Any = import_module("huggingface_hub.utils")
    status = getattr(error.response, "status_code", None)
    said = _said(error)

    def network(code: str, message: str) -> errors.DeathTensorsError:
        return errors.network(code, message, path=place, status=status)

    if isinstance(error, utils.GatedRepoError):
        return network("denied", repo.words.gated())
    if isinstance(error, utils.RepositoryNotFoundError):
        hint = f"; {spelled('kind of repository')} chooses among the kinds"
        return network("not_found", f"{repo.words.no_repository()}{hint}")
    if status == 401:
        return network("denied", repo.words.denied(status))
    if status == 403:
        return network("denied", repo.words.not_writable(said))
    if status == 412:
        return moved(repo, status)
    return network("not_found" if status == 404 else "status", f"the Hub answered {status}{said}")


def moved(repo: Repository, status: int | None = None) -> errors.DeathTensorsError:
    """The branch is not any more what it was when the work began."""
    message = "somebody committed to the repository meanwhile, so nothing was changed; try again"
    return errors.network("changed", message, path=repo.name, status=status)


def _said(error: Any) -> str:
    """The Hub's own words, without addresses, which may be signed."""
    words = getattr(error, "server_message", None) or ""
    words = " ".join(str(words).split())
    return f" ({words[:200]})" if words and "://" not in words else ""


def _unreached(error: BaseException, place: str, repo: Repository) -> errors.DeathTensorsError:
    if "Timeout" in type(error).__name__:
        return errors.network("timeout", repo.words.silent(), path=place)
    return errors.network("offline", repo.words.unreachable(), path=place)


def _offline(place: str) -> errors.DeathTensorsError:
    return errors.network(
        "offline",
        "it is not in the cache, and the Hub was not asked or did not answer; check the "
        "connection, and HF_HUB_OFFLINE and HF_ENDPOINT",
        path=place,
    )


def _is_of_transport(error: BaseException) -> bool:
    packages = {kind.__module__.split(".")[0] for kind in type(error).__mro__}
    return bool(packages & _TRANSPORTS) or isinstance(error, ConnectionError)


# --- names that are nearly right


def _no_revision(repo: Repository) -> errors.DeathTensorsError:
    names: list[str] = []
    with suppress(Exception):
        refs = repo.api.list_repo_refs(repo.id, repo_type=repo.type)
        names = [one.name for one in (*refs.branches, *refs.tags)]
    message = repo.words.no_revision(repo.revision or "main", names)
    return errors.network("not_found", message, path=repo.name, status=404)


def _no_file(repo: Repository, path: str | None) -> errors.DeathTensorsError:
    names: list[str] = []
    with suppress(Exception):
        names = repo.api.list_repo_files(repo.id, repo_type=repo.type, revision=repo.revision)
    place = repo.name if path is None else f"{repo.name}/{path}"
    message = repo.words.no_file(path or "", repo.revision or "main", names)
    return errors.network("not_found", message, path=place, status=404)
