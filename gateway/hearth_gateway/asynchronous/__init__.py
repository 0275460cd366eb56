"""Asynchronous invocations: accepted into a durable queue, run from there."""
