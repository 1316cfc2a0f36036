"""Write and verify OVA files."""
