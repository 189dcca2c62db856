"""Admission: an intent becomes this party's own decision, durable before anything secret is used.

Nothing that a coordinator says is believed here. The initiator's signature, the key's certificate, the party's own codec
and its own policy copy decide; the operation log then binds the operation id to this one intent for ever.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Final

from keyquorum_core_signer.codecs.errors import CodecError, CodecRejected
from keyquorum_core_signer.codecs.pool import CodecPool
from keyquorum_core_signer.intents.decision import Decision, Spend, decide_create, decide_order, decide_sign
from keyquorum_core_signer.intents.effects import Decoded
from keyquorum_core_signer.intents.errors import SCHEME_UNAVAILABLE, IntentError
from keyquorum_core_signer.intents.fields import protocol_of
from keyquorum_core_signer.intents.intent import (
    CreateKey,
    Intent,
    Sign,
    intent_hash,
    operation_id,
    parse_intent,
    verify_authorization,
)
from keyquorum_core_signer.intents.roster import Roster
from keyquorum_core_signer.party.allowance import Allowance
from keyquorum_core_signer.party.keyring import ActiveKey, Keyring
from keyquorum_core_signer.party.metrics import DENIALS_UNRECORDED
from keyquorum_core_signer.party.presignatures import Burned
from keyquorum_core_signer.party.refusal import (
    INTENT_INVALID,
    INTERNAL,
    KEY_NOT_FOUND,
    OPERATION_CONFLICT,
    POLICY_DENIED,
    Refusal,
)
from keyquorum_core_signer.store import commands
from keyquorum_core_signer.store.ports import ShareStore
from keyquorum_protos.signer.v1 import intent_pb2

# A denial costs its author one signature by a key of its own making, and us an audit row of half a kilobyte for ever.
OFFERED_PROTOCOLS: Final = frozenset({"frost", "dkls23"})
DENIALS_AT_ONCE: Final = 1000
DENIALS_PER_S: Final = 10


@dataclass(frozen=True, slots=True)
class Ordered:
    """An intent whose initiator is proven; nothing has been decided yet."""

    data: bytes
    intent: Intent
    digest: bytes
    op_id: str


@dataclass(frozen=True, slots=True)
class AdmittedSign:
    """A signing intent that this party takes part in; its operation id is recorded.

    ``burned`` is what was to be burned for it, or why that is not to be had: the reservation stands all the same.
    """

    ordered: Ordered
    command: Sign
    key: ActiveKey
    burned: Burned | Refusal | None = None


@dataclass(frozen=True, slots=True)
class AdmittedCreate:
    """A key intent that this party takes part in; its operation id is recorded."""

    ordered: Ordered
    command: CreateKey


Admitted = AdmittedSign | AdmittedCreate

Burn = Callable[[ActiveKey], Awaitable[Burned]]
"""Uses presignatures up. It may be begun before the admission is durable: the store takes it up after the admission, and
burns nothing for an operation that it did not admit; so both cost one write to the disk."""


class Admission:
    """Decides for one party."""

    def __init__(
        self,
        node_id: str,
        roster: Roster,
        store: ShareStore,
        *,
        keyring: Keyring,
        codecs: CodecPool,
        now_ms: Callable[[], int],
    ) -> None:
        self._node_id = node_id
        self._roster = roster
        self._store = store
        self._keyring = keyring
        self._codecs = codecs
        self._now_ms = now_ms
        self._denials = Allowance(DENIALS_AT_ONCE, DENIALS_PER_S)

    def read(self, data: bytes, authorization: intent_pb2.Authorization) -> Ordered:
        """Parse an intent and prove its initiator; :class:`Refusal` otherwise. Cheap, and leaves no trace."""
        try:
            intent = parse_intent(data)
            verify_authorization(intent, data, authorization)
        except IntentError as error:
            raise Refusal(error.code, error.detail, rule="authorization") from None
        return Ordered(data, intent, intent_hash(data), operation_id(data))

    async def admit(self, ordered: Ordered, participants: Sequence[str], burn: Burn | None = None) -> Admitted:
        """Decide, and record the operation; :class:`Refusal`, with an audit row, otherwise.

        ``burn`` is for signing with presignatures, which nothing but what a codec explains may be.
        """
        try:
            if isinstance(ordered.intent.command, CreateKey):
                return await self._create(ordered, ordered.intent.command, participants)
            return await self._sign(ordered, ordered.intent.command, participants, burn)
        except Refusal as refusal:
            await self._record_denial(ordered, refusal)
            raise

    async def _create(self, ordered: Ordered, command: CreateKey, participants: Sequence[str]) -> AdmittedCreate:
        if tuple(participants) != command.node_ids:
            raise Refusal(INTENT_INVALID, "a key is made by its whole committee", rule="participants")
        if protocol_of(command.scheme, command.protocol) not in OFFERED_PROTOCOLS:
            raise Refusal(SCHEME_UNAVAILABLE, f"this party does not offer {command.protocol}", rule="protocol")
        now_ms = self._store.time_ms(self._now_ms())
        _require(decide_create(ordered.intent, self._roster, self._node_id, now_ms))
        await self._record(ordered, commands.OperationKind.CREATE_KEY, command.key_id, ())
        return AdmittedCreate(ordered, command)

    async def _sign(
        self, ordered: Ordered, command: Sign, participants: Sequence[str], burn: Burn | None
    ) -> AdmittedSign:
        if burn is not None and command.raw:
            raise Refusal(INTENT_INVALID, "what nothing explains is signed without presignatures", rule="raw")
        key = await self._keyring.active(command.key_id)
        now_ms = self._store.time_ms(self._now_ms())
        _require(decide_order(ordered.intent, key.certificate, self._roster, participants, now_ms))
        decoded = None if command.raw else await self._explain(command, key)
        now_ms = self._store.time_ms(self._now_ms())
        decision = decide_sign(ordered.intent, key.certificate, self._roster, decoded, participants, now_ms)
        _require(decision)
        recorded = self._record(ordered, commands.OperationKind.SIGN, command.key_id, decision.spends)
        if burn is None:
            await recorded
            return AdmittedSign(ordered, command, key)
        refused, burned = await asyncio.gather(recorded, burn(key), return_exceptions=True)
        if isinstance(refused, BaseException):
            raise refused
        if isinstance(burned, BaseException) and not isinstance(burned, Refusal):
            raise burned
        return AdmittedSign(ordered, command, key, burned)

    async def _explain(self, command: Sign, key: ActiveKey) -> Decoded:
        """What our own codec finds in the payload, told which addresses are ours at the paths that the intent names."""
        codec = self._codecs.find(command.codec) if command.codec is not None else None
        if codec is None:
            raise Refusal(INTENT_INVALID, "this party does not pin the codec that the intent names", rule="codec")
        paths = dict.fromkeys(message.path for message in command.messages)
        accounts = [await self._keyring.account(key, path, command.chain, codec) for path in paths]
        try:
            return await codec.decode(command.unsigned_payload, command.chain, accounts)
        except CodecRejected as error:
            raise Refusal(INTENT_INVALID, error.detail, rule="codec") from None
        except CodecError:
            raise Refusal(INTERNAL, "the codec failed on the payload", rule="codec") from None

    async def _record(
        self, ordered: Ordered, kind: commands.OperationKind, key_id: str, spends: Sequence[Spend]
    ) -> None:
        intent = ordered.intent
        outcome = await self._store.execute(
            commands.AdmitOperation(
                op_id=ordered.op_id,
                intent_hash=ordered.digest,
                kind=kind,
                tenant_id=intent.tenant_id,
                key_id=key_id,
                initiator=intent.initiator_key,
                nonce=intent.nonce,
                valid_until_ms=intent.valid_until_ms,
                now_ms=self._now_ms(),
                spends=tuple(commands.Spend(s.asset, s.amount, s.window_cap, s.window_s) for s in spends),
            )
        )
        match outcome:
            case commands.Admitted():
                return
            case commands.Conflict():
                raise Refusal(OPERATION_CONFLICT, "the initiator used this nonce, or this key id, for something else")
            case commands.Expired():
                raise Refusal(POLICY_DENIED, "the intent's validity is over", rule="expired")
            case commands.LimitExceeded():
                raise Refusal(POLICY_DENIED, f"the window's limit on {outcome.asset} is used up", rule="per-window")
            case commands.KeyUnavailable():
                raise Refusal(KEY_NOT_FOUND, "the key is not in the state that this needs")

    async def _record_denial(self, ordered: Ordered, refusal: Refusal) -> None:
        """Leave the audit row, unless there have been so many of late that somebody is filling our disk."""
        if not self._denials.take(self._now_ms()):
            DENIALS_UNRECORDED.inc()
            return
        intent = ordered.intent
        await self._store.execute(
            commands.RecordDenial(
                op_id=ordered.op_id,
                code=refusal.code,
                rule=refusal.rule,
                tenant_id=intent.tenant_id,
                key_id=intent.command.key_id,
                initiator=intent.initiator_key,
                now_ms=self._now_ms(),
            )
        )


def _require(decision: Decision) -> None:
    if decision.denials:
        first = decision.denials[0]
        details = "; ".join(denial.detail for denial in decision.denials)
        raise Refusal(first.code, details, rule=first.rule)
