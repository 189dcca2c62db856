"""What holds for every test."""

from hypothesis import HealthCheck, settings

# A machine that is busy with other tests is slow, not wrong: what must be bounded in time says so itself.
settings.register_profile("keyquorum", deadline=None, suppress_health_check=[HealthCheck.too_slow], print_blob=True)
settings.load_profile("keyquorum")
