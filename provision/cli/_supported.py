"""The page of what is supported, made from its table: python -m provision.cli._supported."""

import sys

from provision.audit import supported

if __name__ == "__main__":
    sys.stdout.write(supported.document(supported.entries()))
