"""Parses enriched lines from standard input with Snowplow's own analytics SDK and prints each as JSON.

The test that calls it compares the count and the event ids; a line which the SDK refuses ends it with exit code 1.
"""

import json
import sys

from snowplow_analytics_sdk.event_transformer import transform
from snowplow_analytics_sdk.snowplow_event_transformation_exception import SnowplowEventTransformationException

for number, line in enumerate(sys.stdin.buffer, start=1):
    try:
        event = transform(line.decode("utf-8").rstrip("\n"))
    except SnowplowEventTransformationException as refused:
        sys.exit(f"line {number}: {'; '.join(refused.error_messages)}")
    print(json.dumps(event, ensure_ascii=False))
