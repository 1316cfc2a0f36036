"""Prove every promise of a built appliance, from outside and inside."""
