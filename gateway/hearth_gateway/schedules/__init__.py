"""Timers: what fires at a rate, by a calendar, or once; schedules and the rules of event buses are built on them."""
