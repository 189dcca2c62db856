"""A coordinator's configuration."""

from pydantic import Field

from keyquorum_core_signer.config.sections import Address, ConfigPath, Log, Name, Section, Telemetry, Transport


class OperationLog(Section):
    """The durable log of operations and certificates; public data."""

    path: ConfigPath


class CoordinatorDeadlines(Section):
    """What a coordinator waits for at most, in milliseconds."""

    create_key_ms: int = Field(default=15_000, ge=100, le=120_000)
    sign_ms: int = Field(default=5_000, ge=100, le=120_000)  # one attempt with one quorum
    operation_ms: int = Field(default=15_000, ge=100, le=300_000)  # all attempts; then the operation fails
    attest_ms: int = Field(default=5_000, ge=100, le=60_000)
    dial_ms: int = Field(default=5_000, ge=100, le=60_000)
    shutdown_ms: int = Field(default=5_000, ge=100, le=60_000)


class Breaker(Section):
    """When a party is left alone, and for how long."""

    failures: int = Field(default=3, ge=1, le=100)  # consecutive
    reset_ms: int = Field(default=1_000, ge=10, le=600_000)  # before the first probe
    reset_ms_max: int = Field(default=30_000, ge=10, le=600_000)  # back-off ends here


class CoordinatorLimits(Section):
    """What gateways can make a coordinator hold at once."""

    operations: int = Field(default=1024, ge=1, le=65_536)
    followers: int = Field(default=4096, ge=1, le=65_536)  # streams that watch an operation


class CoordinatorConfig(Section):
    """One coordinator: trusted for liveness alone."""

    coordinator_id: Name
    roster: ConfigPath
    listen: Address
    transport: Transport
    operations: OperationLog
    reflection: bool = False  # gRPC reflection, for development
    deadlines: CoordinatorDeadlines = CoordinatorDeadlines()
    breaker: Breaker = Breaker()
    limits: CoordinatorLimits = CoordinatorLimits()
    telemetry: Telemetry = Telemetry()
    log: Log = Log()

    def secret_files(self) -> tuple[ConfigPath, ...]:
        """Files that nobody else may read."""
        return (self.transport.key,)

    def public_files(self) -> tuple[ConfigPath, ...]:
        """Other files that must be there before the coordinator starts."""
        return (self.roster, self.transport.certificate)
