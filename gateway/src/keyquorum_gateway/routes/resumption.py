"""A request sent again after "nothing happened, try again" goes on with the intent of its first try.

Whoever said that nothing happened is not trusted to be right: a coordinator may have kept the signatures. As long as an
intent can be carried out, only that same intent is sent; a new one is made only when the old one has expired everywhere.
A signature does not expire with its intent: the payload of a new intent has to exclude that of every earlier one.
"""

import copy
import math
import time
from typing import Final

from aiohttp import web

from keyquorum_gateway.operations.record import Ceremony, Operation
from keyquorum_gateway.problems import Problem
from keyquorum_gateway.services import CLAIM, SERVICES

_SKEW_MS: Final = 30_000
_WORTH_SENDING_MS: Final = 1_000


def resumed_operation(request: web.Request) -> Operation | None:
    """The operation of the earlier try with this idempotency key, if there was one."""
    claim = request.get(CLAIM)
    return request.app[SERVICES].operations.get(claim.resumes) if claim is not None and claim.resumes else None


def resumable_ceremonies(earlier: Operation | None) -> list[Ceremony]:
    """The earlier try's ceremonies, if their intents can still be carried out; none, if no honest party would any more.

    In between, a 503 problem: too late to send the old intent, too early to make another.
    """
    if earlier is None or not earlier.ceremonies:
        return []
    left_ms = min(ceremony.valid_until_ms for ceremony in earlier.ceremonies) - time.time() * 1000
    if left_ms > _WORTH_SENDING_MS:
        return copy.deepcopy(earlier.ceremonies)
    if left_ms > -_SKEW_MS:
        seconds = math.ceil((left_ms + _SKEW_MS) / 1000)
        raise Problem("quorum-unavailable", "the first try's intent is expiring", headers={"Retry-After": str(seconds)})
    return []
