"""What the administrator's screen knows of its jobs."""

import asyncio

from provision.guest.hub.upkeep import Job, Jobs


def test_one_thing_at_a_time_is_done_for_a_student() -> None:
    async def work() -> str:
        return "done"

    async def follow() -> None:
        jobs = Jobs()
        job = Job("delete", "emmy")
        jobs.begin(job, work())
        assert jobs.busy("emmy")
        assert not jobs.busy("carl")
        await job.ended.wait()
        assert not jobs.busy("emmy")
        assert (job.said, job.failed) == ("done", False)

    asyncio.run(follow())
