"""What the deferrable modes wait with."""
