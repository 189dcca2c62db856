"""``keyquorum chains``: what it shows, what it writes, and what it refuses to."""

import json

import pytest
from click.testing import CliRunner

from keyquorum_gateway import serve
from keyquorum_gateway.cli import main
from support.gateway_cell import CHAIN, eventually


def table(cell):
    return json.loads((cell.folder / "flags.json").read_text())["chains"].get(CHAIN)


async def test_each_command_shows_its_change_and_makes_it(cell, keyquorum):
    """Before and after, in words; the note of whoever wrote one stays."""
    (cell.folder / "flags.json").write_text(json.dumps({"chains": {CHAIN: {"note": "new in May"}}}))
    steps = [
        (("disable", CHAIN), "as configured -> disabled"),
        (("canary", CHAIN, "--tenant", "acme"), "disabled -> canary 0 % of tenants + acme"),
        (("canary", CHAIN, "--percent", "10"), "canary 10 % of tenants + acme"),
        (("canary", CHAIN, "--percent", "10"), "as before"),
        (("canary", CHAIN, "--no-tenants", "--sticky", "wallet", "--salt", "a"), "-> canary 10 % of wallets"),
        (("kill", CHAIN), "-> KILLED (else canary 10 % of wallets)"),
        (("enable", CHAIN), "it stays killed until: keyquorum chains revive toy:main"),
        (("revive", CHAIN), "KILLED (else enabled) -> enabled"),
    ]
    for arguments, expected in steps:
        assert expected in await keyquorum(*arguments)
    assert table(cell) == {
        "note": "new in May",
        "enabled": True,
        "percent": 100,
        "tenants": [],
        "sticky": "wallet",
        "salt": "a",
        "kill": False,
    }


async def test_a_change_as_json(cell, keyquorum):
    """Both tables, and whether they differ."""
    answer = json.loads(await keyquorum("kill", CHAIN, "--json"))
    assert answer == {
        "file": str(cell.folder / "flags.json"),
        "chain": CHAIN,
        "before": None,
        "after": {"kill": True},
        "changed": True,
    }
    assert json.loads(await keyquorum("kill", CHAIN, "--json"))["changed"] is False


async def test_an_unknown_chain_is_refused_with_the_known_ones(cell, keyquorum):
    """A slip of the pen in an incident must not look like a kill."""
    output = await keyquorum("kill", "toy:mian", ok=False)
    assert "no chain 'toy:mian' is known here (--new adds one); known are: toy:main" in output
    assert table(cell) is None
    file = str(cell.folder / "flags.json")
    assert "known are: none" in await keyquorum("kill", CHAIN, "--flags", file, config=False, ok=False)
    await keyquorum("kill", CHAIN, "--flags", file, "--new", config=False)
    assert table(cell) == {"kill": True}
    assert "nothing is changed" in await keyquorum("kill", "Toy", "--flags", file, "--new", config=False, ok=False)


async def test_an_alias_of_the_configuration_names_its_chain(cell, keyquorum):
    """As adapters take them from their settings."""
    config = cell.config_file.read_text()
    cell.config_file.write_text(config.replace("settings = {", 'settings = { aliases = ["toy:local"],'))
    await keyquorum("kill", "toy:local")
    assert table(cell) == {"kill": True}


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (("canary", CHAIN), "for whom?"),
        (("canary", CHAIN, "--percent", "101"), "101"),
        (("canary", CHAIN, "--percent", "-1"), "-1"),
        (("canary", CHAIN, "--percent", "1.5"), "1.5"),
        (("canary", CHAIN, "--tenant", "a b"), "nothing is changed"),
        (("canary", CHAIN, "--tenant", "a", "--no-tenants"), "exclude"),
        (("canary", CHAIN, "--percent", "1", "--sticky", "user"), "user"),
    ],
)
async def test_what_makes_no_sense_is_refused(cell, keyquorum, arguments, complaint):
    """And changes nothing."""
    assert complaint in await keyquorum(*arguments, ok=False)
    assert table(cell) is None


async def test_the_file_is_shown_with_its_tenants(cell, keyquorum):
    """Without a gateway; chains without a flag too, where the configuration names them."""
    assert f"{CHAIN}  no flag" in await keyquorum("flags")
    await keyquorum("canary", CHAIN, "--percent", "7", "--tenant", "globex", "--tenant", "acme")
    assert "canary 7 % of tenants + acme + globex" in await keyquorum("flags")
    shown = json.loads(await keyquorum("flags", "--json"))["chains"][CHAIN]
    assert (shown["percent"], shown["tenants"], shown["kill"]) == (7, ["globex", "acme"], False)


async def test_the_list_says_where_a_chain_stands_and_why(cell, gateway, client, keyquorum):
    """Of the gateway: its flag, where that comes from, and whether it is open for the key's tenant."""
    key_file = cell.folder / "key"
    key_file.write_text(client.key)
    options = ("--url", gateway.url, "--api-key-file", str(key_file))
    steps = [
        (
            ("canary", CHAIN, "--percent", "0", "--tenant", "default"),
            "canary 0 % of tenants + you (file)",
            "yes: tenant",
        ),
        (("canary", CHAIN, "--no-tenants"), "canary 0 % of tenants (file)", "NO: not-in-canary"),
        (("enable", CHAIN), "enabled (file)", "yes: everyone"),
        (("kill", CHAIN), "KILLED (file)", "NO: killed"),
    ]
    for arguments, stage, answer in steps:
        await keyquorum(*arguments)

        async def listed(stage=stage, answer=answer):
            output = await keyquorum(*options, config=False)
            return stage in output and answer in output

        await eventually(listed)
    assert "KILLED (file)" in await keyquorum("list", *options, config=False)
    items = json.loads(await keyquorum("list", *options, "--json", config=False))["items"]
    assert items[0]["flags"]["reason"] == "killed"


async def test_a_gateway_without_a_flags_file_says_how_to_have_one(cell, keyquorum):
    """The line for its configuration."""
    cell.config_file.write_text(cell.config_file.read_text().partition("[flags]")[0])
    assert '[flags] file = "flags.json"' in await keyquorum("kill", CHAIN, ok=False)


async def test_a_chain_that_is_not_loaded_is_not_opened_in_silence(cell, keyquorum):
    """The flag is written, and the operator told that it does nothing yet."""
    config = cell.config_file.read_text()
    cell.config_file.write_text(config.replace('fee_ceiling = "100"', 'fee_ceiling = "100"\nenabled = false'))
    assert "not loaded" in await keyquorum("enable", CHAIN)


@pytest.mark.parametrize("content", ["{", None])
def test_check_refuses_a_flags_file_that_cannot_be_used(cell, monkeypatch, capsys, content):
    """Before a gateway is started with it."""
    file = cell.folder / "flags.json"
    monkeypatch.setattr("sys.argv", ["keyquorum-gateway", "--config", str(cell.config_file), "--check"])
    serve.main()
    file.unlink()
    if content is not None:
        file.write_text(content)
    with pytest.raises(SystemExit) as caught:
        serve.main()
    assert caught.value.code == 2
    assert "flags.json" in capsys.readouterr().err


def test_help_is_there_at_every_level():
    """Of the group as well, which lists without a command."""
    for command in ("", "list", "flags", "enable", "disable", "canary", "kill", "revive"):
        result = CliRunner().invoke(main, ["chains", *command.split(), "--help"])
        assert (result.exit_code, "Usage:" in result.output) == (0, True)
