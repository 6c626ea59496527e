import keras
from keras import layers


def build(inputs, outputs, width=32):
    del outputs
    title = inputs["title"]
    words = layers.Embedding(title.vocabulary, width)(title)
    x = layers.Concatenate()([layers.GlobalMaxPooling1D()(words), inputs["features"]])
    x = layers.Dense(width, activation="relu")(x)
    priority = layers.Dense(1, name="priority")(x)
    department = layers.Dense(3, activation="softmax", name="department")(x)
    return keras.Model(inputs, [priority, department])
