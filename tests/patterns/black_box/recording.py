"""Work for process workers: writes down what it gets, in the order in which it gets it."""

import os

from patterns.black_box import Work


class Record(Work):
    """Appends `key number` to the file that RECORD names; one write is one line, never torn."""

    def on_start(self):
        self._file = os.open(os.environ["RECORD"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)

    def on_message(self, frames):
        os.write(self._file, b" ".join(frames[:2]) + b"\n")

    def on_stop(self):
        os.close(self._file)


def ignore(frames):
    """Do nothing."""
