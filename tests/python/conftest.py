"""Fixtures and rules for all tests."""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, configuration, settings

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), *(str(HERE.parent / name) for name in ("vectors", "tools", ""))]

import fuzzing  # noqa: E402
import peers  # noqa: E402
from hub import Hub  # noqa: E402
from webserver import Web  # noqa: E402

# A shell that starts this in the background has it ignore Ctrl-C, and all that it starts.
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

configuration.set_hypothesis_home_dir(HERE.parents[1] / "build" / "hypothesis")
# Reproducible: a failure here fails everywhere. No deadlines: machines are shared.
settings.register_profile(
    "tests",
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
settings.register_profile("fuzz", settings.get_profile("tests"), derandomize=False, print_blob=True)
settings.load_profile("fuzz" if fuzzing.FACTOR else "tests")


@pytest.fixture(autouse=True)
def _in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.chdir(tmp_path)
    yield


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is tried again is tried at once."""
    from deathtensors._remote import _patience

    monkeypatch.setattr(_patience, "FIRST_WAIT", 0.0)


@pytest.fixture
def web(impatient: None) -> Iterator[Web]:
    """A web server, which serves what is put into ``web.files``."""
    with Web() as running:
        yield running


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, impatient: None) -> Iterator[Hub]:
    """A model of the Hub, which is the Hub for this process; nobody is logged in."""
    from huggingface_hub import constants

    for name in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "HF_HUB_OFFLINE"):
        monkeypatch.delenv(name, raising=False)
    # The client reads these once, when it is imported.
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "token"))
    with Hub(tmp_path / "hub") as running:
        monkeypatch.setenv("HF_ENDPOINT", running.endpoint)
        yield running


@pytest.fixture(scope="session")
def v030() -> peers.Peer:
    return peers.Peer("0.3.0")


@pytest.fixture(scope="session")
def v020() -> peers.Peer:
    return peers.Peer("0.2.0")


@pytest.fixture(scope="session")
def v010() -> peers.Peer:
    return peers.Peer("0.1.0")


def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if reporter is not None and reporter.stats.get("skipped") and exitstatus == 0:
        # What was not run was not shown to hold.
        session.exitstatus = 1


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    passed = len(terminalreporter.stats.get("passed", []))
    terminalreporter.write_line(f"result: {passed} tests, {fuzzing.tried} inputs")
    if terminalreporter.stats.get("skipped"):
        terminalreporter.write_line("skipped tests count as failures")
