"""From a log call to a finished line: bound loggers, processor chains, structlog."""
