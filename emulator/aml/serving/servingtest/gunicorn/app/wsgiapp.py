"""Stands for gunicorn in tests, which ask no index: serves the application that it is given, one request at a time."""
import importlib
import socketserver
import ssl
import sys
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer


class Server(socketserver.ThreadingMixIn, WSGIServer):
    daemon_threads = True


class Handler(WSGIRequestHandler):
    protocol_version = "HTTP/1.0"


arguments = sys.argv[1:]
host, _, port = arguments[arguments.index("--bind") + 1].partition(":")
module, _, factory = arguments[-1].partition(":")
application = getattr(importlib.import_module(module), factory.rstrip("()"))()
server = Server((host, int(port)), Handler)
server.set_app(application)
if "--certfile" in arguments:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*(arguments[arguments.index(option) + 1] for option in ("--certfile", "--keyfile")))
    server.socket = context.wrap_socket(server.socket, server_side=True)
server.serve_forever()
