"""How many sessions an appliance's memory promises."""

from provision.config.model import Config

MIB = 1 << 20

SYSTEM_MEMORY = 768 * MIB
"""What the guest keeps for itself: kernel, services, the hub and its proxy."""
NURSERY_MEMORY = {"servers": 112 * MIB, "python": 256 * MIB, "sage": 480 * MIB}
"""What all that is forked shares, once; measured by tests/bench/test_nursery.py."""
LEAST_SAGE = {"started": 512 * MIB, "forked": 176 * MIB}
"""Of a session. Its server and one Sage kernel, which have computed and plotted, own 434 and 99 MiB
by the same benchmark; the rest is room to work."""


def system_memory(config: Config) -> int:
    """What the guest of a configuration keeps for itself."""
    return SYSTEM_MEMORY + (_nursery_memory(config) if forks(config) else 0)


def forks(config: Config) -> bool:
    """Whether sessions and kernels are forked: as asked, otherwise where there is room for it."""
    if config.kernels.forked is not None:
        return config.kernels.forked
    system = SYSTEM_MEMORY + _nursery_memory(config)
    limit = config.pool.limits.memory
    return promised_sessions(config.memory, limit, system) >= config.sessions


def least_for_sage(config: Config, *, forked: bool = True) -> int:
    """The least memory that a session with a Sage kernel needs, in bytes.

    Args:
        config: of the appliance.
        forked: whether this session's kernels may be forked.
    """
    forked = forked and forks(config) and _sage_can_fork(config)
    return LEAST_SAGE["forked" if forked else "started"]


def _nursery_memory(config: Config) -> int:
    """What all nurseries have in memory."""
    nurseries = ["servers"]
    if config.kernels.python.packages:  # otherwise Python's kernels are forked by the servers' own
        nurseries.append("python")
    if _sage_can_fork(config):
        nurseries.append("sage")
    return sum(NURSERY_MEMORY[name] for name in nurseries)


def _sage_can_fork(config: Config) -> bool:
    return config.sage.source in {"passagemath", "tarball"}  # Debian's is not below /opt


def promised_sessions(memory: int, session_memory: int, system: int = SYSTEM_MEMORY) -> int:
    """Sessions that can all use their full limit at once.

    Args:
        memory: of the VM, in bytes.
        session_memory: limit of one session, in bytes.
        system: what the guest keeps for itself, in bytes.
    """
    return max(0, memory - system) // max(1, session_memory)


def needed_memory(sessions: int, session_memory: int, system: int = SYSTEM_MEMORY) -> int:
    """Bytes of VM memory that promise so many sessions, rounded up to whole GiB."""
    gib = 1 << 30
    return -(-(system + sessions * session_memory) // gib) * gib


def capacity(config: Config) -> int:
    """Sessions that this configuration promises: what its memory holds and its pool serves."""
    limit = config.pool.limits.memory
    promised = promised_sessions(config.memory, limit, system_memory(config))
    return min(promised, config.sessions)
