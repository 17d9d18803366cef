"""The commands of `herd`, one file each: its options and what it runs. Nothing heavy is imported at the top."""
