from provision.guest.pool.authenticator import FREE_TRIES, LONGEST_WAIT, Lockout


def test_some_wrong_passwords_are_human() -> None:
    lockout = Lockout()
    for second in range(FREE_TRIES - 1):
        lockout.failed("alice", float(second))
    assert lockout.wait("alice", 5.0) == 0


def test_each_further_one_doubles_the_wait() -> None:
    lockout = Lockout()
    waits = []
    for _ in range(FREE_TRIES + 3):
        lockout.failed("alice", 0.0)
        waits.append(lockout.wait("alice", 0.0))
    assert waits[FREE_TRIES - 1 :] == [1, 2, 4, 8]


def test_the_wait_ends_and_has_a_limit() -> None:
    lockout = Lockout()
    for _ in range(50):
        lockout.failed("alice", 0.0)
    assert lockout.wait("alice", 0.0) == LONGEST_WAIT
    assert lockout.wait("alice", LONGEST_WAIT) == 0


def test_others_do_not_wait() -> None:
    lockout = Lockout()
    for _ in range(50):
        lockout.failed("alice", 0.0)
    assert lockout.wait("bob", 0.0) == 0


def test_the_right_password_clears_the_name() -> None:
    lockout = Lockout()
    for _ in range(FREE_TRIES + 1):
        lockout.failed("alice", 0.0)
    lockout.succeeded("alice")
    assert lockout.wait("alice", 0.0) == 0
