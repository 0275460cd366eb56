"""The benchmark: `python -m tests.bench`. Never part of the tests, never asserts.

Rule 1: every figure stands beside a floor that was measured in the same run on the same cores; ratios are the result.
Rule 2: floor and subject take turns in short chunks and medians are taken, because the machine may be shared.
Rule 3: what is started here is stopped here, also when interrupted. Everything is bounded, in count and in time.
"""
