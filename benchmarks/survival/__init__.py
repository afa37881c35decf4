"""Who survives: the same jobs on the same failing servers, by Holdfast and by others."""
