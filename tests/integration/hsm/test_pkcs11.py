"""The PKCS#11 key-encryption key on a real module, SoftHSM 2."""

import asyncio
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import pkcs11
import pytest
from pkcs11 import Attribute, KeyType, MechanismFlag, ObjectClass

from keyquorum_core_signer.config import SecretFileError, read_secret
from keyquorum_core_signer.hsm.open import open_kek
from keyquorum_core_signer.hsm.pkcs11 import Pkcs11Kek, create_pkcs11_kek
from keyquorum_core_signer.hsm.ports import HsmUnavailable, KekSetupError, TamperedBlob, WrongKek
from support.softhsm import SoftToken, make_token

pytestmark = pytest.mark.softhsm


@contextmanager
def raw_session(token: SoftToken) -> Iterator[Any]:
    """A session beside ours, as the token's owner could open one."""
    library = pkcs11.lib(str(token.module))
    library.reinitialize()
    with library.get_token(token_label=token.label).open(rw=True, user_pin=token.pin()) as session:
        yield session


async def opened(token: SoftToken) -> Pkcs11Kek:
    return await Pkcs11Kek.open(token.module, token.uri, token.pin)


async def created(token: SoftToken) -> Pkcs11Kek:
    await create_pkcs11_kek(token.module, token.uri, token.pin)
    return await opened(token)


async def test_unwraps_what_it_wrapped_after_a_new_login(token: SoftToken) -> None:
    """A DEK wrapped before a restart is unwrapped after it, under the same KEK id."""
    dek = secrets.token_bytes(32)
    first = await created(token)
    kek_id, wrapped = first.kek_id, await first.wrap(dek)
    await first.close()
    second = await opened(token)
    assert second.kek_id == kek_id == "pkcs11:kek:1"
    assert await second.unwrap(kek_id, wrapped) == dek
    await second.close()


async def test_tampered_blobs_are_told_from_a_device_fault(token: SoftToken) -> None:
    """The device answers GeneralError to both; a changed blob is blamed on the blob, and the KEK goes on working."""
    kek = await created(token)
    dek = secrets.token_bytes(32)
    wrapped = await kek.wrap(dek)
    changed = [bytes(b ^ 1 if i == at else b for i, b in enumerate(wrapped)) for at in range(40)]
    for blob in (*changed, wrapped[:-1], wrapped[:-8], wrapped + bytes(8), b""):
        with pytest.raises(TamperedBlob):
            await kek.unwrap(kek.kek_id, blob)
    assert await kek.unwrap(kek.kek_id, wrapped) == dek
    await kek.close()


async def test_device_fault_is_no_verdict_on_the_blob_and_heals(token: SoftToken) -> None:
    """With the token gone every call says HsmUnavailable, and when it is back the next call logs in and works."""
    kek = await created(token)
    dek = secrets.token_bytes(32)
    wrapped = await kek.wrap(dek)
    away = token.files.with_name("away")
    token.files.rename(away)
    for _ in range(3):
        with pytest.raises(HsmUnavailable):
            await kek.unwrap(kek.kek_id, wrapped)
    with pytest.raises(HsmUnavailable):
        await kek.wrap(dek)
    away.rename(token.files)
    assert await kek.unwrap(kek.kek_id, wrapped) == dek
    await kek.close()


async def test_wrapped_under_another_key_is_tampered_or_wrong(token: SoftToken, tmp_path: Path) -> None:
    """A blob of another KEK does not open, whether it names itself truthfully or not."""
    kek = await created(token)
    for kek_id in ("pkcs11:kek:2", "pkcs11:kek:01", "pkcs11:kek:0", "pkcs11:other:1", "soft:kek:1", "pkcs11:kek:x", ""):
        with pytest.raises(WrongKek):
            await kek.unwrap(kek_id, bytes(40))
    with pytest.raises(TamperedBlob):
        await kek.unwrap(kek.kek_id, secrets.token_bytes(40))
    await kek.close()


async def test_older_generations_still_unwrap(token: SoftToken) -> None:
    """A new generation wraps from the next opening on; blobs of the old one stay readable."""
    dek = secrets.token_bytes(32)
    before = await created(token)
    old_id, wrapped = before.kek_id, await before.wrap(dek)
    await before.close()
    assert await create_pkcs11_kek(token.module, token.uri, token.pin) == "pkcs11:kek:2"
    after = await opened(token)
    assert after.kek_id == "pkcs11:kek:2"
    assert await after.unwrap(old_id, wrapped) == dek
    with pytest.raises(TamperedBlob):
        await after.unwrap(after.kek_id, wrapped)
    await after.close()


async def test_key_never_leaves_the_token(token: SoftToken) -> None:
    """The key was born sensitive and unextractable, and the token refuses its value, its export and a change of mind."""
    await create_pkcs11_kek(token.module, token.uri, token.pin)
    with raw_session(token) as session:
        (key,) = session.get_objects({Attribute.LABEL: "kek", Attribute.CLASS: ObjectClass.SECRET_KEY})
        for attribute in (
            Attribute.SENSITIVE,
            Attribute.ALWAYS_SENSITIVE,
            Attribute.NEVER_EXTRACTABLE,
            Attribute.LOCAL,
        ):
            assert key[attribute] is True
        assert key[Attribute.EXTRACTABLE] is False
        assert (key[Attribute.ENCRYPT], key[Attribute.DECRYPT]) == (False, False)
        with pytest.raises(pkcs11.exceptions.PKCS11Error):
            _ = key[Attribute.VALUE]
        with pytest.raises(pkcs11.exceptions.PKCS11Error):
            key.wrap_key(key, mechanism=pkcs11.Mechanism.AES_KEY_WRAP)
        with pytest.raises(pkcs11.exceptions.PKCS11Error):
            key[Attribute.EXTRACTABLE] = True


async def test_deks_do_not_stay_on_the_device(token: SoftToken) -> None:
    """A DEK is an object of the session for one call only: none is left, on the token or in a file of it."""
    kek = await created(token)
    dek = secrets.token_bytes(32)
    wrapped = await kek.wrap(dek)
    await kek.unwrap(kek.kek_id, wrapped)
    await kek.close()
    with raw_session(token) as session:
        assert len(list(session.get_objects({Attribute.CLASS: ObjectClass.SECRET_KEY}))) == 1
    assert all(dek not in path.read_bytes() for path in token.files.rglob("*") if path.is_file())


@pytest.mark.parametrize(
    "template",
    [
        {Attribute.SENSITIVE: False, Attribute.EXTRACTABLE: False},
        {Attribute.SENSITIVE: True, Attribute.EXTRACTABLE: True},
    ],
)
async def test_key_that_could_leave_is_refused(token: SoftToken, template: dict[Attribute, bool]) -> None:
    """A KEK that its HSM would hand out is not one."""
    with raw_session(token) as session:
        session.generate_key(
            KeyType.AES,
            256,
            id=(1).to_bytes(4, "big"),
            label="kek",
            store=True,
            capabilities=MechanismFlag.WRAP | MechanismFlag.UNWRAP,
            template=template,
        )
    with pytest.raises(KekSetupError, match="not safe"):
        await opened(token)


async def test_imported_or_short_key_is_refused(token: SoftToken) -> None:
    """A key that has been outside of the HSM, or is no AES-256, is refused."""
    with raw_session(token) as session:
        session.create_object(
            {
                Attribute.CLASS: ObjectClass.SECRET_KEY,
                Attribute.KEY_TYPE: KeyType.AES,
                Attribute.VALUE: bytes(16),
                Attribute.TOKEN: True,
                Attribute.LABEL: "kek",
                Attribute.ID: (1).to_bytes(4, "big"),
                Attribute.SENSITIVE: True,
                Attribute.EXTRACTABLE: False,
                Attribute.WRAP: True,
                Attribute.UNWRAP: True,
            }
        )
    with pytest.raises(KekSetupError, match="NEVER_EXTRACTABLE, KEY_TYPE"):
        await opened(token)


async def test_two_keys_of_one_generation_are_an_error(token: SoftToken) -> None:
    """Which of two matching keys was meant is not guessed."""
    await create_pkcs11_kek(token.module, token.uri, token.pin)
    with raw_session(token) as session:
        session.generate_key(KeyType.AES, 256, id=(1).to_bytes(4, "big"), label="kek", store=True)
    with pytest.raises(KekSetupError, match="two keys"):
        await opened(token)


async def test_two_tokens_of_one_label_are_an_error_until_the_serial_decides(
    token: SoftToken, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The URI matches exactly one token, or nothing is opened."""
    await create_pkcs11_kek(token.module, token.uri, token.pin)
    with raw_session(token) as session:
        serial = session.token.serial.decode()
    twin = make_token(tmp_path / "twin", "party-1")
    for folder in twin.files.iterdir():
        folder.rename(token.files / folder.name)
    with pytest.raises(KekSetupError, match="more than once"):
        await opened(token)
    kek = await Pkcs11Kek.open(token.module, f"{token.uri};serial={serial}", token.pin)
    assert kek.kek_id == "pkcs11:kek:1"
    await kek.close()


async def test_missing_token_or_key_is_an_error(token: SoftToken) -> None:
    """No token is a device that is not there, no key is the operator's to make."""
    with pytest.raises(HsmUnavailable, match="not there"):
        await Pkcs11Kek.open(token.module, "pkcs11:token=party-9;object=kek", token.pin)
    with pytest.raises(KekSetupError, match="create one first"):
        await opened(token)


async def test_wrong_pin_is_asked_once_and_not_shown(token: SoftToken) -> None:
    """A refused PIN is final for this KEK, because a device locks after a few; it never stands in the error."""
    asked = 0

    def wrong() -> str:
        nonlocal asked
        asked += 1
        return "00000000"

    await create_pkcs11_kek(token.module, token.uri, token.pin)
    kek = await opened(token)
    wrapped = await kek.wrap(bytes(32))
    kek._pin = wrong
    away = token.files.with_name("away")
    token.files.rename(away)
    with pytest.raises(HsmUnavailable):
        await kek.unwrap(kek.kek_id, wrapped)
    away.rename(token.files)
    for _ in range(5):
        with pytest.raises(KekSetupError) as caught:
            await kek.unwrap(kek.kek_id, wrapped)
        assert "00000000" not in str(caught.value)
    assert asked == 1
    await kek.close()


async def test_one_kek_per_process(token: SoftToken) -> None:
    """A second login would tear down the first one's sessions under its thread; it is refused, and the first works on."""
    kek = await created(token)
    with pytest.raises(KekSetupError, match="one PKCS#11"):
        await opened(token)
    dek = secrets.token_bytes(32)
    assert await kek.unwrap(kek.kek_id, await kek.wrap(dek)) == dek
    await kek.close()


async def test_concurrent_calls_are_served_one_by_one(token: SoftToken) -> None:
    """Two hundred calls at once, half of them with bad blobs, neither crash the process nor mix up answers."""
    kek = await created(token)
    deks = [secrets.token_bytes(32) for _ in range(100)]
    blobs = await asyncio.gather(*(kek.wrap(dek) for dek in deks))
    bad = [secrets.token_bytes(40) for _ in range(100)]
    answers = await asyncio.gather(*(kek.unwrap(kek.kek_id, b) for b in (*blobs, *bad)), return_exceptions=True)
    assert answers[:100] == deks
    assert all(type(answer) is TamperedBlob for answer in answers[100:])
    await kek.close()


async def test_closed_kek_does_nothing(token: SoftToken) -> None:
    """After closing, calls fail in a typed way, and another KEK may be opened."""
    kek = await created(token)
    wrapped = await kek.wrap(bytes(32))
    await kek.close()
    await kek.close()
    with pytest.raises(HsmUnavailable):
        await kek.unwrap(kek.kek_id, wrapped)
    again = await opened(token)
    assert await again.unwrap(again.kek_id, wrapped) == bytes(32)
    await again.close()


async def test_module_that_is_none_is_an_error(tmp_path: Path) -> None:
    """A path to something else than a PKCS#11 module is reported, not crashed on."""
    module = tmp_path / "module.so"
    module.write_bytes(b"not a library")
    with pytest.raises(HsmUnavailable, match="module"):
        await Pkcs11Kek.open(module, "pkcs11:token=a;object=b", lambda: "1234")


@dataclass(frozen=True)
class Settings:
    """A party's configuration of an HSM's KEK."""

    module: Path
    token: str
    pin_file: Path
    kind: Literal["pkcs11"] = "pkcs11"


async def test_opens_from_configuration(token: SoftToken) -> None:
    """The PIN comes from its file, and a PIN file that others can read is refused."""
    await create_pkcs11_kek(token.module, token.uri, token.pin)
    settings = Settings(token.module, token.uri, token.pin_file)
    kek = await open_kek(settings, read_secret)
    assert kek.kind == "pkcs11"
    await kek.close()
    token.pin_file.chmod(0o644)
    with pytest.raises(SecretFileError):
        await open_kek(settings, read_secret)
