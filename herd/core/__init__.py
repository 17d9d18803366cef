"""The nouns and doors everyone shares. Imports no torch and no other room."""
