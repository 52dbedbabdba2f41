"""Hears what payment providers tell by themselves, and has it carried out as commands."""
