"""Ship an appliance to a classroom: publish once, pull only what changed, trust what is signed.

`publication` writes a static folder, `pull` brings its newest version to a seat, `room` and
`peers` let the seats of one network share the work.
"""
