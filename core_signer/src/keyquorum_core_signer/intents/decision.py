"""Admission: whether one party may take part in what an intent commands. Pure: no clock, no store, no I/O.

The caller has verified the initiator's signature (``verify_authorization``) and the key's certificate
(``verify_certificate``), and has had its own codec worker decode the payload. What a :class:`Decision` lists as spends
still has to be reserved in the party's window, in the transaction that records the operation id.

What counts against an asset's limit, and what no limit can allow:

========= ============================================================================================
transfer  its amount; the source must be an address of the key
fee       its amount: the most that the network may take
change    nothing, if source and destination are both addresses of the key; otherwise the intent is denied
approve   its amount, at once: whoever is approved may take it later, when nobody asks us
permit    as approve
delegate  always denied: no amount bounds what control of an account is worth
message   nothing
========= ============================================================================================

Where a payload does not say which chain it is for, the intent's word for it proves nothing: what is signed for a test
network is valid on the real one. Such a payload is denied unless all limits of its namespace are for the intent's chain,
and no address is attested on any other.

An effect whose source is not the key's is denied too, whatever it is: an address spelt in another way must not make an
outflow uncounted. Sponsored fees are therefore out of reach under this policy.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from keyquorum_core_signer.intents.certificate import KeyCertificate
from keyquorum_core_signer.intents.effects import Decoded, EffectKind
from keyquorum_core_signer.intents.errors import INTENT_INVALID, POLICY_DENIED, IntentError
from keyquorum_core_signer.intents.intent import CreateKey, Intent, Sign
from keyquorum_core_signer.intents.limits import CLOCK_SKEW_MS_MAX, VALIDITY_MS_MAX
from keyquorum_core_signer.intents.policy import Policy, party_window_cap
from keyquorum_core_signer.intents.roster import Roster

_COUNTED = frozenset({EffectKind.TRANSFER, EffectKind.FEE, EffectKind.APPROVE, EffectKind.PERMIT})


@dataclass(frozen=True, slots=True)
class Denial:
    """One reason against: OperationError's ``code``, the ``rule`` that was broken, and a line of English."""

    code: str
    rule: str
    detail: str


@dataclass(frozen=True, slots=True)
class Spend:
    """What to reserve before signing: ``amount`` of ``asset``, where this party lets ``window_cap`` through in any
    ``window_s`` seconds."""

    asset: str
    amount: int
    window_cap: int
    window_s: int


@dataclass(frozen=True, slots=True)
class Decision:
    """All denials that were found, or none and what the intent spends."""

    denials: tuple[Denial, ...]
    spends: tuple[Spend, ...] = ()

    @property
    def admitted(self) -> bool:
        """Whether nothing speaks against."""
        return not self.denials

    def require(self) -> None:
        """Raise IntentError, with the first denial's code and all their texts, unless admitted."""
        if self.denials:
            raise IntentError(self.denials[0].code, "; ".join(denial.detail for denial in self.denials))


def decide_expiry(intent: Intent, now_ms: int) -> Decision:
    """Judge only the validity; asked again before a party's last message.

    ``now_ms`` is the party's persisted clock high-water mark. The permitted skew widens only the far bound: nobody takes
    part in an intent after its end.
    """
    return Decision(tuple(_expiry(intent, now_ms)))


def decide_create(intent: Intent, roster: Roster, node_id: str, now_ms: int) -> Decision:
    """Judge a create_key intent at party ``node_id``; TypeError for an intent of another kind."""
    command = intent.command
    if not isinstance(command, CreateKey):
        raise TypeError("not a create_key intent")
    return Decision((*_context(intent, roster), *_expiry(intent, now_ms), *_creation(intent, command, roster, node_id)))


def decide_order(
    intent: Intent, certificate: KeyCertificate, roster: Roster, participants: Sequence[str], now_ms: int
) -> Decision:
    """Judge whether a sign intent's initiator may order anything of this key and quorum now; arguments as below.

    Asked before the codec is, so that nobody else's payload reaches it.
    """
    command = intent.command
    if not isinstance(command, Sign):
        raise TypeError("not a sign intent")
    denials = (
        *_context(intent, roster),
        *_expiry(intent, now_ms),
        *_key(intent, command, certificate, roster),
        *_participants(participants, certificate),
    )
    return Decision(denials)


def decide_sign(  # noqa: PLR0917 - all that a decision rests on, in the order in which a party gathers it
    intent: Intent,
    certificate: KeyCertificate,
    roster: Roster,
    decoded: Decoded | None,
    participants: Sequence[str],
    now_ms: int,
) -> Decision:
    """Judge a sign intent; TypeError for an intent of another kind.

    ``decoded`` is what this party's codec found, None for raw messages; ``participants`` the node ids of the session.
    """
    command = intent.command
    if not isinstance(command, Sign):
        raise TypeError("not a sign intent")
    denials = list(decide_order(intent, certificate, roster, participants, now_ms).denials)
    spends: tuple[Spend, ...] = ()
    if command.raw:
        denials.extend(_raw(certificate.policy, decoded))
    elif decoded is None:
        denials.append(_invalid("codec-missing", "no codec of this party explained the payload"))
    else:
        denials.extend(_explained(command, decoded))
        denials.extend(_effects(decoded))
        denials.extend(_chain(decoded, certificate.policy))
        over, spends = _outflow(decoded, certificate)
        denials.extend(over)
    return Decision(tuple(denials), () if denials else spends)


def _invalid(rule: str, detail: str) -> Denial:
    return Denial(INTENT_INVALID, rule, detail)


def _denied(rule: str, detail: str) -> Denial:
    return Denial(POLICY_DENIED, rule, detail)


def _context(intent: Intent, roster: Roster) -> Iterator[Denial]:
    if intent.cell_id != roster.cell_id:
        yield _invalid("cell", "the intent is for another cell")
    if intent.roster_hash != roster.roster_hash:
        yield _invalid("roster", "the initiator knows another roster than this party")
    if roster.find_tenant(intent.tenant_id) is None:
        yield _denied("tenant", "the tenant is not in this party's roster")


def _expiry(intent: Intent, now_ms: int) -> Iterator[Denial]:
    if now_ms >= intent.valid_until_ms:
        yield _denied("expired", "the intent's validity is over")
    elif intent.valid_until_ms > now_ms + VALIDITY_MS_MAX + CLOCK_SKEW_MS_MAX:
        yield _denied("validity-too-long", "the intent is valid for more than 24 hours")


def _creation(intent: Intent, command: CreateKey, roster: Roster, node_id: str) -> Iterator[Denial]:
    tenant = roster.find_tenant(intent.tenant_id)
    if tenant is not None and intent.initiator_key not in tenant.root_keys:
        yield _denied("initiator", "the initiator is not a root key of the tenant")
    nodes = [roster.find_node(member) for member in command.node_ids]
    indices = [node.index for node in nodes if node is not None]
    if len(indices) != len(nodes):
        yield _invalid("committee", "a node of the committee is not in the roster")
    elif indices != sorted(indices):
        yield _invalid("committee", "the committee is not in the order of the roster's indices")
    if node_id not in command.node_ids:
        yield _invalid("committee", "this party is not one of the committee")


def _key(intent: Intent, command: Sign, certificate: KeyCertificate, roster: Roster) -> Iterator[Denial]:
    if command.key_id != certificate.key_id:
        yield _invalid("key", "the certificate is that of another key")
    if (certificate.cell_id, certificate.roster_hash) != (roster.cell_id, roster.roster_hash):
        yield _invalid("key", "the key was made under another roster")
    if intent.tenant_id != certificate.tenant_id:
        yield _denied("tenant", "the key belongs to another tenant")
    if command.scheme != certificate.scheme:
        yield _invalid("scheme", "the key is of another scheme")
    if intent.initiator_key not in certificate.policy.initiator_keys:
        yield _denied("initiator", "the initiator is not in the key's policy")


def _participants(participants: Sequence[str], certificate: KeyCertificate) -> Iterator[Denial]:
    if len(set(participants)) != len(participants) or not set(participants) <= set(certificate.node_ids):
        yield _invalid("participants", "the participants are not distinct holders of the key")
    elif len(participants) < certificate.threshold:
        yield _invalid("participants", f"{len(participants)} participants cannot sign for {certificate.threshold}")
    elif list(participants) != sorted(participants, key=certificate.node_ids.index):
        yield _invalid("participants", "the participants are not in the order of the roster's indices")


def _raw(policy: Policy, decoded: Decoded | None) -> Iterator[Denial]:
    if decoded is not None:
        yield _invalid("codec-unexpected", "a raw message was decoded")
    if not policy.allow_raw:
        yield _denied("raw", "the policy does not allow messages that no codec explains")


def _explained(command: Sign, decoded: Decoded) -> Iterator[Denial]:
    comparisons = (
        ("codec", command.codec, decoded.codec),
        ("chain", command.chain, decoded.chain),
        ("scheme", command.scheme, decoded.scheme),
        ("messages", command.messages, decoded.messages),
        ("effects", command.effects, decoded.effects),
    )
    for what, claimed, found in comparisons:
        if claimed != found:
            yield _invalid(f"{what}-mismatch", f"{what}: this party's codec finds something else than the intent names")


def _chain(decoded: Decoded, policy: Policy) -> Iterator[Denial]:
    here = f"{decoded.chain}/"
    if any(effect.asset and not effect.asset.startswith(here) for effect in decoded.effects):
        yield _invalid("foreign-asset", "an effect moves an asset of another chain")
    if not decoded.payload_names_chain and not policy.confined_to(decoded.chain):
        yield _denied("chain-ambiguous", "the payload names no chain, and the key's policy has limits for another")


def _effects(decoded: Decoded) -> Iterator[Denial]:
    own = {account.address: account for account in decoded.accounts}
    if len(decoded.signers) != len(decoded.messages):
        yield _invalid("signer", "the codec does not name one signer per message")
    for signer, message in zip(decoded.signers, decoded.messages, strict=False):
        if signer not in own or own[signer].path != message.path:
            yield _invalid("signer", "a message is not signed by the account at its path")
    if not decoded.effects:
        yield _denied("effects-empty", "the codec finds no effect at all")
    for effect in decoded.effects:
        if effect.kind is EffectKind.MESSAGE:
            continue
        if effect.kind is EffectKind.DELEGATE:
            yield _denied("delegate", "no policy of this format allows control of an account to be handed on")
        if effect.source not in own:
            yield _denied("foreign-source", f"a {effect.kind.value} does not come from an address of the key")
        if effect.kind is EffectKind.CHANGE and effect.destination not in own:
            yield _denied("foreign-change", "change does not return to an address of the key")


def _outflow(decoded: Decoded, certificate: KeyCertificate) -> tuple[list[Denial], tuple[Spend, ...]]:
    totals: dict[str, int] = {}
    for effect in decoded.effects:
        if effect.kind in _COUNTED:
            totals[effect.asset] = totals.get(effect.asset, 0) + effect.amount
    denials: list[Denial] = []
    spends: list[Spend] = []
    for asset, amount in sorted(totals.items()):
        limit = certificate.policy.limit(asset)
        if limit is None:
            denials.append(_denied("asset", f"the policy has no limit for {asset}"))
            continue
        cap = party_window_cap(limit, certificate.threshold, len(certificate.node_ids))
        if amount > limit.per_transaction:
            denials.append(_denied("per-transaction", f"{amount} of {asset} is more than one transaction may move"))
        if amount > cap:
            denials.append(_denied("per-window", f"{amount} of {asset} is more than this party's part of the window"))
        spends.append(Spend(asset, amount, cap, limit.window_s))
    return denials, tuple(spends)
