from provision.guest.letters import LIMIT, fold, subject

HEAD = b"From: root (Cron Daemon)\nTo: root\nSubject: Cron <root@sage> job\n\n"


def test_a_letter_of_short_lines_stays_as_it_is() -> None:
    for letter in (HEAD + b"a\n\nb: c\n .\n", HEAD, b"", b"no header\n", b"a\r\n\r\nb\r\n"):
        assert fold(letter) == letter


def test_no_line_is_too_long_and_nothing_is_lost() -> None:
    for long in (
        b"x" * 5000,
        b"word " * 1000,
        "ü€🧮".encode() * 700,
        b"\xff" * 3000,
        b"\x80" * 2000,
    ):
        letter = fold(HEAD + long + b"\nend\n")
        assert max(map(len, letter.split(b"\n"))) <= LIMIT
        head, _, body = letter.partition(b"\n\n")
        assert head + b"\n\n" == HEAD
        assert b"".join(body.split()) == b"".join((long + b"end").split())
    fold("ü".encode() * 5000).decode()  # never cut within a character


def test_a_long_header_goes_on_in_the_next_line() -> None:
    letter = fold(b"Subject: " + b"word " * 500 + b"\n\n" + b"body\n")
    head, _, body = letter.partition(b"\n\n")
    assert body == b"body\n"
    assert all(line.startswith(b"\t") for line in head.split(b"\n")[1:])
    assert max(map(len, head.split(b"\n"))) <= LIMIT + 1


def test_the_journal_says_which_letter_it_was() -> None:
    assert subject(HEAD) == "Cron <root@sage> job"
    assert subject(b"\n\nSubject: no\n") == "no subject"
