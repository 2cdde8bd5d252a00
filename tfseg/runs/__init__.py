"""What is done with a pipeline, a file each, and what a run leaves on disk."""
