"""What the application's source says: where models are named, and what would change there.

Files are read and parsed, never imported, and none is written.
"""
