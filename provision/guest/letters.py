"""What stands at the place of ``sendmail``: letters that the mail system takes, and no silence.

dma refuses a letter with a line of 998 characters or more (RFC 5322, 2.1.1), and neither cron nor
``mail`` says so to anybody. Lines are folded before it sees them, and what it refuses all the same
is in the journal as ``letters``, which the nightly report quotes.
"""

import re
import subprocess
import sys
import syslog
from collections.abc import Iterator

MAIL_SYSTEM = "/usr/sbin/dma"
LIMIT = 900  # bytes of a line; the mail system may add to a header
HEADER = re.compile(rb"[!-9;-~]+:|[ \t]|From ")
# Options by which sendmail takes no letter: the queue, the aliases.
NO_LETTER = re.compile(r"-(b[pihdD]|q)")


def fold(letter: bytes) -> bytes:
    """A letter without a line that is too long; one that has none is as it was.

    Args:
        letter: header and body, as sendmail reads it.
    """
    lines: list[bytes] = []
    head = True
    for line in letter.split(b"\n"):
        head = head and HEADER.match(line) is not None
        lines += [b"\n\t".join(_pieces(line))] if head else _pieces(line)
    return b"\n".join(lines)


def _pieces(line: bytes) -> Iterator[bytes]:
    """A line in pieces, cut at blanks, or else between characters."""
    while len(line) > LIMIT:
        cut = line.rfind(b" ", LIMIT // 2, LIMIT)
        if cut < 0:
            cut = LIMIT
            while line[cut] & 0xC0 == 0x80 and cut > LIMIT - 4:  # within a character of UTF-8
                cut -= 1
        yield line[:cut]
        line = line[cut:].removeprefix(b" ")
    yield line


def subject(letter: bytes) -> str:
    """What a letter is about, for the journal."""
    head = letter.replace(b"\r", b"").partition(b"\n\n")[0]
    found = re.search(rb"^subject:[ \t]*(.*)", head, re.I | re.M)
    return found[1].decode(errors="replace")[:200] if found else "no subject"


def main() -> None:
    """Be sendmail: hand standard input on, folded; its exit status is the mail system's."""
    words = sys.argv[1:]
    if any(NO_LETTER.match(word) for word in words):
        sys.exit(subprocess.run([MAIL_SYSTEM, *words], check=False).returncode)
    letter = sys.stdin.buffer.read()
    done = subprocess.run(
        [MAIL_SYSTEM, *words], input=fold(letter), stderr=subprocess.PIPE, check=False
    )
    sys.stderr.buffer.write(done.stderr)
    if done.returncode:
        why = done.stderr.decode(errors="replace").strip() or f"status {done.returncode}"
        syslog.openlog("letters", 0, syslog.LOG_MAIL)
        syslog.syslog(syslog.LOG_ERR, f"“{subject(letter)}” was refused: {' '.join(why.split())}")
    sys.exit(done.returncode)


if __name__ == "__main__":
    main()
