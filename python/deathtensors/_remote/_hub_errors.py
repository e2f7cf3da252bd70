"""What went wrong at the Hub, and what to do about it."""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterable
from contextlib import suppress
from typing import Any
from urllib.parse import quote

from .. import errors
from . import _logs
from ._hub_reference import Reference
from ._patience import Again, may_pass, retry_after
from ._session import Session
from ._token import HOW

#: Advice may cost that many seconds of silence, and that many bytes, and no second try.
_PATIENCE = 5.0
_MOST = 4 << 20


class Advisor:
    """Turns the exceptions of huggingface_hub into ours.

    Args:
        session: whose connections it may use to find out more.
        reference: the file that was asked for.
        endpoint: where the Hub is.
        token: who asks; None for nobody.
    """

    def __init__(
        self, session: Session, reference: Reference, endpoint: str, token: str | None
    ) -> None:
        self._session, self._reference = session, reference
        self._endpoint, self._token = endpoint, token

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
            refs = self._look_up("refs")
            names = [ref["name"] for ref in [*refs["branches"], *refs["tags"]]]
        message = f"{wanted.repo} has no revision '{wanted.revision}'"
        return self._error("not_found", message + nearest(wanted.revision, names), status)

    def _no_file(self, status: int | None) -> Exception:
        wanted, names = self._reference, []
        with suppress(Exception):
            # The first page of the tree: a thousand files.
            tree = self._look_up(f"tree/{quote(wanted.revision, safe='')}?recursive=true")
            names = [entry["path"] for entry in tree if entry["type"] == "file"]
        message = f"{wanted.repo} has no file '{wanted.path}' at revision {wanted.revision}"
        return self._error("not_found", message + nearest(wanted.path, names), status)

    def _look_up(self, what: str) -> Any:
        """One answer of the Hub's about the repository; any failure is an exception."""
        url = f"{self._endpoint}/api/{self._reference.kind}s/{self._reference.repo}/{what}"
        headers = {"Authorization": f"Bearer {self._token}"} if self._token else {}
        self._session.meter.count("requests")
        client = self._session.client()
        with (
            _logs.discreet(),
            client.stream(
                "GET", url, headers=headers, timeout=min(_PATIENCE, self._session.options.timeout)
            ) as response,
        ):
            response.raise_for_status()
            body = b""
            for chunk in response.iter_raw():
                body += chunk
                self._session.meter.count("bytes", len(chunk))
                if len(body) > _MOST:
                    raise ValueError("too much for a piece of advice")
        return json.loads(body)

    def _error(
        self, code: str, message: str, status: int | None = None
    ) -> errors.DeathTensorsError:
        return errors.network(code, message, path=str(self._reference), status=status)


def _answer(error: Exception) -> tuple[int | None, Any]:
    response = getattr(error, "response", None)
    return getattr(response, "status_code", None), getattr(response, "headers", {})


def nearest(wanted: str, names: Iterable[str]) -> str:
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
