"""What went wrong at the Hub, and what to do about it."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import Any
from urllib.parse import quote

from .. import errors
from .._spelling import spelled
from . import _logs
from ._hub_reference import Reference
from ._hub_words import Words
from ._patience import Again, may_pass, retry_after
from ._session import Session

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
        self._words = Words(
            endpoint, reference.kind, reference.repo, token is not None, spelled("remote token")
        )

    def explain(self, error: Exception) -> Exception:
        """Ours for one of theirs; ``Again`` around it where it may pass."""
        kinds = {kind.__name__ for kind in type(error).__mro__}
        status, headers = _answer(error)
        if "OfflineModeIsEnabled" in kinds:
            return self._error("offline", "the Hub is not asked, since HF_HUB_OFFLINE is set")
        if "GatedRepoError" in kinds:
            return self._error("denied", self._words.gated(), status)
        if "RepositoryNotFoundError" in kinds:
            return self._error("not_found", self._words.no_repository(), status)
        if "RevisionNotFoundError" in kinds:
            return self._no_revision(status)
        if "EntryNotFoundError" in kinds:
            return self._no_file(status)
        if "HFValidationError" in kinds:
            return errors.usage(f"{self._reference}: this is no reference to a file on the Hub")
        if status is not None:
            return self._status(status, headers)
        if kinds & {"TimeoutException", "Timeout"}:
            return Again(self._error("timeout", self._words.silent()))
        if kinds & {"TransportError", "ConnectionError", "RequestException"}:
            return Again(self._error("offline", self._words.unreachable()))
        return self._error("hub", f"the Hub's answer cannot be understood: {type(error).__name__}")

    def denied(self, status: int) -> errors.DeathTensorsError:
        """The Hub, or the store of its large files, refuses who asks."""
        return self._error("denied", self._words.denied(status), status)

    # --- one by one

    def _status(self, status: int, headers: Any) -> Exception:
        if status in (401, 403):
            return self.denied(status)
        error = self._error("status", f"the Hub answered {status}", status)
        return Again(error, retry_after(headers.get("retry-after"))) if may_pass(status) else error

    def _no_revision(self, status: int | None) -> Exception:
        wanted, names = self._reference, []
        with suppress(Exception):  # it is advice only
            refs = self._look_up("refs")
            names = [ref["name"] for ref in [*refs["branches"], *refs["tags"]]]
        return self._error("not_found", self._words.no_revision(wanted.revision, names), status)

    def _no_file(self, status: int | None) -> Exception:
        wanted, names = self._reference, []
        with suppress(Exception):
            # The first page of the tree: a thousand files.
            tree = self._look_up(f"tree/{quote(wanted.revision, safe='')}?recursive=true")
            names = [entry["path"] for entry in tree if entry["type"] == "file"]
        message = self._words.no_file(wanted.path, wanted.revision, names)
        return self._error("not_found", message, status)

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
