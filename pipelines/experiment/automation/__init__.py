"""What happens without a hand: when an experiment runs again, and who must say yes to a release."""
