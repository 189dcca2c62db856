"""Which coins pay for a transfer, and how much of them comes back."""

from keyquorum_btc.selection.candidates import Selection, Target, target_of
from keyquorum_btc.selection.choose import select

__all__ = ["Selection", "Target", "select", "target_of"]
