"""Transactions that need several signatures, and payloads that were made elsewhere, through real parties."""

import base64

from embit.psbt import PSBT
from embit.script import Script
from embit.transaction import Transaction, TransactionInput, TransactionOutput

from keyquorum_devnet.bitcoin.scripts import address_of, script_of
from keyquorum_devnet.engines import BITCOIN, SOLANA
from support.stack import Customer

ENDED = frozenset({"confirmed", "failed", "expired"})


async def confirmed(customer: Customer, **body):
    """A transaction that was ordered with this body, once its chain has confirmed it."""
    ordered = await customer.gateway.order("/v1/transactions", body)
    found = await customer.gateway.until(f"/v1/transactions/{ordered.made_id}", ENDED, within_s=40)
    assert found["state"] == "confirmed", found
    return found


async def test_another_account_of_the_wallet_pays_the_fee(customer: Customer):
    """Two keys below one sign one message: the source loses what was moved, and the payer the fee."""
    chain, amount = customer.chains[SOLANA.chain], SOLANA.coin
    source = await customer.funded_account(SOLANA.chain, 2 * SOLANA.coin)
    payer = await customer.gateway.post(f"/v1/wallets/{source['wallet_id']}/accounts", {"chain": SOLANA.chain})
    await customer.fund(payer["address"], SOLANA.coin)
    destination = chain.stranger()
    made = await confirmed(
        customer, account_id=source["id"], destination=destination, amount=str(amount), fee_account_id=payer["id"]
    )
    assert await chain.balance(source["address"]) == 2 * SOLANA.coin - amount
    assert await chain.until_balance(destination, amount, within_s=10) == amount
    left = await chain.balance(payer["address"])
    assert SOLANA.coin - int(made["fee"]["amount"]) <= left < SOLANA.coin


async def test_a_payment_out_of_several_coins(customer: Customer):
    """One signature for each, made in one ceremony; Core's interpreter accepts them all."""
    chain, coin = customer.chains[BITCOIN.chain], BITCOIN.coin // 10
    account = await customer.funded_account(BITCOIN.chain, coin)
    await chain.call("devnet_fund", account["address"], coin, 4)
    destination, amount = chain.stranger(), coin * 9 // 2
    made = await confirmed(customer, account_id=account["id"], destination=destination, amount=str(amount))
    assert (await chain.judge(made["txid"], account["address"])).fee == int(made["fee"]["amount"])
    assert await chain.balance(destination) == amount
    assert await chain.balance(account["address"]) == 5 * coin - amount - int(made["fee"]["amount"])


async def test_a_psbt_made_elsewhere_is_signed_as_it_is(customer: Customer):
    """Its transaction to the byte, if it makes the transfer that is asked for, and not if it makes another one."""
    chain, amount, fee = customer.chains[BITCOIN.chain], BITCOIN.coin // 100, 1_000
    account = await customer.funded_account(BITCOIN.chain, BITCOIN.coin)
    (coin,) = await chain._json("GET", f"address/{account['address']}/utxo")
    destination, back = script_of(chain.stranger()), script_of(account["address"])
    spend = TransactionInput(bytes.fromhex(coin["txid"]), coin["vout"], sequence=0xFFFFFFFD)
    paid = [TransactionOutput(amount, Script(destination))]
    change = TransactionOutput(coin["value"] - amount - fee, Script(back))
    psbt = PSBT(Transaction(version=2, vin=[spend], vout=[*paid, change], locktime=0))
    psbt.inputs[0].witness_utxo = TransactionOutput(coin["value"], Script(back))
    asked = {"account_id": account["id"], "destination": address_of(destination), "amount": str(amount)}
    imported = {**asked, "payload": base64.b64encode(psbt.serialize()).decode()}
    for wrong in ({"amount": str(amount + 1)}, {"destination": chain.stranger()}):
        refused = await customer.gateway.call("POST", "/v1/transactions", {**imported, **wrong})
        assert (refused.status, refused.body["code"]) in {(422, "invalid-payload"), (502, "adapter-refused")}
    made = await confirmed(customer, **imported)
    assert made["txid"] == psbt.tx.txid().hex()
    assert await chain.balance(asked["destination"]) == amount
