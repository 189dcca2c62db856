"""Admission: everything that is denied, and exactly what is let through."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keyquorum_core_signer.intents.decision import Decision, Spend, decide_create, decide_expiry, decide_sign
from keyquorum_core_signer.intents.effects import Decoded, Effect, EffectKind, MessageToSign, OwnAccount
from keyquorum_core_signer.intents.errors import IntentError
from keyquorum_core_signer.intents.intent import Intent
from keyquorum_core_signer.intents.policy import AssetLimit, Policy, party_window_cap
from support.intents import (
    ASSET,
    CHAIN,
    CODEC,
    INITIATOR,
    NOW_MS,
    OWN,
    POLICY,
    ROOT,
    cell,
    certificate,
    create_key,
    decode,
    sign,
    sign_raw,
    transfer,
)

ROSTER = cell().roster
QUORUM = ("party-1", "party-3")
HOURS_24_MS = 24 * 3600 * 1000
TOKEN = f"{CHAIN}/token:abc"


def rules(decision: Decision) -> set[tuple[str, str]]:
    assert not decision.admitted
    assert decision.spends == ()
    return {(denial.code, denial.rule) for denial in decision.denials}


def judge(
    intent: Intent | None = None,
    *,
    policy: Policy = POLICY,
    decoded: Decoded | None = None,
    participants: tuple[str, ...] = QUORUM,
    now_ms: int = NOW_MS,
    **of_certificate: object,
) -> Decision:
    intent = intent or sign(ROSTER)
    made = certificate(ROSTER, policy=policy, **of_certificate)
    return decide_sign(intent, made, ROSTER, decoded or decode(intent.command), participants, now_ms)


def doing(*effects: Effect, **of_policy: object) -> Decision:
    """Judge an honest intent with those effects."""
    return judge(sign(ROSTER, effects=effects), policy=replace(POLICY, **of_policy))


def moving(kind: EffectKind = EffectKind.TRANSFER, **changes: object) -> Effect:
    return replace(Effect(kind, ASSET, 100, OWN.address, "stranger"), **changes)


def test_an_honest_payment_is_admitted_with_its_spend():
    """Transfer and fee are spent together, against this party's part of the window: 4000 / (3 - 2 + 1)."""
    decision = judge()
    assert decision.admitted
    assert decision.spends == (Spend(ASSET, 105, 2_000, 3_600),)
    decision.require()


CONTEXT_DENIED = {
    "cell": (replace(sign(ROSTER), cell_id="cell-other"), ("intent-invalid", "cell")),
    "roster": (replace(sign(ROSTER), roster_hash=b"\x01" * 32), ("intent-invalid", "roster")),
    "stranger": (replace(sign(ROSTER), initiator_key=b"\x01" * 32), ("policy-denied", "initiator")),
    "root key": (replace(sign(ROSTER), initiator_key=ROOT.public), ("policy-denied", "initiator")),
    "over": (replace(sign(ROSTER), valid_until_ms=NOW_MS), ("policy-denied", "expired")),
    "long over": (replace(sign(ROSTER), valid_until_ms=0), ("policy-denied", "expired")),
    "too long": (
        replace(sign(ROSTER), valid_until_ms=NOW_MS + HOURS_24_MS + 30_001),
        ("policy-denied", "validity-too-long"),
    ),
    "another key": (sign(ROSTER, key_id="key_2"), ("intent-invalid", "key")),
    "another scheme": (sign(ROSTER, scheme="schnorr_bip340"), ("intent-invalid", "scheme")),
}


@pytest.mark.parametrize("case", CONTEXT_DENIED)
def test_a_signing_intent_out_of_place_is_denied(case):
    """Wrong cell, roster, initiator, time, key or scheme: each is found, and alone."""
    intent, expected = CONTEXT_DENIED[case]
    assert rules(judge(intent)) == {expected}


def test_another_tenants_key_is_denied():
    """A tenant in the roster cannot use the key of another, even with an initiator of that key."""
    assert rules(judge(tenant_id="other")) == {("policy-denied", "tenant")}
    assert rules(judge(replace(sign(ROSTER), tenant_id="unknown"))) == {("policy-denied", "tenant")}


def test_a_key_of_another_roster_or_cell_is_denied():
    """A certificate that was made elsewhere proves nothing here."""
    assert rules(judge(roster_hash=b"\x01" * 32)) == {("intent-invalid", "key")}
    assert rules(judge(cell_id="cell-other")) == {("intent-invalid", "key")}


@pytest.mark.parametrize(
    ("valid_until_ms", "admitted"),
    [
        (NOW_MS - 1, False),
        (NOW_MS, False),
        (NOW_MS + 1, True),
        (NOW_MS + HOURS_24_MS + 30_000, True),
        (NOW_MS + HOURS_24_MS + 30_001, False),
    ],
)
def test_validity_ends_sharply(valid_until_ms, admitted):
    """The permitted skew helps at the far end alone; both ways of asking agree."""
    intent = replace(sign(ROSTER), valid_until_ms=valid_until_ms)
    assert judge(intent).admitted is admitted
    assert decide_expiry(intent, NOW_MS).admitted is admitted


PARTICIPANTS_DENIED = {
    "too few": ("party-1",),
    "none": (),
    "twice the same": ("party-1", "party-1"),
    "a stranger": ("party-1", "party-9"),
    "not in order": ("party-3", "party-1"),
}


@pytest.mark.parametrize("case", PARTICIPANTS_DENIED)
def test_a_session_that_is_no_quorum_is_denied(case):
    """Participants are distinct holders of the key, at least t, in the order of their indices."""
    assert rules(judge(participants=PARTICIPANTS_DENIED[case])) == {("intent-invalid", "participants")}


def test_every_quorum_is_admitted():
    """Which holders sign is the coordinator's choice."""
    for participants in [("party-1", "party-2"), ("party-2", "party-3"), ("party-1", "party-2", "party-3")]:
        assert judge(participants=participants).admitted


EXPLAINED_DENIED = {
    "codec version": ({"codec": replace(CODEC, version="9")}, "codec-mismatch"),
    "codec hash": ({"codec": replace(CODEC, sha256=b"\x01" * 32)}, "codec-mismatch"),
    "chain": ({"chain": "solana:other"}, "chain-mismatch"),
    "scheme": ({"scheme": "schnorr_bip340"}, "scheme-mismatch"),
    "message": ({"messages": (MessageToSign(b"other", OWN.path),)}, "messages-mismatch"),
    "path": ({"messages": (MessageToSign(b"message", (8,)),)}, "messages-mismatch"),
    "amount": ({"effects": transfer(amount=101)}, "effects-mismatch"),
    "fee": ({"effects": transfer(fee=6)}, "effects-mismatch"),
    "order of effects": ({"effects": transfer()[::-1]}, "effects-mismatch"),
    "an effect more": ({"effects": (*transfer(), moving(amount=1))}, "effects-mismatch"),
    "an effect less": ({"effects": transfer()[:1]}, "effects-mismatch"),
    "destination": ({"effects": (replace(transfer()[0], destination="thief"), transfer()[1])}, "effects-mismatch"),
    "detail": ({"effects": (replace(transfer()[0], detail="memo"), transfer()[1])}, "effects-mismatch"),
}


@pytest.mark.parametrize("case", EXPLAINED_DENIED)
def test_an_intent_that_its_payload_belies_is_denied(case):
    """What the codec finds equals what the initiator signed, in every field and in order."""
    changes, rule = EXPLAINED_DENIED[case]
    intent = sign(ROSTER)
    assert ("intent-invalid", rule) in rules(judge(intent, decoded=replace(decode(intent.command), **changes)))


def test_the_order_of_messages_counts():
    """Signatures come back in the intent's order, so the codec must find the messages in it."""
    first, second = MessageToSign(b"1", OWN.path), MessageToSign(b"2", OWN.path)
    intent = sign(ROSTER, messages=(first, second))
    assert judge(intent).admitted
    swapped = replace(decode(intent.command), messages=(second, first))
    assert rules(judge(intent, decoded=swapped)) == {("intent-invalid", "messages-mismatch")}


SIGNERS_DENIED = {
    "a stranger": {"signers": ("stranger",)},
    "nobody": {"signers": ()},
    "one too many": {"signers": (OWN.address, OWN.address)},
    "an account at another path": {"accounts": (replace(OWN, path=(8,)),)},
}


@pytest.mark.parametrize("case", SIGNERS_DENIED)
def test_a_message_is_signed_by_the_account_at_its_path(case):
    """A codec that would have one account sign for another is stopped."""
    intent = sign(ROSTER)
    assert ("intent-invalid", "signer") in rules(
        judge(intent, decoded=replace(decode(intent.command), **SIGNERS_DENIED[case]))
    )


EFFECTS_DENIED = {
    "from a stranger": (moving(source="stranger"), "foreign-source"),
    "a fee from a stranger": (moving(EffectKind.FEE, source="stranger"), "foreign-source"),
    "an approval by a stranger": (moving(EffectKind.APPROVE, source="stranger"), "foreign-source"),
    "change to a stranger": (moving(EffectKind.CHANGE), "foreign-change"),
    "change from a stranger": (moving(EffectKind.CHANGE, source="stranger", destination=OWN.address), "foreign-source"),
    "an asset without a limit": (moving(asset=TOKEN), "asset"),
    "nothing of an asset without a limit": (moving(asset=TOKEN, amount=0), "asset"),
    "an approval without a limit": (moving(EffectKind.APPROVE, asset=TOKEN), "asset"),
    "a permit without a limit": (moving(EffectKind.PERMIT, asset=TOKEN), "asset"),
    "control": (moving(EffectKind.DELEGATE), "delegate"),
    "control of nothing": (moving(EffectKind.DELEGATE, amount=0), "delegate"),
    "over one transaction": (moving(amount=1_001), "per-transaction"),
    "an unlimited approval": (moving(EffectKind.APPROVE, amount=2**256 - 1), "per-transaction"),
    "an unlimited permit": (moving(EffectKind.PERMIT, amount=2**256 - 1), "per-transaction"),
    "a high fee": (moving(EffectKind.FEE, amount=1_001, destination=""), "per-transaction"),
}


@pytest.mark.parametrize("case", EFFECTS_DENIED)
def test_an_effect_that_the_policy_does_not_allow_is_denied(case):
    """The closed list of effects, each at its border."""
    effect, rule = EFFECTS_DENIED[case]
    assert ("policy-denied", rule) in rules(doing(effect))


def test_a_payload_without_effects_is_denied():
    """What a codec cannot name is not harmless."""
    assert rules(doing()) == {("policy-denied", "effects-empty")}


def test_a_limit_is_reached_and_not_passed():
    """Exactly the limit goes; one unit more does not; the fee counts."""
    assert doing(moving(amount=1_000)).admitted
    assert doing(moving(amount=995), moving(EffectKind.FEE, amount=5)).admitted
    assert rules(doing(moving(amount=996), moving(EffectKind.FEE, amount=5))) == {("policy-denied", "per-transaction")}


def test_small_effects_add_up():
    """Splitting a payment inside one payload does not help."""
    assert rules(doing(*[moving(amount=101)] * 10)) == {("policy-denied", "per-transaction")}


def test_more_than_a_partys_part_of_the_window_is_denied():
    """A transaction that could never be reserved is refused at once."""
    limits = (AssetLimit(ASSET, 2_001, 4_001, 60),)
    assert rules(doing(moving(amount=2_001), limits=limits)) == {("policy-denied", "per-window")}
    assert doing(moving(amount=2_000), limits=limits).admitted


def test_approvals_within_a_limit_are_spent_at_once():
    """Whoever is approved can take it later, when no party is asked."""
    decision = doing(moving(EffectKind.APPROVE, amount=40), moving(EffectKind.PERMIT, amount=2), moving(amount=1))
    assert decision.spends == (Spend(ASSET, 43, 2_000, 3_600),)


def test_change_to_oneself_costs_nothing():
    """Value that returns to an address of the same key is not an outflow."""
    decision = doing(moving(EffectKind.CHANGE, amount=10**12, destination=OWN.address), moving(amount=7))
    assert decision.spends == (Spend(ASSET, 7, 2_000, 3_600),)


def test_a_transfer_to_oneself_counts():
    """Only what the codec calls change is change."""
    assert doing(moving(destination=OWN.address)).spends == (Spend(ASSET, 100, 2_000, 3_600),)


def test_a_message_needs_no_limit():
    """Text moves no value."""
    decision = doing(Effect(EffectKind.MESSAGE, source=OWN.address, detail="hello"), limits=())
    assert decision.admitted
    assert decision.spends == ()


def test_spends_are_per_asset():
    """Each asset has its own limit, and an asset within its own does not pay for another."""
    limits = (*POLICY.limits, AssetLimit(TOKEN, 5, 50, 60))
    decision = doing(moving(), moving(asset=TOKEN, amount=5), limits=limits)
    assert decision.spends == (Spend(ASSET, 100, 2_000, 3_600), Spend(TOKEN, 5, 25, 60))
    assert rules(doing(moving(), moving(asset=TOKEN, amount=6), limits=limits)) == {
        ("policy-denied", "per-transaction")
    }


def test_an_asset_of_another_chain_is_denied():
    """A codec that mislabels assets cannot borrow another chain's limit."""
    elsewhere = "solana:mainnet/slip44:501"
    limits = (*POLICY.limits, AssetLimit(elsewhere, 9, 9, 9))
    assert ("intent-invalid", "foreign-asset") in rules(doing(moving(asset=elsewhere, amount=1), limits=limits))


def test_a_payload_that_names_no_chain_needs_a_policy_for_one_chain():
    """What is signed for a test network would be valid on the real one."""
    limits = (*POLICY.limits, AssetLimit("solana:mainnet/slip44:501", 9, 9, 9))
    intent = sign(ROSTER)
    policy = replace(POLICY, limits=limits)
    assert rules(judge(intent, policy=policy)) == {("policy-denied", "chain-ambiguous")}
    named = replace(decode(intent.command), payload_names_chain=True)
    assert judge(intent, policy=policy, decoded=named).admitted
    other_namespace = replace(POLICY, limits=(*POLICY.limits, AssetLimit("eip155:1/slip44:60", 9, 9, 9)))
    assert judge(intent, policy=other_namespace).admitted


def test_a_policy_is_confined_to_the_one_chain_of_its_limits():
    """Other namespaces do not count, nor does the beginning of an id; a policy without limits is confined to any chain."""
    assert POLICY.confined_to(CHAIN)
    assert not POLICY.confined_to("solana:mainnet")
    assert not POLICY.confined_to(CHAIN[:-1])
    assert POLICY.confined_to("sol:mainnet")
    assert POLICY.confined_to("eip155:1")
    assert replace(POLICY, limits=()).confined_to("solana:mainnet")


def test_raw_messages_need_their_own_permission():
    """What no codec explains is signed only where the policy says so in as many words."""
    made = certificate(ROSTER)
    allowed = certificate(ROSTER, policy=replace(POLICY, allow_raw=True))
    intent = sign_raw(ROSTER)
    assert rules(decide_sign(intent, made, ROSTER, None, QUORUM, NOW_MS)) == {("policy-denied", "raw")}
    assert decide_sign(intent, allowed, ROSTER, None, QUORUM, NOW_MS).admitted
    surplus = decide_sign(intent, allowed, ROSTER, decode(sign(ROSTER).command), QUORUM, NOW_MS)
    assert rules(surplus) == {("intent-invalid", "codec-unexpected")}


def test_a_payload_without_a_codec_here_is_denied_even_where_raw_is_allowed():
    """An explained intent is never downgraded to a raw one."""
    made = certificate(ROSTER, policy=replace(POLICY, allow_raw=True))
    assert rules(decide_sign(sign(ROSTER), made, ROSTER, None, QUORUM, NOW_MS)) == {("intent-invalid", "codec-missing")}


def test_a_key_is_admitted_for_its_tenants_root_key():
    """A root key of the tenant may order a key of the whole roster, or of a part of it."""
    assert decide_create(create_key(ROSTER), ROSTER, "party-1", NOW_MS).admitted
    assert decide_create(create_key(ROSTER, node_ids=("party-1", "party-3")), ROSTER, "party-3", NOW_MS).admitted


CREATE_DENIED = {
    "cell": (replace(create_key(ROSTER), cell_id="cell-other"), ("intent-invalid", "cell")),
    "roster": (replace(create_key(ROSTER), roster_hash=b"\x01" * 32), ("intent-invalid", "roster")),
    "tenant": (replace(create_key(ROSTER), tenant_id="unknown"), ("policy-denied", "tenant")),
    "initiator of the new key": (
        replace(create_key(ROSTER), initiator_key=INITIATOR.public),
        ("policy-denied", "initiator"),
    ),
    "over": (replace(create_key(ROSTER), valid_until_ms=NOW_MS), ("policy-denied", "expired")),
    "too long": (replace(create_key(ROSTER), valid_until_ms=2**63), ("policy-denied", "validity-too-long")),
    "a stranger in the committee": (
        create_key(ROSTER, node_ids=("party-1", "party-9")),
        ("intent-invalid", "committee"),
    ),
    "order": (create_key(ROSTER, node_ids=("party-2", "party-1")), ("intent-invalid", "committee")),
    "without us": (create_key(ROSTER, node_ids=("party-2", "party-3")), ("intent-invalid", "committee")),
}


@pytest.mark.parametrize("case", CREATE_DENIED)
def test_a_key_intent_out_of_place_is_denied(case):
    """Wrong cell, roster, tenant, initiator, time or committee: each is found, and alone."""
    intent, expected = CREATE_DENIED[case]
    assert rules(decide_create(intent, ROSTER, "party-1", NOW_MS)) == {expected}


def test_all_denials_are_reported():
    """An initiator learns everything that is wrong at once; the first decides the code."""
    intent = replace(create_key(ROSTER), cell_id="cell-other", initiator_key=b"\x01" * 32, valid_until_ms=1)
    decision = decide_create(intent, ROSTER, "party-9", NOW_MS)
    assert {rule for _, rule in rules(decision)} == {"cell", "initiator", "expired", "committee"}
    with pytest.raises(IntentError, match=r"another cell.*; .*root key") as caught:
        decision.require()
    assert caught.value.code == "intent-invalid"


def test_each_command_has_its_own_decision():
    """Asking the wrong question is our bug, not the initiator's."""
    with pytest.raises(TypeError):
        decide_create(sign(ROSTER), ROSTER, "party-1", NOW_MS)
    with pytest.raises(TypeError):
        decide_sign(create_key(ROSTER), certificate(ROSTER), ROSTER, None, QUORUM, NOW_MS)


@given(
    parties=st.integers(2, 16),
    threshold=st.integers(2, 16),
    per_window=st.integers(0, 10**6),
    wishes=st.lists(st.tuples(st.sets(st.integers(0, 15), max_size=16), st.integers(0, 10**5)), max_size=60),
)
def test_rotating_quorums_never_exceed_the_window(parties, threshold, per_window, wishes):
    """With t - 1 parties that enforce nothing, whatever quorums a coordinator picks, no more than the window gets out."""
    threshold = min(threshold, parties)
    cap = party_window_cap(AssetLimit(ASSET, per_window, per_window, 60), threshold, parties)
    hostile = set(range(threshold - 1))
    spent = dict.fromkeys(range(parties), 0)
    total = 0
    for wish, amount in wishes:
        quorum = {member for member in wish if member < parties}
        honest = quorum - hostile
        if len(quorum) >= threshold and all(spent[member] + amount <= cap for member in honest):
            total += amount
            for member in honest:
                spent[member] += amount
    assert total <= per_window


def test_a_second_account_of_the_key_may_pay_and_take_change():
    """Own is every address that the party derived, not only the first."""
    second = OwnAccount("second-address", b"\x34" * 32, (8,))
    effects = (moving(source=second.address), moving(EffectKind.CHANGE, destination=second.address))
    intent = sign(ROSTER, effects=effects)
    assert judge(intent, decoded=replace(decode(intent.command), accounts=(OWN, second))).admitted
    assert not judge(intent).admitted
