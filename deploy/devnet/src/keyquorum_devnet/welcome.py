"""What ``make run`` prints when it serves: where, and for each chain three commands to paste one after the other."""

from keyquorum_devnet.engines import Engine
from keyquorum_devnet.stack import Stack


def pasteable(stack: Stack, engine: Engine) -> tuple[str, ...]:
    """Lines for a POSIX shell with curl and sed: make a wallet, fund its account, transfer from it.

    Each leaves in variables what the next one needs.
    """
    key = f'Authorization: Bearer $(cat "{stack.layout.api_key}")'
    post = f"""curl -sS -H "{key}" -H 'Content-Type: application/json' -H "Idempotency-Key: $(date +%s%N)$$" """
    take_account = """sed -n 's/.*"id": *"\\(acc_[^"]*\\)".*/\\1/p'"""
    take_address = """sed -n 's/.*"accounts":.*"address": *"\\([^"]*\\)".*/\\1/p'"""
    wallet = (
        f"""WALLET=$({post}-d '{{"user_id": "alice", "chains": ["{engine.chain}"]}}' {stack.base_url}/v1/wallets); """
        f"""ACCOUNT=$(echo "$WALLET" | {take_account}); ADDRESS=$(echo "$WALLET" | {take_address}); echo "$WALLET\""""
    )
    transfer = (
        f"""{post}-H 'Prefer: wait=10' -d "{{\\"account_id\\": \\"$ACCOUNT\\", """
        f"""\\"destination\\": \\"{engine.destination}\\", """
        f"""\\"amount\\": \\"{engine.coin // 4}\\"}}" {stack.base_url}/v1/transactions; echo"""
    )
    return wallet, engine.fund_line(stack.chain_url(engine)), transfer


def welcome(stack: Stack) -> str:
    """The whole text."""
    lines = [
        f"\nREST       {stack.base_url}",
        f"docs       {stack.base_url}/docs",
        f"API key    {stack.layout.api_key}",
        f"logs       {stack.layout.logs}",
        *(f"{engine.name:10} {stack.chain_url(engine)}" for engine in stack.engines.values()),
    ]
    for engine in stack.engines.values():
        lines.append(f"\n{engine.name}: make a wallet, fund it, transfer from it (paste into one shell, in this order)")
        lines += [f"\n{line}" for line in pasteable(stack, engine)]
    return "\n".join([*lines, "\nCtrl-C stops everything; the wallets stay."])
