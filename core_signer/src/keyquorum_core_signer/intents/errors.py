"""How the intents layer says no: a machine-readable code of the public error list, and a line of English."""

INTENT_INVALID = "intent-invalid"
POLICY_DENIED = "policy-denied"
SCHEME_UNAVAILABLE = "scheme-unavailable"


class IntentError(Exception):
    """Proves that a statement or a command cannot be accepted as it stands; it says nothing about who altered it.

    ``code`` is one of OperationError's codes; ``detail`` is English, holds no secret and is shown to the initiator.
    """

    def __init__(self, code: str, detail: str) -> None:
        self.code = code
        self.detail = detail
        super().__init__(f"{code}: {detail}")


class RosterError(Exception):
    """Proves that a roster file, or a change to it, contradicts itself; ``detail`` is for the operator."""

    def __init__(self, detail: str) -> None:
        self.detail = detail
        super().__init__(detail)
