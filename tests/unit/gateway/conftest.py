"""The toy chain is importable."""

import sys

from support.fake_distributions import TOY_SITE

sys.path.insert(0, str(TOY_SITE))
