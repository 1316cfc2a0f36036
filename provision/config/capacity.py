"""How many sessions an appliance's memory promises."""

from provision.config.model import Config

MIB = 1 << 20

SYSTEM_MEMORY = 768 * MIB
"""What the guest keeps for itself: kernel, services, the hub and its proxy."""


def sessions_promised(memory: int, session_memory: int) -> int:
    """Sessions that can all use their full limit at once.

    Args:
        memory: of the VM, in bytes.
        session_memory: limit of one session, in bytes.
    """
    return max(0, memory - SYSTEM_MEMORY) // max(1, session_memory)


def memory_needed(sessions: int, session_memory: int) -> int:
    """Bytes of VM memory that promise so many sessions, rounded up to whole GiB."""
    gib = 1 << 30
    return -(-(SYSTEM_MEMORY + sessions * session_memory) // gib) * gib


def capacity(config: Config) -> int:
    """Sessions that this configuration promises: what its memory holds and its pool serves."""
    promised = sessions_promised(config.memory, config.pool.limits.memory)
    return min(promised, config.sessions)
