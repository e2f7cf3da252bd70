"""What went wrong at the Hub, and what to do about it."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from contextlib import suppress
from itertools import islice
from typing import Any

from .. import errors
from ._hub_reference import Reference
from ._patience import Again, may_pass, retry_after
from ._token import HOW

#: A tree's first page holds that many files; more are not looked at.
_FILES = 1000


class Advisor:
    """Turns the exceptions of huggingface_hub into ours.

    Args:
        hub: the package.
        reference: the file that was asked for.
        endpoint: where the Hub is.
        token: who asks; None for nobody.
    """

    def __init__(self, hub: Any, reference: Reference, endpoint: str, token: str | None) -> None:
        self._hub, self._reference, self._endpoint = hub, reference, endpoint
        self._token = token

    def explain(self, error: Exception) -> Exception:
        """Ours for one of theirs; ``Again`` around it where it may pass."""
        kinds = {kind.__name__ for kind in type(error).__mro__}
        status, headers = _answer(error)
        if "OfflineModeIsEnabled" in kinds:
            return self._error("offline", "the Hub is not asked, since HF_HUB_OFFLINE is set")
        if "GatedRepoError" in kinds:
            return self._gated(status)
        if "RepositoryNotFoundError" in kinds:
            return self._no_repository(status)
        if "RevisionNotFoundError" in kinds:
            return self._no_revision(status)
        if "EntryNotFoundError" in kinds:
            return self._no_file(status)
        if "HFValidationError" in kinds:
            return errors.usage(f"{self._reference}: this is no reference to a file on the Hub")
        if status is not None:
            return self._status(status, headers)
        if kinds & {"TimeoutException", "Timeout"}:
            return Again(self._error("timeout", "the Hub said nothing for too long"))
        if kinds & {"TransportError", "ConnectionError", "RequestException"}:
            message = f"the Hub cannot be reached at {self._endpoint}; is there a connection?"
            return Again(self._error("offline", message))
        return self._error("hub", f"the Hub's answer cannot be understood: {type(error).__name__}")

    def denied(self, status: int) -> errors.DeathTensorsError:
        """The Hub, or the store of its large files, refuses who asks."""
        if self._token is None:
            message = f"the Hub does not allow reading this without a token ({status}): {HOW}"
        else:
            message = (
                f"the Hub refuses the token ({status}): it may be wrong, have expired, or "
                "not be allowed to read this; see https://huggingface.co/settings/tokens"
            )
        return self._error("denied", message, status)

    # --- one by one

    def _status(self, status: int, headers: Any) -> Exception:
        if status in (401, 403):
            return self.denied(status)
        error = self._error("status", f"the Hub answered {status}", status)
        return Again(error, retry_after(headers.get("retry-after"))) if may_pass(status) else error

    def _gated(self, status: int | None) -> Exception:
        page = f"{self._endpoint}/{self._reference.prefix}{self._reference.repo}"
        message = f"the repository is gated: ask for access at {page}"
        if self._token is None:
            message += f", then {HOW}"
        else:
            message += "; the token that was sent has none"
        return self._error("denied", message, status)

    def _no_repository(self, status: int | None) -> Exception:
        wanted = self._reference
        if self._token is None:
            hint = f"or it is private, and nobody is logged in: {HOW}"
        else:
            hint = "or it is private, and the token that was sent may not read it"
        message = f"there is no {wanted.kind} repository {wanted.repo}, {hint}"
        return self._error("not_found", message, status)

    def _no_revision(self, status: int | None) -> Exception:
        wanted, names = self._reference, []
        with suppress(Exception):  # it is advice only
            refs = self._api().list_repo_refs(wanted.repo, repo_type=wanted.kind)
            names = [ref.name for ref in [*refs.branches, *refs.tags]]
        message = f"{wanted.repo} has no revision '{wanted.revision}'"
        return self._error("not_found", message + _nearest(wanted.revision, names), status)

    def _no_file(self, status: int | None) -> Exception:
        wanted, names = self._reference, []
        with suppress(Exception):
            tree = self._api().list_repo_tree(
                wanted.repo, recursive=True, revision=wanted.revision, repo_type=wanted.kind
            )
            names = [entry.path for entry in islice(tree, _FILES) if hasattr(entry, "size")]
        message = f"{wanted.repo} has no file '{wanted.path}' at revision {wanted.revision}"
        return self._error("not_found", message + _nearest(wanted.path, names), status)

    def _api(self) -> Any:
        return self._hub.HfApi(endpoint=self._endpoint, token=self._token or False)

    def _error(
        self, code: str, message: str, status: int | None = None
    ) -> errors.DeathTensorsError:
        return errors.network(code, message, path=str(self._reference), status=status)


def _answer(error: Exception) -> tuple[int | None, Any]:
    response = getattr(error, "response", None)
    return getattr(response, "status_code", None), getattr(response, "headers", {})


def _nearest(wanted: str, names: Iterable[str]) -> str:
    """The names that were probably meant, as the end of a message."""
    names = list(names)
    close = difflib.get_close_matches(wanted, names, 3, 0.5)
    # The right name in another folder is what is meant more often than a similar path.
    base = wanted.rpartition("/")[2]
    elsewhere = [name for name in names if name.rpartition("/")[2] == base]
    likely = list(dict.fromkeys([*elsewhere[:3], *close]))[:3]
    if likely:
        return f"; did you mean {' or '.join(repr(name) for name in likely)}?"
    shown = ", ".join(sorted(names)[:5])
    return f"; there are {shown}{', …' if len(names) > 5 else ''}" if shown else ""
