"""A variational autoencoder (Kingma and Welling 2014): a layer samples and adds the divergence to the loss."""

import keras
from keras import layers, ops


class Sampling(layers.Layer):
    def __init__(self, weight):
        super().__init__()
        self.weight = weight
        self.seeds = keras.random.SeedGenerator(7)

    def call(self, moments, training=False):
        mean, log_variance = ops.split(moments, 2, axis=-1)
        divergence = ops.square(mean) + ops.exp(log_variance) - log_variance - 1
        self.add_loss(self.weight * 0.5 * ops.mean(divergence))
        if not training:
            return mean
        return mean + ops.exp(0.5 * log_variance) * keras.random.normal(ops.shape(mean), seed=self.seeds)


def build(inputs, outputs, latent=8, weight=0.02):
    del outputs
    x = layers.Dense(48, "relu")(inputs["pixels"])
    code = Sampling(weight)(layers.Dense(2 * latent)(x))
    x = layers.Dense(48, "relu")(code)
    return keras.Model(inputs, layers.Dense(64, "sigmoid")(x))
