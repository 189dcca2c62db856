"""A roster is consistent or it is not loaded; its hash covers who is believed and nothing else."""

from dataclasses import replace

import pytest

from keyquorum_core_signer.intents.errors import RosterError
from keyquorum_core_signer.intents.roster import Coordinator, Gateway, Roster, Tenant
from keyquorum_core_signer.wire.certificates import identity_certificate, transport_credentials
from keyquorum_core_signer.wire.codec import hash_typed
from keyquorum_core_signer.wire.identity import IdentityKey
from support.intents import EPOCH, ROOT, cell

CELL = cell()
ROSTER = CELL.roster
ONE, TWO, THREE = ROSTER.nodes


def transport(name: str) -> str:
    return transport_credentials([name], EPOCH).certificate


def test_a_roster_survives_its_file(tmp_path):
    """Dump and load are inverses, and the hash is the same."""
    path = tmp_path / "roster.toml"
    path.write_text(ROSTER.dump())
    assert Roster.load(path) == ROSTER
    assert Roster.load(path).roster_hash == ROSTER.roster_hash
    assert Roster.load(path).dump() == ROSTER.dump()


def test_the_hash_is_over_what_is_believed():
    """The canonical encoding, written out: version, cell, nodes and tenants."""
    nodes = tuple((node.node_id, node.index, node.identity_key) for node in (ONE, TWO, THREE))
    tenants = (("default", (ROOT.public,)),)
    assert ROSTER.roster_hash == hash_typed("keyquorum/roster/v1", 1, "cell-test", nodes, tenants)


def test_the_hash_ignores_order_and_how_nodes_are_reached():
    """Operators who list the same nodes in another order, or move one, still agree."""
    moved = replace(ONE, address="10.0.0.9:9", transport_certificate=transport("party-1"))
    same = [
        replace(ROSTER, nodes=(THREE, moved, TWO)),
        replace(ROSTER, coordinators=(), gateways=()),
        replace(ROSTER, gateways=(*ROSTER.gateways, Gateway("gateway-2", transport("gateway-2")))),
    ]
    assert {roster.roster_hash for roster in same} == {ROSTER.roster_hash}
    keys = (b"\x01" * 32, b"\x02" * 32)
    one = replace(ROSTER, tenants=(Tenant("b", keys), Tenant("a", keys)))
    other = replace(ROSTER, tenants=(Tenant("a", keys[::-1]), Tenant("b", keys)))
    assert one == other
    assert one.roster_hash == other.roster_hash


def test_the_hash_changes_with_anybody_who_is_believed():
    """A node, its index, its key, a tenant, a root key, the cell: each is in the hash."""
    other = IdentityKey.from_seed(b"\x99" * 32)
    anchor = identity_certificate(other, "party-1", EPOCH)
    changed = [
        replace(ROSTER, cell_id="cell-other"),
        replace(ROSTER, nodes=(ONE, TWO)),
        replace(ROSTER, nodes=(ONE, TWO, replace(THREE, index=4))),
        replace(ROSTER, nodes=(replace(ONE, identity_key=other.public, identity_certificate=anchor), TWO, THREE)),
        replace(ROSTER, tenants=()),
        replace(ROSTER, tenants=(Tenant("default", (ROOT.public, b"\x01" * 32)),)),
        replace(ROSTER, tenants=(Tenant("other", (ROOT.public,)),)),
    ]
    assert len({roster.roster_hash for roster in (ROSTER, *changed)}) == len(changed) + 1


def test_entries_are_found_by_their_names():
    """Look-ups answer with the entry, or say that there is none."""
    assert ROSTER.node("party-2") is TWO
    assert ROSTER.node_at(3) is THREE
    assert ROSTER.find_node("party-9") is None
    assert ROSTER.find_tenant("default") == ROSTER.tenants[0]
    assert ROSTER.find_coordinator("coordinator-1") == ROSTER.coordinators[0]
    assert ROSTER.find_gateway("gateway-1") == ROSTER.gateways[0]
    assert (ROSTER.find_tenant("x"), ROSTER.find_coordinator("x"), ROSTER.find_gateway("x")) == (None, None, None)
    for missing in ("party-9", ""):
        with pytest.raises(KeyError):
            ROSTER.node(missing)
    with pytest.raises(KeyError):
        ROSTER.node_at(0)


def test_only_the_named_node_signs_for_itself():
    """A signature counts for its node, its purpose and its bytes."""
    identity = CELL.identities["party-1"]
    signature = identity.sign("purpose", b"data")
    assert ROSTER.verify("party-1", "purpose", b"data", signature)
    assert not ROSTER.verify("party-2", "purpose", b"data", signature)
    assert not ROSTER.verify("party-9", "purpose", b"data", signature)
    assert not ROSTER.verify("party-1", "other", b"data", signature)
    assert not ROSTER.verify("party-1", "purpose", b"other", signature)


INCONSISTENT = {
    "one node": {"nodes": (ONE,)},
    "no node": {"nodes": ()},
    "the same index": {"nodes": (ONE, replace(TWO, index=1))},
    "index zero": {"nodes": (replace(ONE, index=0), TWO)},
    "a huge index": {"nodes": (replace(ONE, index=2**16), TWO)},
    "the same address": {"nodes": (ONE, replace(TWO, address=ONE.address))},
    "no port": {"nodes": (replace(ONE, address="host"), TWO)},
    "port zero": {"nodes": (replace(ONE, address="host:0"), TWO)},
    "a bare IPv6 address": {"nodes": (replace(ONE, address="::1:80"), TWO)},
    "a quote in the address": {"nodes": (replace(ONE, address='ho"st:1'), TWO)},
    "another identity certificate": {"nodes": (replace(ONE, identity_certificate=TWO.identity_certificate), TWO)},
    "another identity key": {"nodes": (replace(ONE, identity_key=TWO.identity_key), TWO)},
    "a short identity key": {"nodes": (replace(ONE, identity_key=b"\x01" * 31), TWO)},
    "another transport certificate": {"nodes": (replace(ONE, transport_certificate=TWO.transport_certificate), TWO)},
    "a transport certificate without a name": {
        "nodes": (replace(ONE, transport_certificate=ONE.identity_certificate), TWO)
    },
    "no certificate": {"nodes": (replace(ONE, transport_certificate=""), TWO)},
    "two certificates": {
        "nodes": (replace(ONE, transport_certificate=ONE.transport_certificate + TWO.transport_certificate), TWO)
    },
    "another spelling of a certificate": {
        "nodes": (replace(ONE, transport_certificate="#\n" + ONE.transport_certificate), TWO)
    },
    "a coordinator with a node's name": {"coordinators": (Coordinator("party-1", transport("party-1")),)},
    "a gateway with a coordinator's name": {"gateways": (Gateway("coordinator-1", transport("coordinator-1")),)},
    "the same coordinator twice": {"coordinators": ROSTER.coordinators * 2},
    "a coordinator with a node's certificate": {"coordinators": (Coordinator("party-9", ONE.transport_certificate),)},
    "a tenant without keys": {"tenants": (Tenant("default", ()),)},
    "a tenant with a short key": {"tenants": (Tenant("default", (b"\x01" * 31,)),)},
    "a tenant with a key twice": {"tenants": (Tenant("default", (ROOT.public, ROOT.public)),)},
    "the same tenant twice": {"tenants": ROSTER.tenants * 2},
    "a cell with a colon": {"cell_id": "a:b"},
    "a tenant with a quote": {"tenants": (Tenant('a"b', (ROOT.public,)),)},
}


@pytest.mark.parametrize("case", INCONSISTENT)
def test_an_inconsistent_roster_cannot_exist(case):
    """Every contradiction is found when the roster is made, wherever it comes from."""
    with pytest.raises(RosterError):
        replace(ROSTER, **INCONSISTENT[case])


TEXT = ROSTER.dump()
REFUSED_FILES = {
    "not TOML": ("cell_id", "cell_id = ="),
    "not UTF-8": ("cell-test", "\udcff"),
    "an unknown key": ("cell_id =", "surprise = 1\ncell_id ="),
    "an unknown key of a node": ("index = 1", "index = 1\nweight = 2"),
    "a missing key": ("index = 1\n", ""),
    "another version": ("version = 1", "version = 2"),
    "a boolean index": ("index = 1", "index = true"),
    "a text index": ("index = 1", 'index = "1"'),
    "upper-case hexadecimal": (ONE.identity_key.hex(), ONE.identity_key.hex().upper()),
    "odd hexadecimal": (ONE.identity_key.hex(), ONE.identity_key.hex()[:-1]),
    "a key that is no text": (f'["{ROOT.public.hex()}"]', "[1]"),
    "keys that are no list": (f'["{ROOT.public.hex()}"]', "1"),
    "a damaged certificate": ("-----BEGIN CERTIFICATE-----\nMII", "-----BEGIN CERTIFICATE-----\nMIX"),
}


@pytest.mark.parametrize("case", REFUSED_FILES)
def test_a_damaged_roster_file_is_refused(case, tmp_path):
    """The operator is told which file; nothing is guessed."""
    old, new = REFUSED_FILES[case]
    assert old in TEXT
    path = tmp_path / "roster.toml"
    path.write_bytes(TEXT.replace(old, new, 1).encode(errors="surrogateescape"))
    with pytest.raises(RosterError, match=r"roster\.toml: "):
        Roster.load(path)


def test_a_missing_or_huge_roster_file_is_refused(tmp_path):
    """Neither is a traceback."""
    with pytest.raises(RosterError, match="No such file"):
        Roster.load(tmp_path / "roster.toml")
    with pytest.raises(RosterError, match="larger than"):
        Roster.parse(b"#" * (1024 * 1024 + 1))
    with pytest.raises(RosterError):
        Roster.parse(b"nodes = " + b"[" * 100_000)
