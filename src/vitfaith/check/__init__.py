"""What can be known to be wrong with a study before hours are spent."""
