"""Transactions from bytes."""

import pytest

from keyquorum_devnet.bitcoin.kernel import unsatisfied_input
from keyquorum_devnet.bitcoin.transactions import MalformedTransaction, TxOut, parse
from support.vectors import load

SIGNED = load("bitcoin_signed_transactions")["transactions"]
BIP341 = load("bip341_key_path")
LEGACY, SEGWIT = (bytes.fromhex(each["hex"]) for each in SIGNED)


def outputs(spent):
    """The outputs that a vector says are spent."""
    return [TxOut(each["amount"], bytes.fromhex(each["script"])) for each in spent]


@pytest.mark.parametrize("vector", SIGNED, ids=["block-170", "bip143"])
def test_published_transactions_have_their_published_ids(vector):
    """Bytes, hashes and sizes of real transactions come out right."""
    transaction = parse(bytes.fromhex(vector["hex"]))
    assert transaction.txid == vector["txid"]
    assert transaction.raw.hex() == vector["hex"]
    assert transaction.vsize == (transaction.weight + 3) // 4


def test_sizes_of_a_segwit_transaction():
    """The witness weighs a quarter: BIP 141's formula by hand."""
    transaction = parse(SEGWIT)
    assert (len(transaction.raw), transaction.stripped_size) == (343, 233)
    assert transaction.weight == 233 * 3 + 343
    assert transaction.wtxid != transaction.txid
    assert parse(LEGACY).wtxid == parse(LEGACY).txid


@pytest.mark.parametrize("vector", SIGNED, ids=["block-170", "bip143"])
def test_published_signatures_satisfy_the_consensus_code(vector):
    """P2PK and P2WPKH signatures that others made verify, and do not for another amount or another bit."""
    raw, spent = bytes.fromhex(vector["hex"]), outputs(vector["spent"])
    assert unsatisfied_input(raw, spent) is None
    forged = bytearray(raw)
    forged[raw.index(parse(raw).outputs[-1].script)] ^= 1  # every signature covers every output
    assert unsatisfied_input(bytes(forged), spent) == 0


def test_taproot_signature_covers_every_amount():
    """BIP 341's own signature verifies with what it spends, and with nothing else."""
    vector = BIP341
    unsigned = parse(bytes.fromhex(vector["transaction"]))
    witnesses = {each["index"]: bytes.fromhex(each["witness"]) for each in vector["inputs"]}
    stripped = bytes.fromhex(vector["transaction"])
    stacks = b"".join(
        b"\x01" + bytes([len(witnesses[index])]) + witnesses[index] if index in witnesses else b"\x00"
        for index in range(len(unsigned.inputs))
    )
    raw = stripped[:4] + b"\x00\x01" + stripped[4:-4] + stacks + stripped[-4:]
    spent = outputs(vector["spent"])
    assert (
        unsatisfied_input(raw, spent) == 2
    )  # the first that the vector leaves unsigned: 0 and 1 are Taproot and verify
    spent[8] = TxOut(spent[8].value + 1, spent[8].script)
    assert unsatisfied_input(raw, spent) == 0  # SIGHASH_SINGLE still covers all amounts; input 1 is ANYONECANPAY


@pytest.mark.parametrize("cut", range(0, len(SEGWIT), 7))
def test_cut_transaction_is_refused(cut):
    """A transaction that ends early is none."""
    with pytest.raises(MalformedTransaction):
        parse(SEGWIT[:cut])


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        (LEGACY + b"\x00", "after the end"),
        (LEGACY[:4] + b"\xfd\x01\x00" + LEGACY[5:], "non-canonical"),
        (LEGACY[:4] + b"\xff" + b"\xff" * 8 + LEGACY[5:], "non-canonical"),
        (LEGACY[:4] + b"\x00\x01" + LEGACY[4:-4] + b"\x00" + LEGACY[-4:], "superfluous"),
        (LEGACY[:4] + b"\x00\x00" + LEGACY[-4:], "no inputs"),
        (LEGACY[:4] + b"\xfe\x00\x00\x00\x02" + LEGACY[5:], "ends early"),
    ],
    ids=["trailing", "long-count", "huge-count", "empty-witness", "no-inputs", "count-without-inputs"],
)
def test_other_encodings_are_refused(raw, reason):
    """There is one encoding of each transaction; a count alone makes nobody allocate."""
    with pytest.raises(MalformedTransaction, match=reason):
        parse(raw)
