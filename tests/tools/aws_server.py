"""Amazon SQS and S3 for tests: moto, one request at a time, since it loses messages otherwise. Prints its port on 127.0.0.1."""
from moto.server import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import make_server

server = make_server("127.0.0.1", 0, DomainDispatcherApplication(create_backend_app), threaded=False)
print(server.port, flush=True)
server.serve_forever()
