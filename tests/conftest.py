"""What holds for every test."""

import sys

import pytest
import structlog
from hypothesis import HealthCheck, settings
from xdist.scheduler import LoadScopeScheduling

END_TO_END = "tests/e2e/"

# A machine that is busy with other tests is slow, not wrong: what must be bounded in time says so itself.
settings.register_profile("keyquorum", deadline=None, suppress_health_check=[HealthCheck.too_slow], print_blob=True)
settings.load_profile("keyquorum")


RECURSION_LIMIT = sys.getrecursionlimit()


def pytest_collection_finish():
    """A test module that imports web3 imports py_ecc, which raises the limit so far that deep JSON crashes the process."""
    sys.setrecursionlimit(RECURSION_LIMIT)


class TogetherByFile(LoadScopeScheduling):
    """A file's tests run in one worker and share what they start; so do all that use the end-to-end tests' stack."""

    def _split_scope(self, nodeid):
        return END_TO_END if nodeid.startswith(END_TO_END) else nodeid.partition("::")[0]


def pytest_xdist_make_scheduler(config, log):
    """Where tests run in several workers, this says which runs what."""
    return TogetherByFile(config, log)


@pytest.fixture(autouse=True)
def _logging_of_one_test():
    """A process's logging is set up once; a test that sets it up does so for itself alone. Unless it does, logs go where
    no command's output is looked for."""
    structlog.reset_defaults()
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))
    yield
    structlog.reset_defaults()
