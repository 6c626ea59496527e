"""Supervised contrastive learning (Khosla et al. 2020): first the embedding, then the classifier."""

import keras
import numpy as np
import tensorflow as tf


def contrast(embedding, labels, temperature):
    """Rows of one class come near to each other, all others do not."""
    alone = 1.0 - tf.eye(tf.shape(labels)[0])
    logits = tf.matmul(embedding, embedding, transpose_b=True) / temperature
    logits -= tf.reduce_max(logits, axis=1, keepdims=True)
    same = tf.cast(labels[:, None] == labels[None, :], tf.float32) * alone
    likely = logits - tf.math.log(tf.reduce_sum(tf.exp(logits) * alone, axis=1, keepdims=True))
    return -tf.reduce_mean(
        tf.reduce_sum(same * likely, axis=1) / tf.maximum(tf.reduce_sum(same, axis=1), 1.0)
    )


def train(trial):
    model = trial.build()
    encoder = keras.Model(model.inputs, model.get_layer("embedding").output)
    inputs, labels = trial.rows("train")
    optimizer = keras.optimizers.Adam(0.003)
    model.compile(keras.optimizers.Adam(0.01), "sparse_categorical_crossentropy")

    @tf.function
    def step(batch, target):
        with tf.GradientTape() as tape:
            loss = contrast(encoder(batch, training=True), target, trial.options["temperature"])
        gradients = tape.gradient(loss, encoder.trainable_variables)
        optimizer.apply_gradients(zip(gradients, encoder.trainable_variables, strict=True))
        return loss

    for epoch in range(trial.epochs):
        order = np.random.default_rng([trial.seed, epoch]).permutation(len(labels))
        losses = []
        for start in range(0, len(order) - 63, 64):
            rows = order[start : start + 64]
            batch = {name: array[rows] for name, array in inputs.items()}
            if epoch < trial.options["pretrain"]:
                losses.append(float(step(batch, tf.constant(labels[rows]))))
            else:
                losses.append(float(model.train_on_batch(batch, labels[rows])))
        trial.report(epoch, loss=np.mean(losses))
    return model
