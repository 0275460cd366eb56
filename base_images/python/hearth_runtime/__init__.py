"""Hearth's transport under AWS's runtime client for Python: one unix socket instead of HTTP.

AWS's `awslambdaric` keeps everything a function can see: handler lookup, context object, error shapes, log format.
Only standard library here, and little of it: every import is memory in every idle environment.
"""
