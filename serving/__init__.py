"""What answers: bundle, contract, runtimes, the BentoML service, client."""
