"""The spool: runs that are saved on this machine and not yet in a repository."""
