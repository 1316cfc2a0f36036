"""The same sessions on an engine that runs elsewhere: Kubernetes, or a cluster with Slurm."""
