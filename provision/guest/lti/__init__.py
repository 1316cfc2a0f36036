"""The hub as a tool of learning platforms: LTI 1.3 with its services of links, roster and grades.

- ``platforms``: what the configuration says of them; ``launch``: what one says of somebody
- ``keys``: the tool's own, and the platforms'; ``services``: what a platform is asked
- ``people``: who somebody of a platform is here
- ``frames``, ``choices``: what is shown inside a platform's page, and how it goes on from there
- ``tool``: sign-in, and the hub's pages for it
"""
