"""What a repository holds: records, heartbeats, archives; copying and examining it."""
