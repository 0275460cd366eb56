"""The functions that are measured, as their one module `app.py`."""

HELLO = """
def handler(event, context):
    return {"message": "hello"}
"""

SLEEP = """
import time
def handler(event, context):
    time.sleep(0.1)
    return {"message": "slept"}
"""

WHEN = """
import json, time
def handler(event, context):
    now = time.time()
    print(json.dumps({"started": now, "sent": [float(r["body"]) for r in event["Records"]]}))
"""


def revision(number: int) -> str:
    """A hello whose code differs from that of any other number."""
    return f"REVISION = {number}\n{HELLO}"
