"""libzmq with nothing around it, as clients of Simple Chat connect to it: a ROUTER with CURVE and a PUB with
PLAIN, both with a ZAP handler that lets everybody in. What comes to the ROUTER goes back.

`python -m bench.peers.connected_server PORT FEED_PORT SECRET`
"""

from __future__ import annotations

import sys

import zmq


def main() -> None:
    port, feed_port, secret = sys.argv[1:]
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    zap, router, pub = context.socket(zmq.REP), context.socket(zmq.ROUTER), context.socket(zmq.PUB)
    zap.bind("inproc://zeromq.zap.01")
    router.curve_server, router.curve_secretkey = True, secret.encode()
    pub.plain_server = True
    for one, place in ((router, port), (pub, feed_port)):
        one.zap_domain = b"bare"
        one.backlog = 1_024
        one.bind(f"tcp://127.0.0.1:{place}")
    poller = zmq.Poller()
    poller.register(zap, zmq.POLLIN)
    poller.register(router, zmq.POLLIN)
    print("ready", flush=True)
    while True:
        for one, _ in poller.poll():
            message = one.recv_multipart()
            if one is zap:
                message = [b"1.0", message[1], b"200", b"ok", b"", b""]
            one.send_multipart(message)


if __name__ == "__main__":
    main()
