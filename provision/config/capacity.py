"""How many sessions an appliance's memory promises."""

from provision.config.model import Config

MIB = 1 << 20

SYSTEM_MEMORY = 768 * MIB
"""What the guest keeps for itself: kernel, services, the hub and its proxy."""
NURSERY_MEMORY = {"python": 256 * MIB, "sage": 384 * MIB}
"""What all forked kernels of a language share, once; measured by tests/bench/test_nursery.py."""


def system_memory(config: Config) -> int:
    """What the guest of a configuration keeps for itself."""
    sage = config.sage.source in {"passagemath", "tarball"}  # Debian's is not below /opt
    languages = ["python"] + ["sage"] * sage if config.kernels.forked else []
    return SYSTEM_MEMORY + sum(NURSERY_MEMORY[language] for language in languages)


def sessions_promised(memory: int, session_memory: int, system: int = SYSTEM_MEMORY) -> int:
    """Sessions that can all use their full limit at once.

    Args:
        memory: of the VM, in bytes.
        session_memory: limit of one session, in bytes.
        system: what the guest keeps for itself, in bytes.
    """
    return max(0, memory - system) // max(1, session_memory)


def memory_needed(sessions: int, session_memory: int, system: int = SYSTEM_MEMORY) -> int:
    """Bytes of VM memory that promise so many sessions, rounded up to whole GiB."""
    gib = 1 << 30
    return -(-(system + sessions * session_memory) // gib) * gib


def capacity(config: Config) -> int:
    """Sessions that this configuration promises: what its memory holds and its pool serves."""
    limit = config.pool.limits.memory
    promised = sessions_promised(config.memory, limit, system_memory(config))
    return min(promised, config.sessions)
