"""A small book in a guest that has none, made known as a build makes its own known."""

import json

from guest import Guest
from handed import write

from provision import resources

BASE = "appliance/documentation/"
PLACE = "/usr/local/share/toy/book.html"
PAGE = """\
<!DOCTYPE html><html lang="en"><head><title>Toy</title></head><body><main><h1>Toy</h1>
<dl><dt class="deftypefn" id="index-quad"><strong class="def-name">quad</strong></dt></dl>
<script src="own.js"></script><script src="/user/{0}/files/theirs.js"></script>
<script>document.title += " inline"</script></main></body></html>
"""


def lay(guest: Guest, student: str = "nobody") -> None:
    """Put it there; sessions that start from now on show it.

    Args:
        guest: the guest.
        student: whose file ``theirs.js`` its page would like to run.
    """
    guest.run(f"mkdir -p {PLACE}")
    write(guest, f"{PLACE}/index.html", PAGE.format(student))
    write(guest, f"{PLACE}/own.js", 'document.title += " own"')
    guest.run(f"ln -sfn /etc/passwd {PLACE}/link.html")
    told = [{"name": "toy", "title": "A <Toy>", "kind": "manual", "place": PLACE}]
    write(guest, "/root/books.json", json.dumps(told))
    program = (resources.PACKAGE / "guest/documentation/names.py").read_text()
    write(guest, "/root/names.py", program)
    guest.run('python3 /root/names.py "$(cat /root/books.json)"')


def take_away(guest: Guest) -> None:
    """Leave the guest without it."""
    guest.run("rm -rf /usr/local/share/documentation /usr/local/share/toy /root/names.py")
