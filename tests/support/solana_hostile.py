"""Solana payloads that a party must refuse to sign: each differs from an honest transfer in one way."""

from collections.abc import Callable

from solders.address_lookup_table_account import AddressLookupTableAccount
from solders.compute_budget import (
    request_heap_frame,
    set_compute_unit_limit,
    set_compute_unit_price,
    set_loaded_accounts_data_size_limit,
)
from solders.hash import Hash
from solders.instruction import AccountMeta, CompiledInstruction, Instruction
from solders.message import Message, MessageHeader, MessageV0, to_bytes_versioned
from solders.pubkey import Pubkey
from solders.system_program import (
    ID,
    AdvanceNonceAccountParams,
    AssignParams,
    AuthorizeNonceAccountParams,
    CreateAccountParams,
    TransferParams,
    TransferWithSeedParams,
    WithdrawNonceAccountParams,
    advance_nonce_account,
    assign,
    authorize_nonce_account,
    create_account,
    transfer,
    transfer_with_seed,
    withdraw_nonce_account,
)
from solders.sysvar import CLOCK

MEMO = Pubkey.from_string("MemoSq4gqABAXKb96qnH8TysNcWxMyWCqXgDLGmfcHr")
MEMO_V1 = Pubkey.from_string("Memo1UhkJRfHyvLMcVucJwxXeuD728EqVDDwQDxFMNo")
TOKEN = Pubkey.from_string("TokenkegQfeZyiNwAJbNbGKPFXCWuBvf9Ss623VQ5DA")
BLOCKHASH = Hash(bytes(range(32)))
LAMPORTS = 1_000_000_000


def honest(source: Pubkey, destination: Pubkey) -> list[Instruction]:
    """What the codec builds: limit, price, transfer."""
    return [
        set_compute_unit_limit(600),
        set_compute_unit_price(1_000),
        transfer(TransferParams(from_pubkey=source, to_pubkey=destination, lamports=LAMPORTS)),
    ]


def compiled(payer: Pubkey, instructions: list[Instruction]) -> bytes:
    """A v0 message."""
    return bytes(to_bytes_versioned(MessageV0.try_compile(payer, instructions, [], BLOCKHASH)))


def hostile_transfers(us: Pubkey, friend: Pubkey, thief: Pubkey) -> dict[str, bytes]:
    """Name to payload. ``us`` is the account that would sign, ``friend`` where the honest transfer goes."""
    limit, price, move = honest(us, friend)
    theft = transfer(TransferParams(from_pubkey=us, to_pubkey=thief, lamports=1))

    def memo(data: bytes, program: Pubkey = MEMO, accounts: list[AccountMeta] | None = None) -> Instruction:
        return Instruction(program, data, accounts or [])

    def moving(lamports: int, destination: Pubkey = friend) -> list[Instruction]:
        made = transfer(TransferParams(from_pubkey=us, to_pubkey=destination, lamports=lamports))
        return [limit, price, made]

    seeded = TransferWithSeedParams(
        from_pubkey=us, from_base=us, from_seed="s", from_owner=ID, to_pubkey=friend, lamports=LAMPORTS
    )
    created = CreateAccountParams(from_pubkey=us, to_pubkey=thief, lamports=LAMPORTS, space=0, owner=TOKEN)
    spare = Pubkey(bytes([7]) * 32)  # a nonce account

    def advance(account: Pubkey = spare, authority: Pubkey = us) -> Instruction:
        return advance_nonce_account(AdvanceNonceAccountParams(nonce_pubkey=account, authorized_pubkey=authority))

    nonce = advance()
    authorize = authorize_nonce_account(
        AuthorizeNonceAccountParams(nonce_pubkey=spare, authorized_pubkey=us, new_authority=thief)
    )
    withdraw = withdraw_nonce_account(
        WithdrawNonceAccountParams(nonce_pubkey=spare, authorized_pubkey=us, to_pubkey=thief, lamports=1)
    )
    token_approve = Instruction(
        TOKEN,
        bytes([4]) + LAMPORTS.to_bytes(8, "little"),
        [AccountMeta(friend, False, True), AccountMeta(thief, False, False), AccountMeta(us, True, False)],
    )
    lists: dict[str, tuple[Pubkey, list[Instruction]]] = {
        "second transfer": (us, [limit, price, move, theft]),
        "second transfer first": (us, [theft, limit, price, move]),
        "transfer instead of memo": (us, [limit, price, theft, move]),
        "durable nonce last": (us, [limit, price, move, nonce]),
        "durable nonce after the limit": (us, [limit, nonce, price, move]),
        "two durable nonces": (us, [nonce, advance(thief), limit, price, move]),
        "durable nonce of another authority": (us, [advance(authority=thief), limit, price, move]),
        "durable nonce of the destination": (us, [advance(friend), limit, price, move]),
        "durable nonce of the source": (us, [advance(us), limit, price, move]),
        "durable nonce of a sysvar": (us, [advance(CLOCK), limit, price, move]),
        "nonce given away": (us, [authorize, limit, price, move]),
        "nonce given away beside": (us, [nonce, limit, price, move, authorize]),
        "nonce withdrawn": (us, [limit, price, withdraw]),
        "nonce withdrawn first": (us, [withdraw, limit, price, move]),
        "only a nonce advanced": (us, [nonce, limit, price]),
        "assign the account to a program": (us, [limit, price, move, assign(AssignParams(pubkey=us, owner=thief))]),
        "only assign": (us, [limit, price, assign(AssignParams(pubkey=us, owner=thief))]),
        "create account": (us, [limit, price, create_account(created)]),
        "transfer with seed": (us, [limit, price, transfer_with_seed(seeded)]),
        "token approval": (us, [limit, price, move, token_approve]),
        "unknown program": (us, [limit, price, move, Instruction(thief, b"anything", [])]),
        "unknown program alone": (us, [limit, price, Instruction(thief, b"anything", [])]),
        "somebody else pays": (thief, honest(us, friend)),
        "somebody else's coins": (us, honest(thief, friend)),
        "no compute budget": (us, [move]),
        "no limit": (us, [price, move]),
        "no price": (us, [limit, move]),
        "limit twice": (us, [limit, limit, move]),
        "another order": (us, [price, limit, move]),
        "transfer first": (us, [move, limit, price]),
        "heap frame": (us, [limit, price, request_heap_frame(256 * 1024), move]),
        "data size limit": (us, [limit, price, set_loaded_accounts_data_size_limit(1024), move]),
        "no instruction": (us, []),
        "huge compute price": (us, [set_compute_unit_limit(1_400_000), set_compute_unit_price(2**64 - 1), move]),
        "fee just over the cap": (us, [set_compute_unit_limit(1_000_000), set_compute_unit_price(99_995_001), move]),
        "no compute units": (us, [set_compute_unit_limit(0), price, move]),
        "too many compute units": (us, [set_compute_unit_limit(1_400_001), price, move]),
        "nothing moved": (us, moving(0)),
        "to ourselves": (us, moving(LAMPORTS, us)),
        "to the system program": (us, moving(LAMPORTS, ID)),
        "to the memo program": (us, [*moving(LAMPORTS, MEMO), memo(b"x")]),
        "to the incinerator": (us, moving(LAMPORTS, Pubkey.from_string("1nc1nerator11111111111111111111111111111111"))),
        "memo without text": (us, [limit, price, move, memo(b"")]),
        "memo that is not text": (us, [limit, price, move, memo(b"\xff\xfe")]),
        "memo with an escape": (us, [limit, price, move, memo(b"\x1b[8m")]),
        "memo too long": (us, [limit, price, move, memo(b"x" * 513)]),
        "two memos": (us, [limit, price, move, memo(b"a"), memo(b"b")]),
        "memo that we sign": (us, [limit, price, move, memo(b"a", MEMO, [AccountMeta(us, True, False)])]),
        "memo of the old program": (us, [limit, price, move, memo(b"a", MEMO_V1)]),
    }
    payloads = {name: compiled(payer, instructions) for name, (payer, instructions) in lists.items()}
    return payloads | _malformed(us, friend, thief)


def _malformed(us: Pubkey, friend: Pubkey, thief: Pubkey) -> dict[str, bytes]:
    """Messages that no compiler makes, but that the runtime may take."""
    good = MessageV0.try_compile(us, honest(us, friend), [], BLOCKHASH)
    payload = bytes(to_bytes_versioned(good))
    legacy = Message.new_with_blockhash(honest(us, friend), us, BLOCKHASH)
    table = AddressLookupTableAccount(thief, [friend])

    def rebuilt(
        keys: Callable[[list[Pubkey]], list[Pubkey]] = lambda keys: keys,
        header: tuple[int, int, int] | None = None,
        instructions: Callable[[list[CompiledInstruction]], list[CompiledInstruction]] = lambda all_: all_,
    ) -> bytes:
        signers, readonly_signed, readonly = header or (1, 0, good.header.num_readonly_unsigned_accounts)
        made = MessageV0(
            MessageHeader(signers, readonly_signed, readonly),
            keys(list(good.account_keys)),
            good.recent_blockhash,
            instructions(list(good.instructions)),
            [],
        )
        return bytes(to_bytes_versioned(made))

    def with_data(at: int, data: bytes) -> Callable[[list[CompiledInstruction]], list[CompiledInstruction]]:
        def change(instructions: list[CompiledInstruction]) -> list[CompiledInstruction]:
            old = instructions[at]
            instructions[at] = CompiledInstruction(old.program_id_index, data, bytes(old.accounts))
            return instructions

        return change

    def with_accounts(at: int, accounts: bytes) -> Callable[[list[CompiledInstruction]], list[CompiledInstruction]]:
        def change(instructions: list[CompiledInstruction]) -> list[CompiledInstruction]:
            old = instructions[at]
            instructions[at] = CompiledInstruction(old.program_id_index, bytes(old.data), accounts)
            return instructions

        return change

    move_data = bytes(good.instructions[2].data)
    swapped = [0, 1, 3, 2]
    return {
        "legacy message": bytes(legacy),
        "signed transaction instead of its message": b"\x01" + bytes(64) + payload,
        "trailing byte": payload + b"\x00",
        "trailing transfer": payload + payload[-17:],
        "message of version 1": b"\x81" + payload[1:],
        "message of version 127": b"\xff" + payload[1:],
        "destination from a lookup table": bytes(
            to_bytes_versioned(MessageV0.try_compile(us, honest(us, friend), [table], BLOCKHASH))
        ),
        "unused account": rebuilt(keys=lambda keys: [*keys, thief]),
        "unused writable account": rebuilt(keys=lambda keys: [keys[0], thief, *keys[1:]]),
        "account twice": rebuilt(keys=lambda keys: [*keys, keys[1]]),
        "second signer": rebuilt(header=(2, 0, 2)),
        "read-only destination": rebuilt(header=(1, 0, 3)),
        "writable program": rebuilt(header=(1, 0, 1)),
        "read-only payer": rebuilt(header=(1, 1, 2)),
        "no signer": rebuilt(header=(0, 0, 2)),
        "other order of programs": rebuilt(keys=lambda keys: [keys[index] for index in swapped]),
        "transfer with more data": rebuilt(instructions=with_data(2, move_data + b"\x00")),
        "transfer with less data": rebuilt(instructions=with_data(2, move_data[:-1])),
        "another system instruction": rebuilt(instructions=with_data(2, b"\x08\x00\x00\x00" + move_data[4:])),
        "transfer with more accounts": rebuilt(instructions=with_accounts(2, b"\x00\x01\x01")),
        "transfer with fewer accounts": rebuilt(instructions=with_accounts(2, b"\x00")),
        "transfer backwards": rebuilt(instructions=with_accounts(2, b"\x01\x00")),
        "account out of range": rebuilt(instructions=with_accounts(2, b"\x00\x09")),
        "program out of range": rebuilt(
            instructions=lambda all_: [*all_[:2], CompiledInstruction(9, move_data, b"\x00\x01")]
        ),
        "compute budget with accounts": rebuilt(instructions=with_accounts(0, b"\x00")),
        "limit with more data": rebuilt(instructions=with_data(0, b"\x02\x58\x02\x00\x00\x00")),
        "another compute budget instruction": rebuilt(instructions=with_data(0, b"\x01\x58\x02\x00\x00")),
    }


def hostile_messages(us: Pubkey, thief: Pubkey) -> dict[str, bytes]:
    """Off-chain messages that are not in their one encoding."""
    domain = b"\xffsolana offchain"

    def message(
        text: bytes = b"hello",
        *,
        version: int = 0,
        application: bytes = bytes(32),
        kind: int = 0,
        signers: tuple[Pubkey, ...] = (us,),
        length: int | None = None,
    ) -> bytes:
        size = len(text) if length is None else length
        return (
            domain
            + bytes([version])
            + application
            + bytes([kind, len(signers)])
            + b"".join(map(bytes, signers))
            + size.to_bytes(2, "little")
            + text
        )

    return {
        "message with header version 1": message(version=1),
        "message for an application": message(application=bytes(31) + b"\x01"),
        "ascii message that says utf-8": message(kind=1),
        "utf-8 message that says ascii": message("é".encode(), kind=0),
        "message of format 2": message(kind=2),
        "message of two signers": message(signers=(us, thief)),
        "message of no signer": message(signers=()),
        "message that is shorter than it says": message(length=6),
        "message that is longer than it says": message(length=4),
        "message without text": message(b""),
        "message that does not fit a packet": message(b"x" * 1148),
        "message that is not text": message(b"\xff\xfe", kind=1),
        "message with an escape": message(b"\x1b[2J", kind=1),
        "message that reads backwards": message("a\u202eb".encode(), kind=1),
        "signing domain alone": domain,
    }
