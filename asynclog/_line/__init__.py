"""An event dict becomes one line of JSON, whatever is in it."""
