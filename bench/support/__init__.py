"""What the measurements share, and the other sides that they compare with."""
