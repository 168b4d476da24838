"""Handlers that remember what happened to them, for the tests of the framework."""

import asyncio

from reactor import Handler, StreamHandler


class Recorder(StreamHandler):
    """Keeps every message; `await received(n)` waits for the nth."""

    def __init__(self, stream):
        super().__init__(stream)
        self.messages = []
        self._wanted = None

    def on_message(self, frames):
        self.messages.append(frames)
        if self._wanted is not None and len(self.messages) >= self._wanted[0]:
            self._wanted[1].set_result(None)
            self._wanted = None

    async def received(self, count):
        if len(self.messages) < count:
            self._wanted = (count, asyncio.get_running_loop().create_future())
            await self._wanted[1]
        return self.messages


class Diary(Handler):
    """Writes its starts and stops into a list that several handlers share."""

    def __init__(self, name, diary, fails=False):
        self.name = name
        self.diary = diary
        self.fails = fails

    def on_start(self):
        if self.fails:
            raise RuntimeError(f"{self.name} cannot start")
        self.diary.append(f"start {self.name}")

    def on_stop(self):
        self.diary.append(f"stop {self.name}")
