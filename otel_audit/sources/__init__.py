"""Reading records back: bodies out of directories and files."""
