"""What the Hub's refusals mean, and what to do about them, in words."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from dataclasses import dataclass

from ._hub_reference import PREFIXES


def how_to_log_in(argument: str) -> str:
    """Where a token may come from.

    Args:
        argument: how the call takes one.
    """
    return f"log in with `hf auth login`, set the environment variable HF_TOKEN, or pass {argument}"


@dataclass(frozen=True)
class Words:
    """Who asks whom for what.

    Attributes:
        endpoint: where the Hub is.
        kind: model, dataset or space.
        repo: ``org/name``.
        logged_in: whether a token was sent.
        argument: how the call takes a token.
    """

    endpoint: str
    kind: str
    repo: str
    logged_in: bool
    argument: str

    @property
    def _log_in(self) -> str:
        return how_to_log_in(self.argument)

    @property
    def page(self) -> str:
        """The repository's page."""
        return f"{self.endpoint}/{PREFIXES[self.kind]}{self.repo}"

    def gated(self) -> str:
        advice = (
            "; the token that was sent has none" if self.logged_in else f", then {self._log_in}"
        )
        return f"the repository is gated: ask for access at {self.page}{advice}"

    def no_repository(self) -> str:
        hint = (
            "the token that was sent may not read it"
            if self.logged_in
            else f"nobody is logged in: {self._log_in}"
        )
        return f"there is no {self.kind} repository {self.repo}, or it is private, and {hint}"

    def no_revision(self, revision: str, names: Iterable[str]) -> str:
        return f"{self.repo} has no revision '{revision}'{nearest(revision, names)}"

    def no_file(self, path: str, revision: str, names: Iterable[str]) -> str:
        near = nearest(path, names)
        return f"{self.repo} has no file '{path}' at revision {revision}{near}"

    def denied(self, status: int) -> str:
        """Reading is refused, by the Hub or by its store of large files."""
        if not self.logged_in:
            return f"the Hub does not allow this without a token ({status}): {self._log_in}"
        return (
            f"the Hub refuses the token ({status}): it may be wrong, have expired, or not be "
            f"allowed to do this; see {self.endpoint}/settings/tokens"
        )

    def no_token(self, what: str) -> str:
        """It takes a token, and there is none."""
        return (
            f"it takes a token to {what}: {self._log_in}; {self.endpoint}/settings/tokens has them"
        )

    def not_writable(self, said: str) -> str:
        """The token may read, and not write."""
        return (
            f"this token may not do that{said}; see {self.endpoint}/settings/tokens: writing "
            "takes one with write access"
        )

    def unreachable(self) -> str:
        return f"the Hub cannot be reached at {self.endpoint}; is there a connection?"

    def silent(self) -> str:
        return f"the Hub at {self.endpoint} said nothing for too long"


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
