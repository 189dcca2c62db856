"""A key's genesis policy: who may initiate with it, and how much may leave it."""

from dataclasses import dataclass

from keyquorum_core_signer.intents import fields
from keyquorum_core_signer.intents.limits import ASSET_LIMITS_MAX, INITIATOR_KEYS_MAX, WINDOW_S_MAX
from keyquorum_protos.signer.v1 import intent_pb2


@dataclass(frozen=True, slots=True)
class AssetLimit:
    """The most of one asset (CAIP-19) that may leave, in minor units: in one transaction, and in ``window_s`` seconds."""

    asset: str
    per_transaction: int
    per_window: int
    window_s: int


@dataclass(frozen=True, slots=True)
class Policy:
    """Who may initiate with a key, and within which limits. An asset without a limit cannot be moved."""

    initiator_keys: tuple[bytes, ...]
    limits: tuple[AssetLimit, ...] = ()
    allow_raw: bool = False

    def limit(self, asset: str) -> AssetLimit | None:
        """The limit on ``asset``, if there is one."""
        return next((limit for limit in self.limits if limit.asset == asset), None)

    def confined_to(self, chain: str) -> bool:
        """Whether no limit is for another chain (CAIP-2) of the namespace of ``chain``.

        Where payloads do not say which chain they are for, a key serves one: the limits of another would be its own.
        """
        namespace = f"{chain.partition(':')[0]}:"
        limits = (limit.asset for limit in self.limits if limit.asset.startswith(namespace))
        return all(asset.startswith(f"{chain}/") for asset in limits)


def party_window_cap(limit: AssetLimit, threshold: int, parties: int) -> int:
    """How much of ``limit`` one party lets through per window.

    Of ``n`` parties, ``t - 1`` may be hostile and enforce nothing. Every signature needs at least one of the other
    ``n - t + 1``, so if each of those stops at its ``n - t + 1``-th part, no rotation of quorums exceeds the whole.
    """
    return limit.per_window // (parties - threshold + 1)


def policy_from_proto(message: intent_pb2.Policy, what: str) -> Policy:
    """Read a policy strictly: at least one initiator, keys and assets distinct, limits consistent."""
    fields.count(message.initiator_keys, 1, INITIATOR_KEYS_MAX, f"{what}.initiator_keys")
    fields.count(message.limits, 0, ASSET_LIMITS_MAX, f"{what}.limits")
    keys = tuple(fields.exactly(key, fields.KEY_BYTES, f"{what}.initiator_keys") for key in message.initiator_keys)
    limits = tuple(_limit_from_proto(limit, f"{what}.limits[{i}]") for i, limit in enumerate(message.limits))
    fields.distinct(keys, f"{what}.initiator_keys")
    fields.distinct((limit.asset for limit in limits), f"{what}.limits")
    return Policy(keys, limits, message.allow_raw)


def policy_to_proto(policy: Policy) -> intent_pb2.Policy:
    """Write a policy; the inverse of :func:`policy_from_proto`."""
    return intent_pb2.Policy(
        initiator_keys=policy.initiator_keys,
        limits=[
            intent_pb2.AssetLimit(
                asset=limit.asset,
                per_transaction=str(limit.per_transaction),
                per_window=str(limit.per_window),
                window_s=limit.window_s,
            )
            for limit in policy.limits
        ],
        allow_raw=policy.allow_raw,
    )


def _limit_from_proto(message: intent_pb2.AssetLimit, what: str) -> AssetLimit:
    per_transaction = fields.amount(message.per_transaction, f"{what}.per_transaction")
    per_window = fields.amount(message.per_window, f"{what}.per_window")
    if per_transaction > per_window:
        raise fields.invalid(f"{what}: per_transaction is more than per_window")
    if not 1 <= message.window_s <= WINDOW_S_MAX:
        raise fields.invalid(f"{what}.window_s: 1 to {WINDOW_S_MAX} seconds are allowed")
    return AssetLimit(fields.caip19(message.asset, f"{what}.asset"), per_transaction, per_window, message.window_s)
