"""``keyquorum verify``: checks what the gateway serves against a roster file of your own, and derives addresses anew.

The gateway is asked for the bytes and believed about nothing: the signatures are checked under the identity keys that the
roster pins, and the codec that is installed here says which address a certified key has.
"""

import base64
import binascii
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import click

from keyquorum_gateway.certificates import (
    Refused,
    VerifiedKey,
    verify_attestation,
    verify_certificate,
    verify_derivation,
)
from keyquorum_gateway.cli.connection import Gateway, gateway_command
from keyquorum_gateway.cli.tables import show
from keyquorum_gateway.roster import Roster, RosterError
from keyquorum_plugin_api.artifact import ArtifactError, find_codec
from keyquorum_plugin_api.codec import Codec
from keyquorum_protos.wallet.v1 import certificate_pb2


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that was checked."""

    what: str
    verdict: str
    detail: str


class NotProven(click.ClickException):
    """Something does not verify: do not send coins to this wallet."""


@click.group()
def verify() -> None:
    """Check statements of the parties without believing the gateway."""


@verify.command("wallet")
@click.argument("wallet_id")
@click.option(
    "--roster",
    "roster_file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    required=True,
    help="The roster that you pinned yourself.",
)
@gateway_command
async def verify_wallet(gateway: Gateway, wallet_id: str, roster_file: Path) -> None:
    """Verify a wallet's key certificates and address attestations."""
    try:
        roster = Roster.load(roster_file)
    except RosterError as error:
        raise click.ClickException(str(error)) from None
    bundle = await gateway.get(f"/v1/wallets/{wallet_id}/certificate")
    try:
        checks = check_bundle(bundle, wallet_id, roster)
    except Refused as refusal:
        raise NotProven(f"NOT PROVEN: {refusal.detail}") from None
    except (KeyError, TypeError, ValueError, binascii.Error):
        raise NotProven("NOT PROVEN: the gateway's answer is malformed") from None
    answer = {"wallet_id": wallet_id, "verified": True, "checks": [asdict(check) for check in checks]}
    rows = [(check.what, check.verdict, check.detail) for check in checks]
    show(answer, ("", "", ""), rows, as_json=gateway.as_json)


def check_bundle(bundle: Any, wallet_id: str, roster: Roster) -> list[Check]:
    """Every check of a wallet's certificate bundle; :class:`Refused` for the first that fails."""
    checks: list[Check] = []
    keys: dict[str, VerifiedKey] = {}
    for entry in bundle["keys"]:
        key = verify_certificate(_signed_certificate(entry), roster)
        if key.wallet_id != wallet_id:
            raise Refused("certificate-refused", "the certificate is another wallet's")
        keys[key.key_id] = key
        holders = ", ".join(key.node_ids)
        checks.append(Check("key", "certified", f"{key.scheme} {key.public_key.hex()}, {key.threshold} of {holders}"))
        limits = ", ".join(f"{limit.per_transaction} {limit.asset}" for limit in key.policy.limits) or "nothing"
        initiators = ", ".join(each.hex() for each in key.policy.initiator_keys)
        raw = "; also raw bytes" if key.policy.allow_raw else ""
        checks.append(Check("policy", "certified", f"{initiators} may initiate at most {limits} at once{raw}"))
    if not keys:
        raise Refused("certificate-refused", "the wallet has no certified key")
    checks.extend(_check_address(entry, keys, roster) for entry in bundle["addresses"])
    return checks


def _check_address(entry: Any, keys: dict[str, VerifiedKey], roster: Roster) -> Check:
    key = keys.get(entry["key_id"])
    if key is None:
        raise Refused("attestation-refused", "an address of a key without a certificate")
    attested = verify_attestation(_signed_attestation(entry), key, roster)
    if (attested.address, attested.chain) != (entry["address"], entry["chain"]):
        raise Refused("attestation-refused", "the gateway shows another address than the parties attested")
    codec = load_codec(attested.codec_name)
    verify_derivation(attested, codec, path=attested.path, chain=attested.chain)
    path = "/".join(map(str, attested.path)) or "the key itself"
    signers = ", ".join(attested.signers)
    return Check("address", "derived", f"{attested.chain} {attested.address} ({path}), attested by {signers}")


def load_codec(name: str) -> Codec:
    """The installed codec of a name; a readable error where there is none."""
    try:
        _, entry_point = find_codec(name)
        kind: type[Codec] = entry_point.load()
    except (ArtifactError, ImportError) as error:
        raise click.ClickException(f"the codec {name!r} cannot be loaded here: {error}") from None
    return kind()


def _signed_certificate(entry: Any) -> bytes:
    return certificate_pb2.SignedKeyCertificate(
        certificate=base64.b64decode(entry["certificate"], validate=True), signatures=_signatures(entry)
    ).SerializeToString(deterministic=True)


def _signed_attestation(entry: Any) -> bytes:
    return certificate_pb2.SignedAddressAttestation(
        attestation=base64.b64decode(entry["attestation"], validate=True), signatures=_signatures(entry)
    ).SerializeToString(deterministic=True)


def _signatures(entry: Any) -> list[certificate_pb2.NodeSignature]:
    return [
        certificate_pb2.NodeSignature(node_id=each["node_id"], signature=bytes.fromhex(each["signature"]))
        for each in entry["signatures"]
    ]
