"""How lines get from the rings of all processes of a run to its sinks, exactly once to its file."""
