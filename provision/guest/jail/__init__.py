"""The Python jail: safeexec's contract without root, and the chroot that it runs."""
