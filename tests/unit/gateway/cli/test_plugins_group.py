"""``keyquorum plugins``: it lists where no command is named, and its commands need no gateway."""

import pytest
from click.testing import CliRunner

from keyquorum_gateway.cli import main


def run(*words):
    return CliRunner().invoke(main, ["plugins", *words], env={"KEYQUORUM_API_KEY_FILE": None, "KEYQUORUM_URL": None})


@pytest.mark.parametrize("words", [(), ("--json",), ("list",), ("list", "--json")])
def test_without_a_command_it_lists(words):
    """The list asks a gateway, so it asks for the key to one."""
    done = run(*words)
    assert done.exit_code == 2
    assert "--api-key-file" in done.output


def test_help_names_every_command():
    """And does not ask a gateway for it."""
    for option in ("-h", "--help"):
        done = run(option)
        assert done.exit_code == 0
        assert all(f"  {name} " in done.output for name in ("add", "check", "list", "new"))


def test_an_unknown_command_is_named():
    """Instead of being taken for something that the list knows."""
    done = run("remove")
    assert done.exit_code == 2
    assert "remove" in done.output
