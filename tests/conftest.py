"""What holds for every test."""

from pathlib import Path

import pytest
import structlog
from hypothesis import HealthCheck, settings

END_TO_END = Path(__file__).parent / "e2e"

# A machine that is busy with other tests is slow, not wrong: what must be bounded in time says so itself.
settings.register_profile("keyquorum", deadline=None, suppress_health_check=[HealthCheck.too_slow], print_blob=True)
settings.load_profile("keyquorum")


@pytest.hookimpl(tryfirst=True)  # before xdist reads the groups
def pytest_collection_modifyitems(items):
    """Where tests run in several workers, a file's tests stay together, and so share what they start; so do all that
    use the one stack of the end-to-end tests."""
    for item in items:
        group = "e2e" if item.path.is_relative_to(END_TO_END) else item.nodeid.partition("::")[0]
        item.add_marker(pytest.mark.xdist_group(group))


@pytest.fixture(autouse=True)
def _default_logging():
    """A process's logging is set up once; a test that sets it up does so for itself alone."""
    yield
    structlog.reset_defaults()
