"""What is measured, one module each: `run(run)` measures all peers that take part and notes the figures."""
