"""Speed, as ratios measured in one run. Results and how to repeat them: README.md."""
