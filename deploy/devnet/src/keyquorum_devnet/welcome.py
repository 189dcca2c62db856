"""What ``make run`` prints when it serves: where, and three commands that can be pasted one after the other."""

from keyquorum_devnet.configuration import LAMPORTS_PER_SOL
from keyquorum_devnet.solana.genesis import CHAIN_ID
from keyquorum_devnet.stack import Stack

RECIPIENT = "9xQeWvG816bUx9EPjHmaT23yvVM2ZWbrrpZb9PusVFin"  # an address that nobody on this chain has a key of


def pasteable(stack: Stack) -> tuple[str, str, str]:
    """Three lines for a POSIX shell with curl and sed: make a wallet, fund its account, transfer from it.

    Each leaves in variables what the next one needs.
    """
    key = f'Authorization: Bearer $(cat "{stack.layout.api_key}")'
    post = f"""curl -sS -H "{key}" -H 'Content-Type: application/json' -H "Idempotency-Key: $(date +%s%N)$$" """
    take_account = """sed -n 's/.*"id": *"\\(acc_[^"]*\\)".*/\\1/p'"""
    take_address = """sed -n 's/.*"accounts":.*"address": *"\\([^"]*\\)".*/\\1/p'"""
    wallet = (
        f"""WALLET=$({post}-d '{{"user_id": "alice", "chains": ["{CHAIN_ID}"]}}' {stack.base_url}/v1/wallets); """
        f"""ACCOUNT=$(echo "$WALLET" | {take_account}); ADDRESS=$(echo "$WALLET" | {take_address}); echo "$WALLET\""""
    )
    fund = (
        "curl -sS -H 'Content-Type: application/json' -d "
        '"{\\"jsonrpc\\": \\"2.0\\", \\"id\\": 1, \\"method\\": \\"requestAirdrop\\", '
        f'\\"params\\": [\\"$ADDRESS\\", {2 * LAMPORTS_PER_SOL}]}}" {stack.chain_url}; echo; sleep 1'
    )
    transfer = (
        f"""{post}-H 'Prefer: wait=10' -d "{{\\"account_id\\": \\"$ACCOUNT\\", \\"destination\\": \\"{RECIPIENT}\\", """
        f"""\\"amount\\": \\"{LAMPORTS_PER_SOL // 4}\\"}}" {stack.base_url}/v1/transactions; echo"""
    )
    return wallet, fund, transfer


def welcome(stack: Stack) -> str:
    """The whole text."""
    wallet, fund, transfer = pasteable(stack)
    return (
        f"\nREST       {stack.base_url}"
        f"\ndocs       {stack.base_url}/docs"
        f"\nAPI key    {stack.layout.api_key}"
        f"\nlogs       {stack.layout.logs}"
        "\n\nMake a wallet, fund it, transfer from it (paste into one shell, in this order):"
        f"\n\n{wallet}\n\n{fund}\n\n{transfer}\n\nCtrl-C stops everything; the wallets stay."
    )
