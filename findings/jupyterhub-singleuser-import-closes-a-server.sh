#!/bin/bash
# jupyterhub: to import its single-user application changes every Jupyter server of that process.
#
# jupyterhub 6.1.1 with jupyter_server 2.21.1. `import jupyterhub.singleuser.app` starts nothing, and nobody
# asks for a hub. But it has replaced a method of Jupyter Server's handlers: a plain ServerApp that the same
# process, or a child forked from it, starts afterwards still answers its API, and answers its pages with 500,
# since the handlers look for a `hub_auth` that only JupyterHub's own application puts into the settings. Not
# imported, the page is there. So who imports both to share memory between servers, or to prove that an
# environment is whole, has to begin the server first.
. "$(dirname "$0")/lib/said.sh"

venv tool jupyterhub==6.1.1 jupyter_server==2.21.1
cat > serve.py <<'P'
import json, os, socket, sys, threading, urllib.error, urllib.request
if "hub" in sys.argv:
    import jupyterhub.singleuser.app
from jupyter_server.serverapp import ServerApp
with socket.create_server(("127.0.0.1", 0)) as free:
    port = free.getsockname()[1]
app = ServerApp(port=port, port_retries=0, ip="127.0.0.1", open_browser=False, log_level="CRITICAL",
                allow_root=True, root_dir=os.getcwd())
app.initialize(argv=["--IdentityProvider.token=t"])

def ask():
    found = []
    for path in ("/api/status?token=t", "/login"):
        request = urllib.request.Request(f"http://127.0.0.1:{port}{path}")
        try:
            found.append(urllib.request.urlopen(request, timeout=30).status)
        except urllib.error.HTTPError as error:
            found.append(error.code)
    print(*found)
    app.io_loop.add_callback(app.io_loop.stop)

threading.Timer(2, ask).start()
app.start()
P
export HOME=$PWD JUPYTER_RUNTIME_DIR=$PWD/runtime JUPYTER_PLATFORM_DIRS=1
expect "its API and its page to sign in" "$(tool/bin/python serve.py 2> /dev/null)" "200 200"
expect "the same, with that module imported before" "$(tool/bin/python serve.py hub 2> /dev/null)" "200 500"
