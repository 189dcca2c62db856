"""The gateway's own reading of the pinned roster agrees with the core signer's, hash included."""

import secrets
from datetime import UTC, datetime

import pytest

from keyquorum_core_signer.intents import roster as theirs
from keyquorum_core_signer.wire.certificates import identity_certificate, transport_credentials
from keyquorum_core_signer.wire.identity import IdentityKey
from keyquorum_gateway.roster import Roster, RosterError


def make(indices, tenants):
    """A roster by the core signer's own code."""
    now = datetime.now(UTC)
    nodes = []
    for index in indices:
        identity = IdentityKey.generate()
        name = f"party-{index}"
        nodes.append(
            theirs.Node(
                name,
                index,
                identity.public,
                identity_certificate(identity, name, now),
                transport_credentials([name], now).certificate,
                f"node-{index}:7000",
            )
        )
    coordinator = theirs.Coordinator("c-1", transport_credentials(["c-1"], now).certificate)
    return theirs.Roster("cell-x", tuple(nodes), (coordinator,), (), tenants)


@pytest.mark.parametrize("indices", [(1, 2), (3, 1, 2), (7, 300, 65535)])
@pytest.mark.parametrize("keys", [0, 1, 3])
def test_both_readings_have_one_hash(tmp_path, indices, keys):
    """Over cell, nodes and tenants, in one order, whatever the order in the file."""
    tenants = tuple(
        theirs.Tenant(name, tuple(secrets.token_bytes(32) for _ in range(keys))) for name in ("zeta", "alpha") if keys
    )
    made = make(indices, tenants)
    path = tmp_path / "roster.toml"
    path.write_text(made.dump())
    ours = Roster.load(path)
    assert ours.roster_hash == made.roster_hash
    assert [node.node_id for node in ours.nodes] == [node.node_id for node in made.nodes]
    assert ours.coordinator_certificate("c-1") == made.coordinators[0].transport_certificate
    for tenant in tenants:
        assert ours.has_tenant(tenant.tenant_id)
        assert all(ours.is_root_key(tenant.tenant_id, key) for key in tenant.root_keys)
        assert not ours.is_root_key("nobody", tenant.root_keys[0])


@pytest.mark.parametrize(
    ("old", "new", "complaint"),
    [
        ("version = 1", "version = 2", "version"),
        ("index = 2", "index = 1", "indices"),
        ('node_id = "party-2"', 'node_id = "party-1"', "node ids"),
        ('cell_id = "cell-x"', 'cell_id = "cell x"', "cell_id"),
        ("index = 1\n", "index = 1\nweight = 3\n", "weight"),
        ("index = 1\n", "", "index"),
        ("version = 1", "version = ", "not TOML"),
    ],
)
def test_a_roster_that_contradicts_itself_is_refused(tmp_path, old, new, complaint):
    """The operator is told which part."""
    path = tmp_path / "roster.toml"
    text = make((1, 2), ()).dump()
    assert old in text
    path.write_text(text.replace(old, new))
    with pytest.raises(RosterError, match=complaint):
        Roster.load(path)


def test_only_a_pinned_node_signs(tmp_path):
    """An unknown node's signature is false, not an error."""
    identity = IdentityKey.generate()
    path = tmp_path / "roster.toml"
    path.write_text(make((1, 2), ()).dump())
    roster = Roster.load(path)
    assert not roster.signed_by("stranger", "keyquorum/address/v1", b"x", identity.sign("keyquorum/address/v1", b"x"))
    assert not roster.signed_by("party-1", "keyquorum/address/v1", b"x", identity.sign("keyquorum/address/v1", b"x"))
    with pytest.raises(RosterError, match="c-2 is not in the roster"):
        roster.coordinator_certificate("c-2")
