"""What ends a verb, and what does not."""

import signal


def test_what_nohup_ignores_stays_ignored(appliance):
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        assert appliance("config", "schema").code == 0
        assert signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)
