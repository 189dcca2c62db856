"""What every request passes on its way in and out, outermost first: tracing, problems, auth, rate limit,
limits, idempotency. app.py has the list."""
