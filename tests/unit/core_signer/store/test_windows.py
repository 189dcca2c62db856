"""The moving sum equals the sum: whatever was added, read, taken back and reloaded before."""

from hypothesis import given
from hypothesis import strategies as st

from keyquorum_core_signer.store import windows
from keyquorum_core_signer.store.windows import SpendingWindows

KEYS = ("key_1", "key_2")
ASSETS = ("a", "b")
WINDOWS_S = (1, 5, 60)

STEPS = st.lists(
    st.tuples(
        st.sampled_from(("add", "add", "read", "forget", "clear")),
        st.sampled_from(KEYS),
        st.sampled_from(ASSETS),
        st.integers(0, 4000),
        st.integers(0, 2**256 - 1),
    ),
    max_size=60,
)


@given(steps=STEPS)
def test_moving_sum_is_the_sum(steps: list[tuple[str, str, str, int, int]]) -> None:
    """Compared with adding up the table, for every key, asset and window length, after each step."""
    table: list[tuple[str, str, int, int]] = []

    def load(key_id: str, asset: str, after_ms: int) -> list[tuple[int, int]]:
        return [(at, amount) for k, a, at, amount in table if (k, a) == (key_id, asset) and at > after_ms]

    moving, now_ms = SpendingWindows(load), 10_000
    for what, key_id, asset, step_ms, amount in steps:
        now_ms += step_ms
        if what == "add":
            table.append((key_id, asset, now_ms, amount))
            moving.add(key_id, asset, now_ms, amount)
        elif what == "forget":
            table = [row for row in table if row[0] != key_id]
            moving.forget_key(key_id)
        elif what == "clear":
            moving.clear()
        for window_s in WINDOWS_S:
            expected = sum(amount for _, amount in load(key_id, asset, now_ms - 1000 * window_s))
            assert moving.reserved(key_id, asset, window_s, now_ms) == expected


def test_only_so_many_sums_are_kept() -> None:
    """Memory does not grow with the number of keys, and what was dropped is right when it is asked for again."""
    asked: list[str] = []

    def load(key_id: str, asset: str, after_ms: int) -> list[tuple[int, int]]:
        asked.append(key_id)
        return [(1, 7)]

    moving = SpendingWindows(load)
    for number in range(windows.WINDOWS_CACHED_MAX + 10):
        assert moving.reserved(f"key_{number}", "a", 60, 1) == 7
    assert len(moving._windows) == windows.WINDOWS_CACHED_MAX
    asked.clear()
    assert moving.reserved("key_0", "a", 60, 1) == 7
    assert moving.reserved(f"key_{windows.WINDOWS_CACHED_MAX}", "a", 60, 1) == 7
    assert asked == ["key_0"]
