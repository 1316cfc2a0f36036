"""What proves a notebook's environment: run by its own Python, in a namespace without a network.

What is started is forked from who asks it, so that what both import is imported once.
"""

_BEGIN = r"""
import os, runpy, sys
said = open("/tmp/said", "w+")

class Begun:  # a script of this Python's, in a process of its own
    def __init__(self, *words):
        first = open(words[0]).readline()[2:].split()
        if not os.access(words[0], os.X_OK) or os.path.dirname(first[0]) != sys.prefix + "/bin" \
                or not os.access(first[0], os.X_OK):  # as execve(2) would have it
            sys.exit(f"{words[0]} cannot be run: {first}")
        self.pid, self.status = os.fork(), None
        if not self.pid:
            try:
                os.dup2(said.fileno(), 1), os.dup2(said.fileno(), 2)
                sys.argv = list(words)
                runpy.run_path(words[0], run_name="__main__")
                os._exit(0)
            except SystemExit as error:
                print(error, file=sys.stderr)
            except BaseException:
                sys.excepthook(*sys.exc_info())
            finally:
                sys.stdout.flush(), sys.stderr.flush()
                os._exit(1)

    def ended(self):
        if self.status is None and os.waitpid(self.pid, os.WNOHANG)[0]:
            self.status = 1
        return self.status is not None

    def kill(self):
        if not self.ended():
            os.kill(self.pid, 9)
"""

# As the hub's user, on a copy of the hub's files.
HUB_PROOF = (
    _BEGIN
    + r"""
import json, time, urllib.request
from pathlib import Path
from jupyterhub.dbutil import upgrade_if_needed
database = Path("/var/lib/notebook/jupyterhub.sqlite")
if database.exists():
    upgrade_if_needed(f"sqlite:///{database}", backup=False)
os.chdir("/var/lib/notebook")
hub = Begun("/usr/local/bin/start-notebook", "hub")
proxy = Begun("/usr/local/bin/start-notebook", "proxy")
wanted, deadline = ["api/", "login"], time.monotonic() + 120
why = ""
while wanted:
    try:
        answer = urllib.request.urlopen("http://127.0.0.1:8081/hub/" + wanted[0], timeout=30)
        text = answer.read().decode()
        if ("version" in json.loads(text)) if wanted[0] == "api/" else ("<form" in text):
            wanted.pop(0)
            continue
        why = f"/hub/{wanted[0]} is not what it should be"
    except (OSError, ValueError) as error:
        why = str(error)
    if hub.ended() or time.monotonic() > deadline:
        said.seek(0)
        sys.exit(f"{said.read()[-1500:]}\n{why}")
    time.sleep(0.3)
hub.kill()
proxy.kill()
"""
)

# As a pool account: the server with its pages, a kernel, and what it computes.
_SESSION = r"""
import asyncio, json, re, secrets, time, urllib.request
os.chdir(os.environ["HOME"])
token, port = secrets.token_hex(16), 10999
os.environ["JUPYTER_TOKEN"] = token
words = [f"--ServerApp.port={port}", "--ServerApp.port_retries=0", "--no-browser"]
words += ["--LabApp.extension_manager=readonly", "--LabApp.news_url=None"]
words.insert(0, "/opt/notebook/bin/jupyter-lab")
server = Begun(*words)
IMPORTS
own = {"Authorization": f"token {token}"}

def ask(path, data=None):
    request = urllib.request.Request(f"http://127.0.0.1:{port}{path}", data, own)
    return urllib.request.urlopen(request, timeout=60).read().decode()

def fail(why):
    said.seek(0)
    sys.exit(f"{said.read()[-1500:]}\n{why}")

deadline = time.monotonic() + 120
while True:
    try:
        ask("/api/status")
        break
    except OSError as error:
        if server.ended() or time.monotonic() > deadline:
            fail(f"the server does not answer: {error}")
        time.sleep(0.3)
try:
    page = ask("/lab")
    scripts = re.findall(r'<script[^>]*src="([^"]+)"', page)
    if "jupyter-config-data" not in page or not scripts:
        fail("its page is not JupyterLab's")
    for script in scripts:
        if len(ask(script)) < 100:
            fail(f"{script} is empty")
    ask("/lab/api/settings")
    kernel = json.loads(ask("/api/kernels", b'{"name": "python3"}'))["id"]
except (OSError, ValueError, KeyError) as error:
    fail(f"the server answers, but: {error}")

async def compute():
    from tornado.httpclient import HTTPRequest
    from tornado.websocket import websocket_connect
    channels = HTTPRequest(f"ws://127.0.0.1:{port}/api/kernels/{kernel}/channels", headers=own)
    socket = await websocket_connect(channels)
    header = {"msg_id": "1", "username": "", "session": "proof", "msg_type": "execute_request",
              "version": "5.3", "date": "2000-01-01T00:00:00Z"}
    content = {"code": "print(6 * 7)", "silent": False, "store_history": False,
               "user_expressions": {}, "allow_stdin": False, "stop_on_error": True}
    await socket.write_message(json.dumps({"header": header, "parent_header": {}, "metadata": {},
                                           "content": content, "channel": "shell"}))
    while message := await socket.read_message():
        told = json.loads(message)
        if told["msg_type"] == "stream" and told["content"]["text"].strip() == "42":
            return
        if told["msg_type"] == "error":
            fail(f"the kernel says {told['content']['evalue']}")

try:
    asyncio.run(asyncio.wait_for(compute(), 90))
except (OSError, TimeoutError, asyncio.TimeoutError) as error:
    fail(f"the kernel does not answer: {error or 'in 90 s'}")
server.kill()
"""
# What sessions and hub have besides; after the fork, for JupyterHub changes what is a server then.
_BESIDES = """
import jupyterhub.singleuser.app
import provision.guest.pool.session, provision.guest.pool.spawner, provision.guest.hub.pages
"""
SHOWN_PROOF = _BEGIN + _SESSION.replace("IMPORTS", "")
SESSION_PROOF = f"{_BEGIN}import jupyterlab.labapp\n{_SESSION.replace('IMPORTS', _BESIDES)}"
