"""The toy chain is importable."""

from support.fake_distributions import import_toychain

import_toychain()
