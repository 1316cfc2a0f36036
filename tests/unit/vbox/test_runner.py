"""What is read from VBoxManage while it runs."""

import os
import threading

from vbox import runner


def test_progress_is_understood_however_the_pipe_cuts_it() -> None:
    read, write = os.pipe()
    percents: list[float] = []
    out: list[bytes] = []
    with os.fdopen(read, "rb") as stream:
        reader = threading.Thread(target=runner._follow, args=(stream, out, percents.append))
        reader.start()
        for part in (b"0%...1", b"0%...90%...10", b"0", b"%\nMedium created.\n"):
            seen = len(out)
            os.write(write, part)
            while len(out) == seen:
                pass
        os.close(write)
        reader.join()
    assert percents == [0, 90, 100]
    assert b"".join(out) == b"0%...10%...90%...100%\nMedium created.\n"
