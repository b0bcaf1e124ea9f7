"""The client: a pure session, the ZeroMQ connection around it, and what people and scripts use."""
