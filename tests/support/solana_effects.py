"""What each form of a Solana transaction is said to do: ``python tests/support/solana_effects.py`` writes it to tests/vectors
after a change that is meant."""

import json
import sys
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

if __name__ == "__main__":
    sys.path[0] = str(Path(__file__).parents[1])  # in the place of this folder, where a module is called solana

from solders.pubkey import Pubkey
from spl.token.constants import TOKEN_2022_PROGRAM_ID, TOKEN_PROGRAM_ID

from keyquorum_plugin_api.codec import TransferIntent, UnsignedTransaction
from keyquorum_plugin_api.testing.codec_conformance import transfer_intent
from keyquorum_sol.movements import nonce_address
from support.solana_target import SolanaCodecTarget

FILE = Path(__file__).parents[1] / "vectors" / "solana_effects.json"
TARGET = SolanaCodecTarget()
MINT = Pubkey(bytes([9]) * 32)
NONCE = Pubkey(bytes([7]) * 32)
METADATA = dict(TARGET.metadata)
PLACE = str(nonce_address(Pubkey.from_string(TARGET.account(0).account.address), "spare"))


def token(program: Pubkey, decimals: int = 6) -> dict[str, str]:
    """Metadata of a token."""
    return {"token_program": str(program), "token_decimals": str(decimals)}


def durable(metadata: dict[str, str]) -> dict[str, str]:
    """The same with a nonce account."""
    kept = {key: value for key, value in metadata.items() if key != "last_valid_block_height"}
    return {**kept, "nonce_account": str(NONCE), "nonce_slot": "77"}


def cases() -> dict[str, tuple[TransferIntent, dict[str, str]]]:
    """Name to what is asked for."""
    lamports = transfer_intent(TARGET, memo="")
    tokens = replace(lamports, asset=f"{TARGET.chain}/token:{MINT}", amount=1_234_567)
    payer = TARGET.account(2).account
    created = replace(lamports, amount=1_447_680, destination=PLACE)
    return {
        "lamports": (lamports, METADATA),
        "lamports with a memo": (replace(lamports, memo=TARGET.memo), METADATA),
        "lamports with another payer": (replace(lamports, fee_payer=payer), METADATA),
        "lamports with a durable nonce": (lamports, durable(METADATA)),
        "tokens": (tokens, METADATA | token(TOKEN_PROGRAM_ID)),
        "tokens of Token-2022": (tokens, METADATA | token(TOKEN_2022_PROGRAM_ID)),
        "tokens with everything": (
            replace(tokens, memo=TARGET.memo, fee_payer=payer),
            durable(METADATA | token(TOKEN_2022_PROGRAM_ID, 0)),
        ),
        "a new nonce account": (created, {**METADATA, "nonce_seed": "spare"}),
        "a new nonce account with another payer": (
            replace(created, fee_payer=payer),
            {**METADATA, "nonce_seed": "spare"},
        ),
        "a new nonce account by a durable nonce": (created, durable({**METADATA, "nonce_seed": "spare"})),
    }


def built() -> dict[str, UnsignedTransaction]:
    """Every case, built."""
    return {name: TARGET.codec.build(intent, metadata) for name, (intent, metadata) in cases().items()}


def snapshot() -> dict[str, Any]:
    """Every case and a message, as JSON."""
    account = TARGET.account(0).account
    found = {**built(), "a message": TARGET.codec.build_message(account, TARGET.chain, "I own this account.")}
    return {
        "source": "keyquorum-sol's codec; written by tests/support/solana_effects.py",
        "cases": {name: _described(unsigned) for name, unsigned in found.items()},
    }


def _described(unsigned: UnsignedTransaction) -> dict[str, Any]:
    return {
        "payload": unsigned.payload.hex(),
        "signers": [[request.signer, list(request.path)] for request in unsigned.requests],
        "effects": [asdict(effect) for effect in unsigned.effects],
        "expires": dict(unsigned.expires),
    }


if __name__ == "__main__":
    FILE.write_text(json.dumps(snapshot(), indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
