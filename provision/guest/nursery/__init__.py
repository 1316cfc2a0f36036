"""Kernels that are forked from a process which has imported their language already.

One nursery for each environment, ``/opt/NAME``: started at boot by that environment's own Python,
as root with few capabilities, without network, in the sandbox that sessions have. It parses
nothing: it accepts a connection, asks Linux whose it is, and forks. The child becomes a process of
that session (``settle``) before it reads the first byte of the request, so whatever a student sends
is read by a process of the student's own account.

- ``start``: the program: imports the language, then serves
- ``serve``: who may have a child, and when children end
- ``settle``: a child becomes a process of the session that asked
- ``fresh``: nothing of the shared interpreter's past is the same for two students
- ``wire``: what is asked and answered
- ``client``: the session's side
- ``provisioner``: lets Jupyter use it; whatever goes wrong, the kernel starts the usual way
"""
