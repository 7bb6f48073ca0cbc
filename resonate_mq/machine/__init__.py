"""The protocol as pure transitions: promises, tasks, schedules, settlement, timers, cron.

`(working set, request, now_ms) -> reply`, changes recorded in the working set. No I/O, no clock, no randomness, no
logging, nothing asynchronous (design section 2.2). The kernel loads the working set before and commits it after.
"""
