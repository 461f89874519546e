"""What the commands show: a view takes the screen, then what is shown."""
