"""RETELLS: (view, event) -> view, exactly once per event."""
