"""Bitcoin for Keyquorum. Importing this package loads nothing: :mod:`.plugin` holds the hooks, :mod:`.codec` the codec."""
