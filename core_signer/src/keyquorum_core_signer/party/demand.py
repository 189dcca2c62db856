"""Which paths of which keys are signed for lately, so that presignatures are made for them and for no others."""

from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Final

from keyquorum_core_signer.intents.certificate import KeyCertificate

PLACES_MAX: Final = 1024  # paths that are remembered; the least recently used are forgotten


@dataclass(frozen=True, slots=True)
class Place:
    """A path of a key, in one epoch."""

    certificate: KeyCertificate
    path: tuple[int, ...]


class Demand:
    """Remembers what was signed for in the last ``idle_ms``."""

    def __init__(self, idle_ms: int, now_ms: Callable[[], int]) -> None:
        self._idle_ms = idle_ms
        self._now_ms = now_ms
        self._used: OrderedDict[tuple[str, int, tuple[int, ...]], tuple[int, Place]] = OrderedDict()

    def note(self, certificate: KeyCertificate, paths: Iterable[tuple[int, ...]]) -> None:
        """They were signed for just now."""
        for path in paths:
            name = (certificate.key_id, certificate.epoch, path)
            self._used.pop(name, None)
            self._used[name] = (self._now_ms(), Place(certificate, path))
            if len(self._used) > PLACES_MAX:
                self._used.popitem(last=False)

    def places(self) -> Iterator[Place]:
        """What is in demand, most recently used first; what is not any more is forgotten."""
        since = self._now_ms() - self._idle_ms
        for name, (used_ms, _) in list(self._used.items()):
            if used_ms >= since:
                break
            del self._used[name]
        yield from [place for _, place in reversed(self._used.values())]
