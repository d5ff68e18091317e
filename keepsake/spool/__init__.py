"""What is saved on this machine and not yet in a repository."""
