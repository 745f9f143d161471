"""Sends a few events with the real Python tracker: python_tracker.py HOST PORT get|post APP_ID. Prints how many."""

import sys

from snowplow_tracker import Emitter, PagePing, PageView, SelfDescribing, SelfDescribingJson, StructuredEvent, Subject, Tracker

host, port, method, app_id = sys.argv[1:]
failures = []
emitter = Emitter(
    host,
    protocol="http",
    port=int(port),
    method=method,
    batch_size=2,
    on_failure=lambda sent, unsent: failures.extend(unsent),
)
subject = Subject().set_platform("srv").set_user_id("user-é").set_screen_resolution(800, 600).set_lang("es-PE")
tracker = Tracker("py", emitter, subject=subject, app_id=app_id, encode_base64=method == "post")

page = SelfDescribingJson(
    "iglu:com.snowplowanalytics.snowplow/web_page/jsonschema/1-0-0", {"id": "5f1c4f0e-7a54-4f6f-9b3c-6a3f8d1b2c4d"}
)
link = SelfDescribingJson(
    "iglu:com.snowplowanalytics.snowplow/link_click/jsonschema/1-0-1", {"targetUrl": "https://shop.example.com/p/1"}
)
events = [
    PageView(page_url="https://shop.example.com/", page_title="Läden", context=[page]),
    PagePing(page_url="https://shop.example.com/", page_title="Läden", min_y=0, max_y=300),
    StructuredEvent("cart", "add", label="boot", property_="boots", value=219.0),
    SelfDescribing(link, context=[page]),
    SelfDescribing(link),
]
for event in events:
    tracker.track(event)
tracker.flush()
if failures:
    sys.exit(f"{len(failures)} events were not accepted")
print(len(events))
