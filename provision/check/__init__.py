"""What a step has become, held against what the walkthrough asks for: pass, fail, could not check."""
