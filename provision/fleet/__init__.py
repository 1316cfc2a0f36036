"""Many appliances over SSH: the inventory, upgrades, backups, who is signed in."""
