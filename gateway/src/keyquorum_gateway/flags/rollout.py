"""For whom a chain is open: the rules, as functions of a flag and of who asks, with nothing read and nothing counted.

==========================  ==============================  =================  ====================
flag                        something new (``build``)       ``read``           ``broadcast``
==========================  ==============================  =================  ====================
``kill``                    nobody                          nobody             nothing
``enabled = false``         nobody                          everybody          what is under way
``enabled = true``          ``tenants``, and ``percent``    everybody          what is under way
                            of all others
no ``enabled``              what gateway.toml says          everybody          what is under way
==========================  ==============================  =================  ====================

``disable`` and a smaller canary therefore let end what was begun; ``kill`` stops it where it stands. A flag decides
nothing else: policies, quorums, fee ceilings and audit are not asked about it and cannot be switched off by it.
"""

import hashlib
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, Literal, TypeAlias

At: TypeAlias = Literal["build", "read", "broadcast"]
"""When a flag is asked: before something new begins (a wallet, an account, a transaction, a signature, foreign bytes to
broadcast), before the chain's node is asked about what exists, and before bytes of ours that are signed are broadcast."""

Sticky: TypeAlias = Literal["tenant", "wallet"]

_BUCKETS: Final = 100
_DOMAIN: Final = b"keyquorum/chain-flag/bucket/v1"


class Reason(StrEnum):
    """Why a chain is open, or closed, for somebody."""

    EVERYONE = "everyone"
    TENANT = "tenant"
    CANARY = "canary"
    UNDER_WAY = "under-way"
    READ = "read"
    CONFIGURATION = "configuration"
    KILLED = "killed"
    DISABLED = "disabled"
    OUTSIDE = "not-in-canary"
    WALLET = "depends-on-wallet"
    UNAVAILABLE = "flags-unavailable"


@dataclass(frozen=True, slots=True)
class Decision:
    """Whether, and why."""

    allowed: bool
    reason: Reason


@dataclass(frozen=True, slots=True)
class Asker:
    """Who wants something of a chain. ``wallet_id`` is empty where no wallet is concerned."""

    tenant_id: str
    wallet_id: str = ""


@dataclass(frozen=True, slots=True)
class Rollout:
    """One chain's flag. ``enabled`` is None where the gateway's own configuration decides, killed or not."""

    enabled: bool | None = None
    percent: int = 0
    tenants: frozenset[str] = frozenset()
    sticky: Sticky = "tenant"
    salt: str = ""
    kill: bool = False

    @property
    def stage(self) -> str:
        """Where the chain stands, in a word: killed, disabled, canary, enabled, or configuration."""
        if self.kill:
            return "killed"
        if self.enabled is None:
            return "configuration"
        if not self.enabled:
            return "disabled"
        return "enabled" if self.percent == _BUCKETS else "canary"

    def decide(self, chain: str, asker: Asker, at: At) -> Decision | None:
        """The table above. None where the flag leaves it to the gateway's configuration."""
        if self.kill:
            return Decision(allowed=False, reason=Reason.KILLED)
        if at == "read":
            return Decision(allowed=True, reason=Reason.READ)
        if at == "broadcast":
            return Decision(allowed=True, reason=Reason.UNDER_WAY)
        if self.enabled is None:
            return None
        if not self.enabled:
            return Decision(allowed=False, reason=Reason.DISABLED)
        return self._canary(chain, asker)

    def _canary(self, chain: str, asker: Asker) -> Decision:
        if self.percent == _BUCKETS:
            return Decision(allowed=True, reason=Reason.EVERYONE)
        if asker.tenant_id in self.tenants:
            return Decision(allowed=True, reason=Reason.TENANT)
        identifier = asker.tenant_id if self.sticky == "tenant" else asker.wallet_id
        if not identifier:
            return Decision(allowed=False, reason=Reason.WALLET if self.percent else Reason.OUTSIDE)
        inside = bucket(chain, self.salt, identifier) < self.percent
        return Decision(allowed=inside, reason=Reason.CANARY if inside else Reason.OUTSIDE)


def configured(*, enabled: bool, tenants: tuple[str, ...], asker: Asker, at: At) -> Decision:
    """What gateway.toml alone says: the same rules, with a list of tenants that is empty for all."""
    if not enabled:
        return Decision(allowed=False, reason=Reason.CONFIGURATION)
    if at != "build":
        return Decision(allowed=True, reason=Reason.READ if at == "read" else Reason.UNDER_WAY)
    return Decision(allowed=not tenants or asker.tenant_id in tenants, reason=Reason.CONFIGURATION)


def bucket(chain: str, salt: str, identifier: str) -> int:
    """0 to 99, always the same for an id on a chain, and unrelated between chains and salts.

    A percentage takes the buckets below it, so that raising one adds ids and never drops any. The first eight bytes of
    SHA-256 over each part with its length are scaled to 100: the bias is below 2^-57.
    """
    digest = hashlib.sha256(_DOMAIN)
    for part in (chain.encode(), salt.encode(), identifier.encode()):
        digest.update(len(part).to_bytes(8, "big") + part)
    return int.from_bytes(digest.digest()[:8], "big") * _BUCKETS >> 64
