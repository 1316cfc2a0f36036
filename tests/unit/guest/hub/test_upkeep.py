"""What the administrator's screen knows of its jobs."""

import asyncio
import time

from provision.guest.hub.upkeep import Job, Jobs


def test_the_screen_looks_again_until_it_has_seen_the_end() -> None:
    async def work() -> str:
        return "done"

    async def follow() -> None:
        jobs = Jobs()
        job = Job("delete", "emmy")
        jobs.begin(job, work())
        assert jobs.working(time.time() + 60)
        await job.ended.wait()
        assert jobs.working(job.over - 1)  # the sample still has the session
        assert not jobs.working(job.over)

    asyncio.run(follow())
