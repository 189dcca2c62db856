"""What the codec combines, judged by Bitcoin Core's consensus code, signed by FROST parties below a derived path."""

import pytest
from pbk import Transaction, TransactionOutput
from pbk.script import PrecomputedTransactionData, ScriptPubkey, ScriptVerificationFlags, ScriptVerifyException

from keyquorum_btc import psbt
from keyquorum_btc.coin import Coin, format_coins
from keyquorum_btc.network import REGTEST
from keyquorum_btc.spending import Spend
from keyquorum_core_signer.groups.suites import BIP340
from keyquorum_core_signer.protocols.keys import derive
from keyquorum_plugin_api.codec import SignerAccount, TransferIntent, UnsignedTransaction
from keyquorum_plugin_api.errors import SignatureInvalid
from support.bitcoin_codec_target import BitcoinCodecTarget, txid
from support.committee import run, shares_of, sign_programs

CODEC = BitcoinCodecTarget.codec
PATH = (0, 7)
SHARES = shares_of(BIP340, 2, 3)
COINS = tuple(sorted(Coin(txid(number), number, 60_000 + number) for number in range(3)))


def account() -> SignerAccount:
    """The child of the committee's key; its public key is the internal key."""
    public_key = derive(BIP340, SHARES[0].public, PATH)[1].public_key.to_bytes()
    return SignerAccount(CODEC.derive_address(public_key, REGTEST.chain), public_key, PATH)


def unsigned(memo: str = "") -> UnsignedTransaction:
    """Three coins pay a stranger."""
    destination = BitcoinCodecTarget().account(1).account.address
    intent = TransferIntent(REGTEST.chain, account(), destination, REGTEST.native_asset, 150_000, memo)
    return CODEC.build(intent, {"coins": format_coins(COINS), "fee": "2500"})


def threshold_signatures(made: UnsignedTransaction, path: tuple[int, ...] = PATH) -> list[bytes]:
    """By two of three parties, in one session."""
    messages = tuple((request.message, path) for request in made.requests)
    simulator = run(BIP340, sign_programs(BIP340, SHARES, messages))
    assert not simulator.failures, simulator.failures
    return list(next(iter(simulator.results.values())))


def spends(raw: bytes, spend: Spend) -> bool:
    """Whether every input satisfies its coin's script under all consensus rules."""
    made = Transaction(raw)
    script = ScriptPubkey(spend.source_script)
    spent = [TransactionOutput(script, coin.amount) for coin in spend.coins]
    precomputed = PrecomputedTransactionData(made, spent)
    flags = ScriptVerificationFlags.ALL
    try:
        return all(
            script.verify(coin.amount, made, precomputed, index, flags) for index, coin in enumerate(spend.coins)
        )
    except ScriptVerifyException:
        return False


@pytest.mark.parametrize("memo", ["", "invoice 7"])
def test_threshold_signatures_spend_the_coins(memo):
    """All inputs, whatever the outputs; and the id is the one that consensus code computes."""
    made = unsigned(memo)
    signed = CODEC.combine(made, threshold_signatures(made))
    spend = psbt.read(made.payload)
    assert spends(signed.raw, spend)
    assert str(Transaction(signed.raw).txid) == signed.txid == spend.txid


def test_a_changed_byte_spends_nothing():
    """The verdict above is not given to everything."""
    made = unsigned()
    raw = CODEC.combine(made, threshold_signatures(made)).raw
    amount = (150_000).to_bytes(8, "little")
    assert raw.count(amount) == 1
    assert not spends(raw.replace(amount, (149_999).to_bytes(8, "little")), psbt.read(made.payload))


def test_signatures_of_another_path_are_refused():
    """The parent's are of another output key."""
    made = unsigned()
    with pytest.raises(SignatureInvalid):
        CODEC.combine(made, threshold_signatures(made, ()))
