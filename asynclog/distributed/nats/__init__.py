"""The receiving side of NATS: what many machines publish, in one run directory."""
