"""Topics of promises: each module registers its collectors and its checks."""
