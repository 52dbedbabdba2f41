"""What the demo and the race say over the wire: which RPCs there are, and how to insist on an answer."""
