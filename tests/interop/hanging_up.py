"""Clients that go away in the middle of a stream, whichever library they use."""

import time

HANG_UPS = 5  # one more than the server has sequences


class Hangers:
    """`long_stream()` opens a stream that is not over when its reader goes away; `short_answer(**options)` asks for one token."""

    def __init__(self, check, refused, long_stream, short_answer):
        self.check, self.refused, self.long_stream, self.short_answer = check, refused, long_stream, short_answer

    def usual(self):
        """Seconds of a short answer."""
        start = time.monotonic()
        self.short_answer()
        return time.monotonic() - start

    def hang_up(self, times):
        """Goes away in the middle of streams, each of which has to give its sequence back at once."""
        soon = 15 + 3 * self.usual()
        for _ in range(times):
            with self.long_stream() as stream:
                next(iter(stream))
        self.check(f"{times} streams that nobody reads any more leave no sequence taken", self.short_answer(timeout=soon))

    def one_sequence(self, timeout_error):
        """On a server that answers one request at a time: a second one waits, until the first one's reader goes away."""
        usual = self.usual()
        with self.long_stream() as stream:
            next(iter(stream))
            self.refused("a second answer while the only sequence is read", timeout_error, lambda: self.short_answer(timeout=2 + 2 * usual))
        self.hang_up(3)
