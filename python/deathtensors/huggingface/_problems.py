"""What goes wrong at the Hub, told as an error that says what to do."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib import import_module
from typing import TYPE_CHECKING, Any

from .. import errors
from .._remote._hub_errors import nearest

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
        login = "" if repo.token else ", and log in (`hf auth login`, HF_TOKEN or token=)"
        return network("denied", f"the repository is gated: ask for access at {repo.page}{login}")
    if isinstance(error, utils.RepositoryNotFoundError):
        why = (
            "or this token may not see it"
            if repo.token
            else "or is private: log in with `hf auth login`, set HF_TOKEN, or pass token="
        )
        kind = f"there is no such {repo.type}"
        return network("not_found", f"{kind}, {why}; repo_type= chooses among the kinds")
    if status == 401:
        return network(
            "denied", f"the Hub does not know this token; {repo.endpoint}/settings/tokens makes one"
        )
    if status == 403:
        return network(
            "denied",
            f"this token may not do that{said}; {repo.endpoint}/settings/tokens shows what it "
            "may, and writing takes one with write access",
        )
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
        return errors.network("timeout", f"{repo.endpoint} said nothing for too long", path=place)
    return errors.network(
        "offline", f"{repo.endpoint} cannot be reached: {type(error).__name__}", path=place
    )


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
    return errors.network(
        "not_found",
        f"there is no branch, tag or commit '{repo.revision or 'main'}'"
        f"{nearest(repo.revision or 'main', names)}",
        path=repo.name,
        status=404,
    )


def _no_file(repo: Repository, path: str | None) -> errors.DeathTensorsError:
    names: list[str] = []
    with suppress(Exception):
        names = repo.api.list_repo_files(repo.id, repo_type=repo.type, revision=repo.revision)
    return errors.network(
        "not_found",
        f"there is no such file at {repo.revision or 'main'}{nearest(path or '', names)}",
        path=repo.name if path is None else f"{repo.name}/{path}",
        status=404,
    )
