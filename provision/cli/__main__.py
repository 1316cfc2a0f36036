"""`python -m provision.cli` is `appliance`."""

from provision.cli import main

main()
