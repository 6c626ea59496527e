"""A small student learns from a larger teacher (Hinton et al. 2015); both learn at once."""

import keras
import tensorflow as tf
from keras import layers


class Distiller(keras.Model):
    def __init__(self, classes, temperature=3.0, **kwargs):
        super().__init__(**kwargs)
        self.classes, self.temperature = classes, temperature
        self.flat = layers.Flatten()
        self.teacher = keras.Sequential([layers.Dense(128, "relu"), layers.Dense(classes)])
        self.student = keras.Sequential([layers.Dense(16, "relu"), layers.Dense(classes)])
        self.teaching = keras.metrics.Mean(name="teacher_loss")

    def get_config(self):
        return {**super().get_config(), "classes": self.classes, "temperature": self.temperature}

    def call(self, x):
        x = self.flat(x)
        self.teacher(x)
        return tf.nn.softmax(self.student(x))

    def train_step(self, data):
        x, y = data
        x = self.flat(x)
        with tf.GradientTape() as tape:
            taught, learned = self.teacher(x), self.student(x)
            hard = keras.losses.sparse_categorical_crossentropy(y, learned, from_logits=True)
            teaching = keras.losses.sparse_categorical_crossentropy(y, taught, from_logits=True)
            soft = keras.losses.kl_divergence(
                tf.nn.softmax(tf.stop_gradient(taught) / self.temperature),
                tf.nn.softmax(learned / self.temperature),
            )
            loss = tf.reduce_mean(0.5 * hard + 0.5 * self.temperature**2 * soft + teaching)
        gradients = tape.gradient(loss, self.trainable_variables)
        self.optimizer.apply_gradients(zip(gradients, self.trainable_variables, strict=True))
        self.teaching.update_state(tf.reduce_mean(teaching))
        return {"loss": loss, "teacher_loss": self.teaching.result()}


def build(inputs, outputs):
    del inputs  # it is built when it is called on them
    return Distiller(outputs.units)
