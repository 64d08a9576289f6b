"""What goes over the wire between a client of gRPC and the broker."""

import concurrent.futures
import time
import threading

import grpc

from env.grpc import EXPORT, Client
from wire import LOST, Request, Wire


class GrpcWire(Wire):
    """As Wire; a fault is a code of gRPC, UNAVAILABLE with what the broker says
    with it."""

    def __init__(self, port, faults=()):
        self.requests = []
        self.faults = list(faults)
        self.lock = threading.Lock()
        self.last = time.monotonic()
        self.busy = 0
        self.broker = Client(port)
        self.server = grpc.server(
            concurrent.futures.ThreadPoolExecutor(16), options=[
                ("grpc.so_reuseport", 0)])
        self.server.add_generic_rpc_handlers([self])
        self.port = self.server.add_insecure_port("127.0.0.1:0")
        self.server.start()

    def service(self, details):
        return grpc.unary_unary_rpc_method_handler(
            lambda body, context: self.watched(details.method, body, context))

    def watched(self, *call):
        with self.at_work():
            return self.call(*call)

    def call(self, path, body, context):
        request = Request(path, {}, body)
        fault = None
        if request.orders:
            with self.lock:
                self.requests.append(request)
                fault = self.faults and self.faults.pop(0)
        if fault and fault != LOST:
            context.abort(fault, "a fault")
        assert path == EXPORT
        try:
            answer = self.broker.export(body, timeout=30)
        except grpc.RpcError as e:
            details = dict(e.trailing_metadata() or ()).get(
                "grpc-status-details-bin")
            if details:
                context.set_trailing_metadata([
                    ("grpc-status-details-bin", details)])
            context.abort(e.code(), e.details())
        if fault == LOST:
            context.abort(grpc.StatusCode.UNAVAILABLE, "the connection broke")
        request.status = 200
        return answer

    def __exit__(self, *exc):
        self.server.stop(None).wait()
        self.broker.channel.close()
