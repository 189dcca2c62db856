"""init, fingerprint and enroll: from nothing to a roster that every operator has compared."""

import stat
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from keyquorum_core_signer.cli import signer
from keyquorum_core_signer.cli.cards import Card, fingerprint, same_fingerprint
from keyquorum_core_signer.cli.init import make_identity
from keyquorum_core_signer.config.files import read_identity
from keyquorum_core_signer.intents.errors import RosterError
from keyquorum_core_signer.intents.roster import Roster
from keyquorum_core_signer.wire.identity import IdentityKey
from keyquorum_gateway.roster import Roster as GatewayRoster

ROLES = {
    "party-1": "party",
    "party-2": "party",
    "party-10": "party",
    "coordinator-1": "coordinator",
    "gateway-1": "gateway",
}


def run(*arguments: object, answer: str = "") -> Result:
    """The command's outcome; a traceback fails the test."""
    result = CliRunner().invoke(signer, [str(argument) for argument in arguments], input=answer)
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """Identities of a small cell."""
    made = tmp_path_factory.mktemp("cell")
    for number, (node_id, role) in enumerate(ROLES.items(), start=1):
        make_identity(node_id, role, made, f"127.0.0.1:{7100 + number}" if role == "party" else "")
    return made


@pytest.fixture
def cards(folder) -> list[Path]:
    return [folder / f"{node_id}.card.toml" for node_id in ROLES]


def expectations(folder: Path) -> list[str]:
    told = {node_id: Card.load(folder / f"{node_id}.card.toml").fingerprint for node_id in ROLES}
    return [word for node_id, text in told.items() for word in ("--expect", f"{node_id}={text}")]


def test_init_makes_an_identity_and_a_card(tmp_path):
    """Secrets are the owner's alone; the card is public and says what the secrets say; the fingerprint is shown."""
    result = run("init", "--node-id", "party-1", "--role", "party", "--dir", tmp_path / "new", "--address", "host:7101")
    assert result.exit_code == 0
    card = Card.load(tmp_path / "new" / "party-1.card.toml")
    identity = read_identity(tmp_path / "new" / "party-1.identity.seed")
    assert (card.role, card.node_id, card.address) == ("party", "party-1", "host:7101")
    assert card.identity_key == identity.public
    assert card.fingerprint in result.output
    assert (tmp_path / "new" / "party-1.transport.pem").read_text() == card.transport_certificate
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "new").iterdir()}
    assert modes.keys() == {
        "party-1.identity.seed",
        "party-1.transport.key",
        "party-1.transport.pem",
        "party-1.card.toml",
    }
    assert modes["party-1.identity.seed"] == modes["party-1.transport.key"] == 0o600
    assert identity.expose_seed().hex() not in result.output + (tmp_path / "new" / "party-1.card.toml").read_text()


def test_init_replaces_nothing(tmp_path):
    """Running it twice would destroy an identity, so the second time changes no byte."""
    arguments = ("init", "--node-id", "c", "--role", "coordinator", "--dir", tmp_path)
    assert run(*arguments).exit_code == 0
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    again = run(*arguments)
    assert again.exit_code == 3
    assert "nothing was changed" in again.output
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before


@pytest.mark.parametrize(
    "arguments",
    [
        ("--node-id", "p", "--role", "party"),
        ("--node-id", "p", "--role", "party", "--address", "host"),
        ("--node-id", "p", "--role", "party", "--address", "host:0"),
        ("--node-id", "p/q", "--role", "party", "--address", "host:1"),
        ("--node-id", "", "--role", "gateway"),
        ("--node-id", "g", "--role", "gateway", "--address", "host:1"),
        ("--node-id", "w", "--role", "witness"),
        ("--role", "gateway"),
    ],
)
def test_init_explains_wrong_usage(tmp_path, arguments):
    """A usage error, no file, no traceback."""
    assert run("init", "--dir", tmp_path / "new", *arguments).exit_code == 2
    assert not (tmp_path / "new").exists()


def test_a_card_survives_its_file(folder, tmp_path):
    """Whatever its role, a card that is written is the card that is read."""
    for node_id, role in ROLES.items():
        card = Card.load(folder / f"{node_id}.card.toml")
        assert card.role == role
        copy = tmp_path / f"{node_id}.card.toml"
        copy.write_text(card.dump())
        assert Card.load(copy) == card


def test_a_changed_card_is_refused(folder, tmp_path):
    """The fingerprint vouches for every field, because the identity signs all of them."""
    card = Card.load(folder / "party-1.card.toml")
    other = Card.load(folder / "party-2.card.toml")
    stranger = IdentityKey.generate()
    changed = [
        replace(card, node_id="party-9"),
        replace(card, address="elsewhere:1"),
        replace(card, transport_certificate=other.transport_certificate),
        replace(card, identity_certificate=other.identity_certificate),
        replace(card, identity_key=other.identity_key),
        replace(card, role="gateway"),
        replace(card, signature=other.signature),
        replace(card, signature=b""),
        replace(card, address="elsewhere:1").signed(stranger),
    ]
    for variant in changed:
        path = tmp_path / "x.card.toml"
        path.write_text(variant.dump())
        with pytest.raises(RosterError):
            Card.load(path)
    for text in ("", "version = 2", card.dump() + "more = 1\n", card.dump().replace('role = "party"', 'role = "king"')):
        path.write_text(text)
        with pytest.raises(RosterError, match=r"x\.card\.toml"):
            Card.load(path)


def test_fingerprints_are_compared_as_people_read_them():
    """Spaces, colons and capitals do not matter; anything missing does."""
    text = fingerprint(b"\x01" * 32)
    assert len(text.split(" ")) == 16
    assert same_fingerprint(text, text.upper().replace(" ", ":"))
    assert same_fingerprint(text, text.replace(" ", ""))
    assert not same_fingerprint(text, text[:-1])
    assert not same_fingerprint(text, fingerprint(b"\x02" * 32))
    assert not same_fingerprint("", "")


def test_enroll_writes_the_roster_of_expected_cards(folder, cards, tmp_path):
    """All fingerprints told in advance: nothing is asked, the roster is written and its hash shown."""
    root = IdentityKey.generate().public
    tenant = f"default=@gateway-1,{root.hex()}"
    common = ("--dir", tmp_path, "--cell", "cell-eu", "--tenant", tenant, "--yes")
    result = run("enroll", *common, *expectations(folder), *cards)
    assert result.exit_code == 0, result.output
    roster = Roster.load(tmp_path / "roster.toml")
    assert [(node.node_id, node.index) for node in roster.nodes] == [("party-1", 1), ("party-2", 2), ("party-10", 3)]
    assert [entry.coordinator_id for entry in roster.coordinators] == ["coordinator-1"]
    assert [entry.gateway_id for entry in roster.gateways] == ["gateway-1"]
    gateway = read_identity(folder / "gateway-1.identity.seed").public
    assert set(roster.find_tenant("default").root_keys) == {gateway, root}
    assert f"roster hash: {roster.roster_hash.hex()}" in result.output


def test_every_operator_gets_the_same_roster(folder, cards, tmp_path):
    """The order of cards and tenants does not matter; writing the same again changes nothing."""
    tenants = ("--tenant", "b=@gateway-1", "--tenant", "a=@gateway-1")
    for name, order, tenant_order in [("one", cards, tenants), ("two", cards[::-1], tenants[2:] + tenants[:2])]:
        command = ("enroll", "--dir", tmp_path / name, "--cell", "cell-eu", *tenant_order, "--yes")
        for _ in range(2):
            assert run(*command, *expectations(folder), *order).exit_code == 0
    assert (tmp_path / "one" / "roster.toml").read_bytes() == (tmp_path / "two" / "roster.toml").read_bytes()


def test_the_gateway_computes_the_same_hash(folder, cards, tmp_path):
    """The gateway's own reading of the same file agrees with the parties'."""
    run("enroll", "--dir", tmp_path, "--cell", "c", "--tenant", "t=@gateway-1", "--yes", *expectations(folder), *cards)
    path = tmp_path / "roster.toml"
    assert GatewayRoster.load(path).roster_hash == Roster.load(path).roster_hash


def test_enroll_asks_about_each_card(cards, tmp_path):
    """Without --expect, a person confirms each fingerprint; one no is enough for nothing to be written."""
    command = ("enroll", "--dir", tmp_path, "--cell", "c", "--tenant", "t=@gateway-1", *cards)
    refused = run(*command, answer="y\ny\nn\n")
    assert refused.exit_code == 4
    assert not (tmp_path / "roster.toml").exists()
    assert run(*command, answer="").exit_code != 0
    assert not (tmp_path / "roster.toml").exists()
    accepted = run(*command, answer="y\n" * len(cards))
    assert accepted.exit_code == 0
    assert Card.load(cards[0]).fingerprint in accepted.output
    assert Roster.load(tmp_path / "roster.toml")


def test_a_wrong_fingerprint_ends_enrolment(folder, cards, tmp_path):
    """Whatever else is confirmed, an expectation that fails is never asked about again."""
    wrong = expectations(folder)
    wrong[1] = wrong[3].replace("party-2", "party-1")
    for more in (("--yes",), ("--trust-on-first-use",), ()):
        result = run("enroll", "--dir", tmp_path, "--cell", "c", *wrong, *more, *cards, answer="y\n" * 9)
        assert result.exit_code == 4
        assert "party-1" in result.output
        assert not (tmp_path / "roster.toml").exists()


def test_yes_needs_an_expectation_for_each_card(folder, cards, tmp_path):
    """Nobody confirms a fingerprint by not looking."""
    for told in ([], expectations(folder)[:-2]):
        result = run("enroll", "--dir", tmp_path, "--cell", "c", "--yes", *told, *cards)
        assert result.exit_code == 4
        assert not (tmp_path / "roster.toml").exists()


def test_trust_on_first_use_is_said_aloud(cards, tmp_path):
    """It works for trying things out, and each card that was not compared is named in a warning."""
    command = ("enroll", "--dir", tmp_path, "--cell", "c", "--tenant", "t=@gateway-1", "--yes", "--trust-on-first-use")
    result = run(*command, *cards)
    assert result.exit_code == 0
    assert all(f"warning: {node_id} is believed without a comparison" in result.stderr for node_id in ROLES)


def test_an_expectation_without_a_card_is_refused(folder, cards, tmp_path):
    """A misspelt --expect would otherwise leave its card to chance."""
    told = [*expectations(folder), "--expect", "party-7=00"]
    result = run("enroll", "--dir", tmp_path, "--cell", "c", "--yes", *told, *cards)
    assert result.exit_code == 4
    assert "party-7" in result.output


@pytest.mark.parametrize(
    ("arguments", "exit_code"),
    [
        (("--tenant", "t"), 2),
        (("--tenant", "t=xyz"), 2),
        (("--tenant", "t=@party-7"), 2),
        (("--tenant", "t=@gateway-1", "--tenant", "t=@gateway-1"), 2),
        (("--tenant", "t=00"), 3),
        (("--tenant", "t/u=@gateway-1"), 3),
        (("--expect", "party-1"), 2),
    ],
)
def test_enroll_explains_wrong_usage(cards, tmp_path, arguments, exit_code):
    """Each mistake has a status and a line; no roster is written."""
    result = run("enroll", "--dir", tmp_path, "--cell", "c", "--trust-on-first-use", *arguments, *cards)
    assert result.exit_code == exit_code
    assert not (tmp_path / "roster.toml").exists()


def test_enroll_replaces_no_other_roster(folder, cards, tmp_path):
    """A roster in use is moved away by a person, never overwritten."""
    command = ("enroll", "--dir", tmp_path, "--tenant", "t=@gateway-1", "--yes", *expectations(folder), *cards)
    assert run(*command, "--cell", "one").exit_code == 0
    before = (tmp_path / "roster.toml").read_bytes()
    assert run(*command, "--cell", "two").exit_code == 3
    assert (tmp_path / "roster.toml").read_bytes() == before


def test_the_same_card_twice_is_refused(cards, tmp_path):
    """Two cards of one name are a mistake, or an attack."""
    result = run("enroll", "--dir", tmp_path, "--cell", "c", "--trust-on-first-use", *cards, cards[0])
    assert result.exit_code == 3
    assert "a second card of party-1" in result.output


def test_too_few_parties_make_no_roster(cards, tmp_path):
    """One party is no quorum."""
    result = run("enroll", "--dir", tmp_path, "--cell", "c", "--trust-on-first-use", cards[0], cards[3])
    assert result.exit_code == 3


def test_fingerprint_shows_what_operators_compare(folder, cards, tmp_path):
    """The same text for a card, its seed and its place in a roster."""
    expected = Card.load(cards[0]).fingerprint
    run("enroll", "--dir", tmp_path, "--cell", "c", "--tenant", "t=@gateway-1", "--trust-on-first-use", *cards)
    for path in (cards[0], folder / "party-1.identity.seed", tmp_path / "roster.toml"):
        result = run("fingerprint", path)
        assert (result.exit_code, expected in result.output) == (0, True)
    assert run("fingerprint", tmp_path / "missing.card.toml").exit_code == 3
    assert run("fingerprint", folder / "party-1.transport.pem").exit_code == 3
