"""What an order takes: who may take part, how many of them, for how long, and what makes their results a result."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from keyquorum_core_signer.coordinator.failures import (
    INTENT_INVALID,
    KEY_NOT_FOUND,
    OPERATION_CONFLICT,
    PROTOCOL_ABORT,
    Failure,
    OperationFailed,
)
from keyquorum_core_signer.coordinator.operation import Made, Order
from keyquorum_core_signer.coordinator.registry import KeyRegistry, RegisteredKey
from keyquorum_core_signer.coordinator.verification import judge_certificates, judge_signatures
from keyquorum_core_signer.intents.intent import CreateKey, Sign
from keyquorum_core_signer.intents.roster import Roster
from keyquorum_protos.party.v1 import party_pb2

PRESIGNED: Final = frozenset({"dkls23"})
"""The protocols whose signatures can be prepared before a message is known."""

Results = Mapping[str, party_pb2.SessionResult]


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the results of a session come to: what was made, or why it does not hold; and who reported otherwise."""

    made: Made | None
    failure: Failure | None
    dissenters: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Plan:
    """``size`` of ``node_ids`` run a session of at most ``attempt_s`` seconds; ``judge`` decides on their results.

    ``paths``, one per message, are there where presignatures may be used: for ECDSA over what a codec explains.
    """

    node_ids: tuple[str, ...]
    size: int
    attempt_s: float
    makes_key: bool
    judge: Callable[[Results], Verdict]
    key_id: str = ""
    epoch: int = 0
    paths: tuple[tuple[int, ...], ...] = ()


class Planner:
    """Makes plans; raises OperationFailed for orders that cannot have one."""

    def __init__(self, registry: KeyRegistry, roster: Roster, *, sign_s: float, create_key_s: float) -> None:
        """``sign_s`` and ``create_key_s`` bound one attempt with one quorum."""
        self._registry = registry
        self._roster = roster
        self._sign_s = sign_s
        self._create_key_s = create_key_s

    def plan(self, order: Order) -> Plan:
        """The plan for an order."""
        command = order.intent.command
        return self._creation(order, command) if isinstance(command, CreateKey) else self._signing(command)

    def _creation(self, order: Order, command: CreateKey) -> Plan:
        unknown = [node_id for node_id in command.node_ids if self._roster.find_node(node_id) is None]
        if unknown:
            raise OperationFailed(Failure(INTENT_INVALID, f"the roster has no node {', '.join(unknown)}"))
        if self._registry.find(command.key_id) is not None:
            raise OperationFailed(Failure(OPERATION_CONFLICT, "there is a key of this id already"))

        def judge(results: Results) -> Verdict:
            verdict = judge_certificates(order, self._roster, results)
            if verdict.key is None:
                detail = f"no one certificate that all have signed: {', '.join(verdict.dissenters)}"
                failure = Failure(PROTOCOL_ABORT, detail, culprits=verdict.dissenters)
                return Verdict(None, failure, verdict.dissenters)
            made = Made(
                certificate=verdict.key.signed,
                detail=_naming("did not report the key's certificate", verdict.dissenters),
                also=self._registry.storing(verdict.key),
            )
            return Verdict(made, None, verdict.dissenters)

        return Plan(command.node_ids, len(command.node_ids), self._create_key_s, makes_key=True, judge=judge)

    def _signing(self, command: Sign) -> Plan:
        certificate = self._find_key(command).certificate

        def judge(results: Results) -> Verdict:
            verdict = judge_signatures(command, certificate, results)
            if verdict.signatures is None:
                detail = f"the signatures do not verify, or differ: {', '.join(verdict.dissenters)}"
                culprits = verdict.dissenters if verdict.proven else ()
                return Verdict(None, Failure(PROTOCOL_ABORT, detail, culprits=culprits), verdict.dissenters)
            made = Made(signatures=verdict.signatures, detail=_naming("reported another signature", verdict.dissenters))
            return Verdict(made, None, verdict.dissenters)

        presigned = certificate.signing_protocol in PRESIGNED and not command.raw
        return Plan(
            certificate.node_ids,
            certificate.threshold,
            self._sign_s,
            makes_key=False,
            judge=judge,
            key_id=certificate.key_id,
            epoch=certificate.epoch,
            paths=tuple(message.path for message in command.messages) if presigned else (),
        )

    def _find_key(self, command: Sign) -> RegisteredKey:
        key = self._registry.find(command.key_id)
        if key is None:
            raise OperationFailed(Failure(KEY_NOT_FOUND, "no certificate of this key is registered here"))
        if key.certificate.scheme != command.scheme:
            raise OperationFailed(Failure(INTENT_INVALID, f"the key's scheme is {key.certificate.scheme}"))
        return key


def _naming(what: str, node_ids: tuple[str, ...]) -> str:
    return f"{', '.join(node_ids)} {what}" if node_ids else ""
