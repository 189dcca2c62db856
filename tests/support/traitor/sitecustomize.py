"""On the path of one party's processes this makes a traitor of it: what it sends in multiplications is wrong.

Every interpreter imports a ``sitecustomize`` when it starts, workers too. A test copies this one to a folder, and turns the
party by writing there, in a file named ``crime``, which message is to be wrong; without the file the party is honest.
"""

import importlib.abc
import importlib.machinery
import sys
from dataclasses import replace
from pathlib import Path

TARGET = "keyquorum_core_signer.primitives.rvole"


CRIME = Path(__file__).with_name("crime")


def commits(crime):
    return CRIME.exists() and CRIME.read_text() == crime


def flipped(data):
    return bytes([data[0] ^ 1]) + data[1:]


def corrupt(module):
    begin, multiply = module.begin, module.multiply

    def begin_wrong(*arguments, **named):
        bob, message = begin(*arguments, **named)
        if commits("extension"):
            message = replace(message, u=flipped(message.u))
        return bob, message

    def multiply_wrong(*arguments, **named):
        c, message = multiply(*arguments, **named)
        if commits("multiplication"):
            message = replace(message, mu=flipped(message.mu))
        return c, message

    module.begin, module.multiply = begin_wrong, multiply_wrong


class Finder(importlib.abc.MetaPathFinder):
    """Loads the module as it is, then corrupts it."""

    def find_spec(self, name, path, target=None):
        if name != TARGET:
            return None
        spec = importlib.machinery.PathFinder.find_spec(name, path, target)
        loader = spec.loader
        execute = loader.exec_module

        def exec_module(module):
            execute(module)
            corrupt(module)

        loader.exec_module = exec_module
        return spec


sys.meta_path.insert(0, Finder())
