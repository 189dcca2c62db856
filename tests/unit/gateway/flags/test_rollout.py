"""Who is in: the table of the rules, and percentages that are sticky, monotonic, even, and unrelated between chains."""

from itertools import pairwise

import pytest

from keyquorum_gateway.flags.rollout import Asker, Decision, Reason, Rollout, bucket, configured

CHAIN = "toy:main"
IDS = [f"tenant-{index}" for index in range(10_000)]
YES, NO = True, False


def inside(percent, ids=IDS, chain=CHAIN, salt=""):
    """The ids that a percentage takes."""
    rollout = Rollout(enabled=True, percent=percent, salt=salt)
    return {each for each in ids if rollout.decide(chain, Asker(each), "build").allowed}


OPEN = Rollout(enabled=True, percent=100)
SHUT = Rollout(enabled=False, percent=100, tenants=frozenset({"acme"}))
LISTED = Rollout(enabled=True, percent=0, tenants=frozenset({"acme"}))
NOBODY = Rollout(enabled=True, percent=0)
KILLED = Rollout(enabled=True, percent=100, tenants=frozenset({"acme"}), kill=True)
KILLED_ONLY = Rollout(kill=True)
UNSAID = Rollout()

TABLE = [
    # flag, tenant, at, allowed, reason
    (OPEN, "acme", "build", YES, Reason.EVERYONE),
    (OPEN, "acme", "read", YES, Reason.READ),
    (OPEN, "acme", "broadcast", YES, Reason.UNDER_WAY),
    (SHUT, "acme", "build", NO, Reason.DISABLED),
    (SHUT, "acme", "read", YES, Reason.READ),
    (SHUT, "acme", "broadcast", YES, Reason.UNDER_WAY),
    (LISTED, "acme", "build", YES, Reason.TENANT),
    (LISTED, "globex", "build", NO, Reason.OUTSIDE),
    (LISTED, "globex", "read", YES, Reason.READ),
    (LISTED, "globex", "broadcast", YES, Reason.UNDER_WAY),
    (NOBODY, "acme", "build", NO, Reason.OUTSIDE),
    (NOBODY, "acme", "broadcast", YES, Reason.UNDER_WAY),
    (KILLED, "acme", "build", NO, Reason.KILLED),
    (KILLED, "acme", "read", NO, Reason.KILLED),
    (KILLED, "acme", "broadcast", NO, Reason.KILLED),
    (KILLED_ONLY, "acme", "build", NO, Reason.KILLED),
    (KILLED_ONLY, "acme", "broadcast", NO, Reason.KILLED),
]


@pytest.mark.parametrize(("flag", "tenant", "at", "allowed", "reason"), TABLE)
def test_the_table_of_rules(flag, tenant, at, allowed, reason):
    """Kill beats all; disabled beats the list; the list beats the percentage; what is under way ends."""
    assert flag.decide(CHAIN, Asker(tenant, "wal_1"), at) == Decision(allowed, reason)


@pytest.mark.parametrize(("at", "expected"), [("build", None), ("read", Reason.READ), ("broadcast", Reason.UNDER_WAY)])
def test_a_flag_that_says_nothing_leaves_it_to_the_configuration(at, expected):
    """As one is left that was killed and revived before anybody enabled it."""
    decision = UNSAID.decide(CHAIN, Asker("acme"), at)
    assert (decision.reason if decision else None) is expected


@pytest.mark.parametrize(
    ("enabled", "tenants", "at", "allowed"),
    [
        (True, (), "build", True),
        (True, ("acme",), "build", True),
        (True, ("globex",), "build", False),
        (True, ("globex",), "read", True),
        (True, ("globex",), "broadcast", True),
        (False, (), "build", False),
        (False, (), "read", False),
        (False, ("acme",), "broadcast", False),
    ],
)
def test_the_configuration_alone_follows_the_same_rules(enabled, tenants, at, allowed):
    """A chain that is not enabled there is not loaded: nothing works."""
    assert configured(enabled=enabled, tenants=tenants, asker=Asker("acme"), at=at).allowed is allowed


@pytest.mark.parametrize(
    ("rollout", "stage"),
    [
        (OPEN, "enabled"),
        (SHUT, "disabled"),
        (LISTED, "canary"),
        (KILLED, "killed"),
        (KILLED_ONLY, "killed"),
        (UNSAID, "configuration"),
    ],
)
def test_a_stage_in_a_word(rollout, stage):
    """What lists show."""
    assert rollout.stage == stage


def test_raising_a_percentage_only_adds():
    """Whoever is in at one percentage is in at every higher one; 0 takes nobody and 100 everybody."""
    taken = [inside(percent, IDS[:1000]) for percent in range(101)]
    assert taken[0] == set()
    assert taken[100] == set(IDS[:1000])
    for smaller, larger in pairwise(taken):
        assert smaller <= larger


@pytest.mark.parametrize("percent", [1, 10, 50, 90, 99])
def test_a_percentage_is_that_many_of_ten_thousand(percent):
    """Within five standard deviations of the binomial distribution."""
    expected = len(IDS) * percent / 100
    deviation = (expected * (1 - percent / 100)) ** 0.5
    assert abs(len(inside(percent)) - expected) < 5 * deviation


def test_every_bucket_is_used_alike():
    """Chi-squared over a hundred buckets, below the 1-in-10^6 quantile of 99 degrees of freedom."""
    counts = [0] * 100
    for each in IDS:
        counts[bucket(CHAIN, "", each)] += 1
    assert sum((count - 100) ** 2 / 100 for count in counts) < 180


def test_an_id_stays_where_it_is():
    """Fixed values: a new release must not shuffle running canaries."""
    drawn = [
        bucket(*each) for each in (("toy:main", "", "acme"), ("toy:main", "", "globex"), ("toy:main", "s", "acme"))
    ]
    assert drawn == [67, 13, 77]


@pytest.mark.parametrize("other", [{"chain": "toy:other"}, {"salt": "second"}])
def test_chains_and_salts_draw_independently(other):
    """Of one tenth about a tenth is in the other: nobody is the guinea pig of every chain."""
    both = len(inside(10) & inside(10, **other))
    assert 50 < both < 160


def test_parts_cannot_run_into_each_other():
    """Each part is hashed with its length."""
    same = sum(bucket("toy:a", "b", f"c{i}") == bucket("toy:a", "", f"bc{i}") for i in range(1000))
    assert same < 50


def test_wallets_can_be_what_sticks():
    """The wallet's id decides, whichever tenant it belongs to; without a wallet nobody is in, and the reason says so."""
    rollout = Rollout(enabled=True, percent=30, sticky="wallet", tenants=frozenset({"acme"}))
    wallets = [f"wal_{index:032x}" for index in range(1000)]
    taken = [rollout.decide(CHAIN, Asker("globex", wallet), "build").allowed for wallet in wallets]
    assert 230 < sum(taken) < 370
    assert taken == [rollout.decide(CHAIN, Asker("initech", wallet), "build").allowed for wallet in wallets]
    assert rollout.decide(CHAIN, Asker("globex"), "build") == Decision(NO, Reason.WALLET)
    assert rollout.decide(CHAIN, Asker("acme"), "build") == Decision(YES, Reason.TENANT)
    none = Rollout(enabled=True, percent=0, sticky="wallet")
    assert none.decide(CHAIN, Asker("globex"), "build") == Decision(NO, Reason.OUTSIDE)
