"""Order by product under concurrency: jobs of one lane run one after the other, lanes run side by side."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Hashable

from inference.deadline import Deadline

Job = Callable[[], Awaitable[None]]


class Lanes:
    """At most `limit` jobs at a time, queued and running together. A job that raises ends all work."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._queues: dict[Hashable, deque[Job]] = {}
        self._tasks: dict[Hashable, asyncio.Task[None]] = {}
        self._jobs = 0
        self._changed = asyncio.Event()
        self.failure: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        """Gets the exception of the first job that raised; never a result."""

    @property
    def jobs(self) -> int:
        """Jobs queued and running."""
        return self._jobs

    @property
    def room(self) -> int:
        """How many more jobs may be given now."""
        return max(0, self._limit - self._jobs)

    def submit(self, lane: Hashable, job: Job) -> None:
        """Run `job` after those of the same lane. The caller keeps to `room`."""
        self._jobs += 1
        queue = self._queues.get(lane)
        if queue is not None:
            queue.append(job)
            return
        self._queues[lane] = deque([job])
        task = asyncio.create_task(self._run(lane))
        self._tasks[lane] = task
        task.add_done_callback(self._ended)

    async def wait_room(self, timeout_s: float) -> bool:
        """Wait until there is room; False when the time passed first."""
        return await self._wait(lambda: self.room > 0, Deadline(timeout_s))

    async def drain(self, deadline: Deadline, reserve_s: float = 0.0) -> bool:
        """Wait until nothing is left; False when the deadline less `reserve_s` passed or a job raised."""
        done = await self._wait(lambda: not self._jobs or self.failure.done(), deadline, reserve_s)
        return done and not self._jobs

    def abandon(self) -> None:
        """Cancel everything, and start empty. What was cut off is read again by the next owner."""
        for task in self._tasks.values():
            task.cancel()
        self._queues, self._tasks, self._jobs = {}, {}, 0
        self._changed.set()

    async def _wait(self, done: Callable[[], bool], deadline: Deadline, reserve_s: float = 0.0) -> bool:
        while not done():
            left = deadline.left - reserve_s
            if left <= 0:
                return False
            self._changed.clear()
            try:
                async with asyncio.timeout(left):
                    await self._changed.wait()
            except TimeoutError:
                return done()
        return True

    async def _run(self, lane: Hashable) -> None:
        queue = self._queues[lane]
        while queue:
            await queue[0]()
            queue.popleft()
            # An abandoned lane is cancelled at its next await; it must not count on the new one's books.
            if self._queues.get(lane) is queue:
                self._jobs -= 1
                self._changed.set()
        if self._queues.get(lane) is queue:
            del self._queues[lane], self._tasks[lane]

    def _ended(self, task: asyncio.Task[None]) -> None:
        if task.cancelled() or task.exception() is None or self.failure.done():
            return
        error = task.exception()
        assert error is not None
        self.failure.set_exception(error)
        self._changed.set()
