"""How everything is taken down, and proved to be gone."""
