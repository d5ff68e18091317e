"""What differs between runs, and which params matter."""
