"""Ports of a stack."""

import json
import socket

from keyquorum_devnet.ports import HOST, assign, is_free

NAMES = ["party-1", "party-2", "gateway"]


def test_ports_are_distinct_and_survive_a_restart(tmp_path):
    """The second start listens where the first did, so that printed addresses stay true."""
    file = tmp_path / "ports.json"
    first = assign(file, NAMES)
    assert len(set(first.values())) == 3
    assert assign(file, NAMES) == first
    assert json.loads(file.read_text()) == first


def test_a_taken_port_is_replaced_and_the_others_stay(tmp_path):
    """A stranger on one port costs that one only."""
    file = tmp_path / "ports.json"
    first = assign(file, NAMES)
    with socket.create_server((HOST, first["party-2"])):
        assert not is_free(first["party-2"])
        second = assign(file, NAMES)
    assert second["party-2"] != first["party-2"]
    assert {name: port for name, port in second.items() if name != "party-2"} == {
        name: port for name, port in first.items() if name != "party-2"
    }
