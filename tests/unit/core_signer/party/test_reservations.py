"""Which of an operation's sessions gives its reservation back."""

from keyquorum_core_signer.party.reservations import Reservations


def test_the_last_session_gives_back() -> None:
    """While another session runs, its last message may still need the reservation."""
    reservations = Reservations()
    reservations.enter("op_1")
    reservations.enter("op_1")
    assert not reservations.leave("op_1", unused=True)
    assert reservations.leave("op_1", unused=False)


def test_nothing_is_given_back_that_was_not_taken() -> None:
    """A session that was refused has no reservation of its own."""
    reservations = Reservations()
    reservations.enter("op_1")
    assert not reservations.leave("op_1", unused=False)
    reservations.enter("op_1")
    assert reservations.leave("op_1", unused=True)


def test_operations_are_apart() -> None:
    """One operation's end says nothing about another's, nor about its own next run."""
    reservations = Reservations()
    reservations.enter("op_1")
    reservations.enter("op_2")
    assert reservations.leave("op_1", unused=True)
    assert not reservations.leave("op_2", unused=False)
    reservations.enter("op_1")
    assert not reservations.leave("op_1", unused=False)
