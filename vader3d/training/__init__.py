"""What both trainings share: the loop, checkpoints, averages, logs."""
