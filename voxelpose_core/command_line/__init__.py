"""The subcommands of `voxelpose`: a module per subject, with its options and what it does."""
