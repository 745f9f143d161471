"""Amazon SQS and S3 for tests: moto, one request at a time, since it loses messages otherwise. Listens on 127.0.0.1, on the port it is
given or on a free one, and prints which."""
import sys

from moto.server import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import make_server

port = int(sys.argv[1]) if len(sys.argv) > 1 else 0
server = make_server("127.0.0.1", port, DomainDispatcherApplication(create_backend_app), threaded=False)
print(server.port, flush=True)
server.serve_forever()
