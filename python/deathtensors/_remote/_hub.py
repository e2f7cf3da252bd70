"""Files of the Hugging Face Hub, found with ``huggingface_hub``."""

from __future__ import annotations

import json
import re
import threading
from inspect import signature
from typing import Any

from .. import _deathtensors, errors
from . import _cache, _logs, _urls
from ._http import HttpTransfer, Place, Version
from ._hub_errors import Advisor
from ._hub_reference import Reference, endpoint
from ._patience import Again, Patience
from ._session import Session, http_library
from ._token import token

_NEVER = threading.Event()
#: The ETag of a large file is its SHA-256, that of a small one its name in git.
_SHA256 = re.compile("[0-9a-f]{64}")


class HubTransfer(HttpTransfer):
    """``hf://…``: pinned to the commit that the revision meant when it was opened.

    One HEAD request tells the commit, the size, the ETag and the location of the bytes,
    which is signed and expires; it is looked up again when it does. With ``cache_dir``,
    a file whose revision is a commit needs no request at all once it was read.
    """

    def __init__(self, reference: Reference, session: Session) -> None:
        self._hub: Any = _huggingface_hub()
        _logs.watch(http_library().__name__)
        self._endpoint = endpoint()
        self._token = token(session.options.token, self._hub)
        super().__init__(session, str(reference))
        self._reference = reference
        self._etag = ""
        try:
            if not self._recall():
                self._where = self._locate(None, _NEVER)
                self._remember()
            self._keep(("hub", self._endpoint, self._etag, self.length))
        except BaseException:
            self.close()
            raise
        self.pinned = str(self._reference)

    def sibling(self, name: str) -> HubTransfer:
        return HubTransfer(self._reference.beside(_urls.checked_name(name)), self._session)

    # --- where the bytes are

    def _locate(self, old: Place | None, stop: threading.Event) -> Place:
        advisor = self._advisor()
        patience = Patience(self._session.options.retries, self._session.meter)
        while True:
            try:
                found = self._metadata(advisor)
                break
            except Again as again:
                patience.wait(again, stop)
        self._pin(found, advisor)
        # Small files are the Hub's own; the store of large ones is shown nothing.
        same = _urls.origin(found.location) == _urls.origin(self._endpoint)
        headers = dict(self._session.options.headers or {}) if same else {}
        if same and self._token is not None:
            headers["Authorization"] = f"Bearer {self._token}"
        return Place(found.location, headers, Version(self.name, self.length))

    def _metadata(self, advisor: Advisor) -> Any:
        """The commit, size, etag and location, as the Hub tells them now."""
        options, wanted = self._session.options, self._reference
        try:
            url = self._hub.hf_hub_url(
                wanted.repo,
                wanted.path,
                repo_type=wanted.kind,
                revision=wanted.revision,
                endpoint=self._endpoint,
            )
        except Exception as error:
            raise advisor.explain(error) from None
        more = {"headers": self._own_headers()} if options.headers else {}
        meter = self._session.meter
        meter.count("resolves")
        meter.count("requests")
        try:
            with _logs.discreet():
                found = self._hub.get_hf_file_metadata(
                    url,
                    token=self._token or False,
                    timeout=options.timeout,
                    library_name="deathtensors",
                    library_version=_deathtensors.__version__,
                    **more,
                )
        except Exception as error:
            # Their text and their causes may hold signed URLs.
            raise advisor.explain(error) from None
        if found.location != url and _urls.origin(found.location) == _urls.origin(url):
            meter.count("requests")  # a redirect that was followed
        return found

    def _own_headers(self) -> dict[str, str]:
        if "headers" not in signature(self._hub.get_hf_file_metadata).parameters:
            raise errors.usage(
                "the option headers needs a newer huggingface_hub", code="usage.unavailable"
            )
        return dict(self._session.options.headers or {})

    def _pin(self, found: Any, advisor: Advisor) -> None:
        """Keep to the commit that was found first, and to what it holds."""
        size, commit, etag = found.size, found.commit_hash, found.etag or ""
        if not isinstance(size, int) or size < 0 or not commit or not etag:
            raise errors.network(
                "hub", "the Hub does not tell the commit, size and ETag of the file", path=self.name
            )
        if not self._etag:
            self._reference = self._reference.at(commit)
            self.length, self._etag = size, etag
            self.sha256 = etag if _SHA256.fullmatch(etag) else None
        elif (size, etag) != (self.length, self._etag):
            raise Version(self.name).changed(
                f"{self.length} bytes, ETag {self._etag}", f"{size} bytes, ETag {etag}"
            )

    def _denied(self, status: int) -> errors.DeathTensorsError:
        if status in (404, 410):
            message = f"the Hub's store of files has none for it ({status})"
            return errors.network("not_found", message, path=self.name, status=status)
        return self._advisor().denied(status)

    def _advisor(self) -> Advisor:
        return Advisor(self._session, self._reference, self._endpoint, self._token)

    # --- what is known of a commit's file without asking

    def _facts_identity(self) -> tuple[str, ...]:
        wanted = self._reference
        return "hub", self._endpoint, wanted.kind, wanted.repo, wanted.revision, wanted.path

    def _recall(self) -> bool:
        folder: Any = self._session.options.cache_dir
        if folder is None or self._reference.commit is None:
            return False
        facts = _cache.recall(folder, self._facts_identity())
        if facts is None:
            return False
        try:
            known = json.loads(facts)
            self.length, self._etag = int(known["length"]), str(known["etag"])
        except (ValueError, TypeError, KeyError):  # another version's, perhaps
            return False
        return True

    def _remember(self) -> None:
        folder: Any = self._session.options.cache_dir
        if folder is not None:
            facts = json.dumps({"length": self.length, "etag": self._etag})
            _cache.remember(folder, self._facts_identity(), facts.encode())


def _huggingface_hub() -> Any:
    try:
        import huggingface_hub
        import huggingface_hub.constants
    except ImportError:
        raise errors.missing_package(
            "huggingface_hub", "to read from the Hub", "deathtensors[huggingface]"
        ) from None
    return huggingface_hub
