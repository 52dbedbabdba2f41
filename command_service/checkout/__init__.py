"""The one room that knows several contexts: a file per command that decides over them."""
