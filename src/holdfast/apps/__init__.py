"""Where people meet Holdfast: the command line. Builds the objects; holds no logic of its own."""
