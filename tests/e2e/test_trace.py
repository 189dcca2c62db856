"""One trace from the REST request to every round at every party that took part."""

import asyncio
import json
import time

from keyquorum_devnet.layout import COORDINATOR, GATEWAY, PARTIES

DESTINATION = "9xQeWvG816bUx9EPjHmaT23yvVM2ZWbrrpZb9PusVFin"
CALLER = "00f067aa0ba902b7"
EXPORTED_S_MAX = 10.0


def spans(stack, name: str, trace_id: str) -> list[dict]:
    """The finished spans of a node that belong to a trace."""
    file = stack.layout.spans(name)
    lines = file.read_text(encoding="utf-8").splitlines() if file.exists() else []
    return [span for span in map(json.loads, lines) if span["trace_id"] == trace_id]


def parents_outside(found: dict[str, list[dict]]) -> set[str]:
    """What hangs below something that is in none of the files: below the caller's span alone, in one whole tree."""
    everything = [span for each in found.values() for span in each]
    return {span["parent_span_id"] for span in everything} - {span["span_id"] for span in everything}


def is_complete(found: dict[str, list[dict]]) -> bool:
    """Whether gateway, coordinator and two parties have written theirs, both rounds included, as one tree."""
    rounds = {name for name in PARTIES if sum("round" in span["name"] for span in found[name]) >= 2}
    return bool(found[GATEWAY] and found[COORDINATOR] and len(rounds) >= 2 and parents_outside(found) == {CALLER})


async def test_a_transfer_is_one_trace(stack, customer, chain):
    """The caller's own trace id is found in the files of every process that had a part in it."""
    account = await customer.funded_account(chain)
    trace_id = "4bf92f3577b34da6a3ce929d0e0e4736"
    body = {"account_id": account["id"], "destination": DESTINATION, "amount": "1000000"}
    answer = await customer.gateway.call(
        "POST", "/v1/transactions", body, headers={"traceparent": f"00-{trace_id}-{CALLER}-01"}
    )
    assert answer.status == 201, answer
    operation = await customer.gateway.get(f"/v1/operations/{answer.body['operation_id']}")
    assert operation["trace_id"] == trace_id

    deadline = time.monotonic() + EXPORTED_S_MAX
    while True:
        found = {name: spans(stack, name, trace_id) for name in (GATEWAY, COORDINATOR, *PARTIES)}
        if is_complete(found):
            break
        assert time.monotonic() < deadline, {name: [span["name"] for span in each] for name, each in found.items()}
        await asyncio.sleep(0.1)
