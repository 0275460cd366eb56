"""Queues: Redis lists that are also SQS queues, as a store."""
