"""How a line gets into shared memory: ring, producer, overflow policy, spool directory."""
