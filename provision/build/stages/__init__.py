"""The work of each stage, a module each: what a module imports decides its stage (`closure`)."""
