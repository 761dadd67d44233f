"""Is it set up? One module for what is looked at, one for each group of looks, one for the command."""
