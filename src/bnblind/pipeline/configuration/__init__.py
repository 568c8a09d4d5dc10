"""What a profile and the claims' file may say, and whether what they say fits together."""
