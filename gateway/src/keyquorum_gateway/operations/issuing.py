"""Issues the intents of operations: signed at once for gateway-initiated wallets, handed out for client-initiated ones."""

import time
from typing import Literal

from keyquorum_gateway.config import IntentsConfig
from keyquorum_gateway.identity import InitiatorKey
from keyquorum_gateway.intents import IntentComposer, KeyOrder, PayloadOrder, RawOrder, authorize, ceremony_id
from keyquorum_gateway.operations.record import Ceremony, Operation
from keyquorum_gateway.problems import OperationFailed
from keyquorum_gateway.state.wallets import Wallet


class IntentIssuer:
    """Makes each ceremony of an operation, once."""

    def __init__(self, composer: IntentComposer, key: InitiatorKey, config: IntentsConfig) -> None:
        self._composer = composer
        self._key = key
        self._config = config

    def issue(self, operation: Operation, wallet: Wallet, order: KeyOrder | PayloadOrder | RawOrder) -> Ceremony:
        """A new ceremony of the operation; without an authorization where the client has to give it."""
        client = operation.client_initiated
        if not client and wallet.initiator_key != self._key.public:
            raise OperationFailed("policy-denied", "the wallet's initiator is another gateway's key")
        validity_s = self._config.client_validity_s if client else self._config.gateway_validity_s
        valid_until_ms = int((time.time() + validity_s) * 1000)
        command: Literal["create_key", "sign"]
        if isinstance(order, KeyOrder):
            command = "create_key"
            intent = self._composer.create_key(
                order, tenant_id=wallet.tenant_id, initiator_key=wallet.initiator_key, valid_until_ms=valid_until_ms
            )
        else:
            command = "sign"
            intent = self._composer.sign(
                order, tenant_id=wallet.tenant_id, initiator_key=wallet.initiator_key, valid_until_ms=valid_until_ms
            )
        ceremony = Ceremony(
            command, ceremony_id(intent), order.key_id, order.scheme, intent, valid_until_ms, sent=False
        )
        if not client:
            ceremony.authorization = authorize(intent, self._key)
        operation.ceremonies.append(ceremony)
        return ceremony
