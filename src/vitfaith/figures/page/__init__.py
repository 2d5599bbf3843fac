"""An experiment as one page of HTML that works from the disk."""
