"""Training by Keras' own `fit`: for models that bring their step, their compile() or callbacks."""
