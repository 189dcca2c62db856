"""Which coins pay for a transfer, and how much of them comes back."""
