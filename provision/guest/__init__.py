"""What runs inside the appliance. Imports nothing from the host side."""
