"""What a tier changes in the application's calls, and which call is whose."""
