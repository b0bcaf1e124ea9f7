"""The broker: a pure hub, a log that keeps what was said, and the ZeroMQ server around them."""
