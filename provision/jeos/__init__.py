"""Just enough operating system: base root file system, partitions, boot loader, disks."""
