"""What people have bought."""
