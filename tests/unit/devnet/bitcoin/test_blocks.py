"""Blocks."""

from itertools import pairwise

from keyquorum_devnet.bitcoin.blocks import DIFFICULTY, TARGET, merkle_branch, merkle_root, subsidy
from keyquorum_devnet.bitcoin.genesis import CHAIN_ID, GENESIS_HASH
from keyquorum_devnet.bitcoin.transactions import double_sha256, wire
from support.bitcoin_node import node_without_server


def test_genesis_is_regtest(regtest):
    """Regtest's documented first block, and the chain's id out of its hash."""
    genesis = regtest.node.chain.active[0]
    assert genesis.hash == GENESIS_HASH == "0f9188f13cb7b2c71f2a335e3a4fc328bf5beb436012afca590b1a11466e2206"
    assert CHAIN_ID == "bip122:0f9188f13cb7b2c71f2a335e3a4fc328"
    assert genesis.merkle_root == "4a5e1e4baab89f3a32518a88c31bc87f618f76673e2cc77ab2127b7afdeda33b"
    assert (genesis.time, genesis.nonce, genesis.version) == (1296688602, 2, 1)
    assert len(genesis.raw) == 285
    assert genesis.transactions[0].txid == genesis.merkle_root


def test_difficulty_is_what_core_prints():
    """Regtest's famous difficulty, to the sixteen digits of getblockheader."""
    assert f"{DIFFICULTY:.16g}" == "4.656542373906925e-10"


def test_subsidy_halves_every_150_blocks():
    """Regtest is poor soon."""
    assert [subsidy(height) for height in (1, 149, 150, 300)] == [5000000000, 5000000000, 2500000000, 1250000000]
    assert subsidy(150 * 40) == 0


def test_every_block_meets_the_target_and_follows_the_other(regtest):
    """Proof of work is done, though it is cheap; times never run backwards by the median."""
    chain = regtest.node.chain.active
    for previous, block in pairwise(chain):
        assert int.from_bytes(double_sha256(block.header), "little") <= TARGET
        assert block.previous == previous.hash
        assert block.time > previous.median_time


def test_merkle_branch_leads_to_the_root():
    """From every leaf, for odd and even counts."""
    for count in range(1, 12):
        leaves = [double_sha256(bytes([each])) for each in range(count)]
        for position in range(count):
            at, node = position, leaves[position]
            for other in merkle_branch(leaves, position):
                node = double_sha256(other + node if at % 2 else node + other)
                at //= 2
            assert node == merkle_root(leaves)


def test_runs_differ(regtest):
    """Two chains share genesis alone, so that nothing of one is valid in the other."""
    with node_without_server() as other:
        shared = {block.hash for block in regtest.node.chain.active} & {block.hash for block in other.node.chain.active}
    assert shared == {GENESIS_HASH}
    assert wire(GENESIS_HASH)[::-1].hex() == GENESIS_HASH
