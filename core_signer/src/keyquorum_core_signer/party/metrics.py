"""What a party measures of itself; documented in docs/metrics.md."""

from typing import Final

from prometheus_client import Counter, Gauge, Histogram

SESSIONS: Final = Counter("keyquorum_party_sessions_total", "Sessions that ended at this party", ["kind", "outcome"])
SESSION_SECONDS: Final = Histogram(
    "keyquorum_party_session_seconds",
    "From a coordinator's order to the result",
    ["kind"],
    buckets=(0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20),
)
DENIALS_UNRECORDED: Final = Counter(
    "keyquorum_party_denials_unrecorded_total", "Denials beyond those that the audit log takes in a while"
)
LINKS: Final = Gauge("keyquorum_party_links", "Coordinators whose link is open")
CHANNELS: Final = Gauge("keyquorum_party_channels", "Pairwise channels that stand", ["coordinator"])
PAIRS: Final = Gauge("keyquorum_party_pairs", "Peers that a living pair set-up is held with")
BANS: Final = Counter("keyquorum_party_bans_total", "Bans of a peer for a check that no honest party fails", ["peer"])
PRESIGNATURES: Final = Gauge("keyquorum_party_presignatures", "Presignatures in stock, of all keys and quorums")
PRESIGNATURES_MADE: Final = Counter("keyquorum_party_presignatures_made_total", "Presignatures that were stored")
PRESIGNATURES_BURNED: Final = Counter(
    "keyquorum_party_presignatures_burned_total", "Presignatures used for a signature"
)
