"""What every request passes on its way in and out, outermost first: tracing, problems, limits, auth, rate limit,
idempotency. app.py has the list."""
